//! Row 1: `int kprobe__FUNC(struct pt_regs *ctx, ...)`.

use crate::support::bcc;

/// Up to five arguments arrive as the probed function got them, by width and sign.
#[test]
fn the_probed_functions_arguments_arrive() {
    let Some(mut bpf) = bcc(r#"
        struct seen_t { u64 a; int b; unsigned short c; signed char d; long e; };
        BPF_ARRAY(seen, struct seen_t, 1);
        int kprobe__vfs_read(struct pt_regs *ctx, u64 a, int b, unsigned short c, signed char d, long e) {
            int zero = 0;
            struct seen_t s = {};
            s.a = a; s.b = b; s.c = c; s.d = d; s.e = e;
            seen.update(&zero, &s);
            return 0;
        }
    "#) else {
        return;
    };
    let minus_one = u64::from(u32::MAX);
    bpf.kprobe("vfs_read").args([u64::MAX, minus_one, 0x1_ffff, 0x80, 5]).fire().unwrap();
    let seen = bpf.table("seen").unwrap();
    let seen = seen.get(0).unwrap();
    assert_eq!(seen["a"], u64::MAX);
    assert_eq!(seen["b"], -1);
    assert_eq!(seen["c"], 0xffff);
    assert_eq!(seen["d"], -128);
    assert_eq!(seen["e"], 5);
}

#[test]
fn the_prefix_alone_attaches() {
    let Some(mut bpf) =
        bcc("BPF_ARRAY(hits, u64, 1); int kprobe__vfs_write(void *ctx) { hits.increment(0); return 0; }")
    else {
        return;
    };
    for _ in 0..3 {
        bpf.kprobe("vfs_write").fire().unwrap();
    }
    assert!(bpf.kprobe("vfs_read").fire().is_err(), "nothing is attached there");
    assert_eq!(bpf.table("hits").unwrap().get(0).unwrap(), &3u64);
}

#[test]
fn more_than_five_parameters_compile_and_arrive() {
    let Some(mut bpf) = bcc(r#"
        BPF_ARRAY(sixth, u64, 1);
        int kprobe__do_sys_openat2(struct pt_regs *ctx, long a, long b, long c, long d, long e) {
            int zero = 0;
            u64 v = e;
            sixth.update(&zero, &v);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.kprobe("do_sys_openat2").args([1, 2, 3, 4, 55]).fire().unwrap();
    assert_eq!(bpf.table("sixth").unwrap().get(0).unwrap(), &55u64);
}

#[test]
fn an_unknown_function_is_an_error_that_names_it() {
    use crate::support::refused;
    use bpf_harness::Bpf;
    let text = "int kprobe__no_such_function_at_all(void *ctx) { return 0; }";
    let Some(error) = refused(Bpf::builder().text(text)) else { return };
    assert!(error.to_string().contains("no_such_function_at_all"), "{error}");
}
