//! Row 4: a uprobe handler, `PT_REGS_PARM1..6(ctx)`.

use crate::server::server;
use crate::support::{bcc, live, on_kernel};
use bpf_harness::symbols::Binary;

const TEXT: &str = r#"
    struct args_t { u64 p[6]; };
    BPF_ARRAY(seen, struct args_t, 1);
    int handler(struct pt_regs *ctx) {
        int zero = 0;
        struct args_t a = {};
        a.p[0] = PT_REGS_PARM1(ctx);
        a.p[1] = PT_REGS_PARM2(ctx);
        a.p[2] = PT_REGS_PARM3(ctx);
        a.p[3] = PT_REGS_PARM4(ctx);
        a.p[4] = PT_REGS_PARM5(ctx);
        a.p[5] = PT_REGS_PARM6(ctx);
        seen.update(&zero, &a);
        return 0;
    }
"#;

#[test]
fn six_parameters_arrive() {
    let Some(mut bpf) = bcc(TEXT) else { return };
    bpf.add_binary(Binary::declared("/usr/bin/app").symbol("six", 0x1000, 64));
    bpf.attach_uprobe("/usr/bin/app", "six", "handler").unwrap();
    bpf.uprobe("six").args([1, 2, 3, 4, 5, u64::MAX]).fire().unwrap();
    let seen = bpf.table("seen").unwrap();
    assert_eq!(
        serde_json::to_string(&seen.get(0).unwrap()["p"]).unwrap(),
        "[1,2,3,4,5,18446744073709551615]"
    );
}

/// A string in user memory: the guide's `strlen` example.
#[test]
fn a_string_behind_a_parameter_is_counted() {
    let Some(mut bpf) = bcc(r#"
        struct key_t { char c[80]; };
        BPF_HASH(counts, struct key_t);
        int count(struct pt_regs *ctx) {
            if (!PT_REGS_PARM1(ctx))
                return 0;
            struct key_t key = {};
            u64 zero = 0, *val;
            bpf_probe_read(&key.c, sizeof(key.c), (void *)PT_REGS_PARM1(ctx));
            val = counts.lookup_or_init(&key, &zero);
            (*val)++;
            return 0;
        }
    "#) else {
        return;
    };
    bpf.add_binary(Binary::declared("/lib/libc.so.6").symbol("strlen", 0x2000, 64));
    bpf.attach_uprobe("/lib/libc.so.6", "strlen", "count").unwrap();
    let mut text = b"hello".to_vec();
    text.resize(80, 0);
    let at = bpf.user_memory(&text).unwrap();
    bpf.uprobe("strlen").args([at]).fire().unwrap();
    bpf.uprobe("strlen").args([at]).fire().unwrap();
    bpf.uprobe("strlen").args([0]).fire().unwrap();
    let counts = bpf.table("counts").unwrap();
    assert_eq!(counts.len(), 1);
    assert_eq!(counts.items()[0].key["c"], "hello");
    assert_eq!(counts.items()[0].value, 2u64);
}

/// A real function of a real library, called by this process.
#[test]
fn a_real_call_has_its_parameter() {
    let Some(mut bpf) = live(
        r#"
        BPF_HASH(calls, int);
        int on_call(struct pt_regs *ctx) {
            int fd = PT_REGS_PARM1(ctx);
            if (bpf_get_current_pid_tgid() >> 32 == ME)
                calls.increment(fd);
            return 0;
        }
    "#,
    ) else {
        return;
    };
    bpf.attach_uprobe(server().path(), "handle", "on_call").unwrap();
    for fd in [3, 9, 3] {
        if on_kernel() {
            server().handle(fd);
        } else {
            bpf.uprobe("handle").arg(fd as u64).fire().unwrap();
        }
    }
    let calls = bpf.get_table("calls").unwrap().typed::<i32, u64>().items().unwrap();
    assert_eq!(calls, [(3, 2), (9, 1)]);
}
