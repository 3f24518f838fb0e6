//! What is put out of a text's way.

use crate::support::{builder, clang};

#[test]
fn a_text_may_define_what_the_kernel_has() {
    if !clang() {
        return;
    }
    let text = "
        struct mount { long other; int mnt_id; };
        typedef unsigned long pid_t;
        enum { BPF_ANY = 0, MINE };
        static int min(int a, int b) { return a < b ? a : b; }
        enum families { AF_INET = 2 };

        BPF_HASH(ids, pid_t, int);
        int kprobe__f(struct pt_regs *ctx, struct mount *m)
        {
            pid_t key = min(3, 2) + AF_INET;
            int id = m->mnt_id;
            ids.update(&key, &id);
            return 0;
        }
    ";
    let mut bpf = builder(text).load().unwrap();
    let mount = crate::support::kernel_memory(&mut bpf, &[[0; 8], [9, 0, 0, 0, 0, 0, 0, 0]].concat());
    bpf.kprobe("f").args([mount]).fire().unwrap();
    assert_eq!(bpf.table("ids").unwrap().get(4u64).unwrap(), &9i32);
}

#[test]
fn more_parameters_than_registers_are_read_from_the_context() {
    if !clang() {
        return;
    }
    let text = "
        BPF_ARRAY(out, long, 6);
        static void put(int i, long v) { out.update(&i, &v); }
        int kprobe__f(struct pt_regs *ctx, int a, signed char b,
                      u16 c, long d, int e,
                      char *g)
        {
            put(0, a); put(1, b); put(2, c); put(3, d); put(4, e); put(5, (long)g);
            return 0;
        }
    ";
    let mut bpf = builder(text).load().unwrap();
    bpf.kprobe("f").args([0xffff_ffff, 0xff, 0x1_ffff, 4, 5, 6]).fire().unwrap();
    let out = bpf.table("out").unwrap();
    for (i, expected) in [-1i64, -1, 0xffff, 4, 5, 6].into_iter().enumerate() {
        assert_eq!(out.get(i as i32).unwrap(), &expected, "argument {i}");
    }
}

#[test]
fn a_tracepoint_whose_name_a_macro_makes_is_found() {
    if !clang() {
        return;
    }
    let text = "
        #define CATEGORY test
        #define PROBE(category, event) TRACEPOINT_PROBE(category, event)
        PROBE(CATEGORY, tick) { return args->n; }
    ";
    let bpf = builder(text).load().unwrap();
    assert!(bpf.program("tracepoint__test__tick").is_ok());
}

#[test]
fn kernel_headers_are_empty_and_others_are_looked_for() {
    if !clang() {
        return;
    }
    let text = "
        #include <uapi/linux/ptrace.h>
        #include <linux/sched.h>
        #include <linux/a_header_of_some_kernel.h>
        #include \"../fs/mount.h\"
        #include <bcc/proto.h>
        int kprobe__f(struct pt_regs *ctx) { return 0; }
    ";
    assert!(builder(text).load().is_ok());
    let error = builder("#include <mine.h>\n").load().unwrap_err().to_string();
    assert!(error.contains("<text>:1:10: fatal error: 'mine.h' file not found"), "{error}");
}
