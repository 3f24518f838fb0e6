//! Row 5: a uretprobe handler, `PT_REGS_RC(ctx)`.

use crate::server::server;
use crate::support::{bcc, live, on_kernel};
use bpf_harness::symbols::Binary;

#[test]
fn the_return_value_arrives() {
    let Some(mut bpf) = bcc(r#"
        BPF_HISTOGRAM(dist);
        int after(struct pt_regs *ctx) {
            dist.increment(bpf_log2l(PT_REGS_RC(ctx)));
            return 0;
        }
    "#) else {
        return;
    };
    bpf.add_binary(Binary::declared("/usr/bin/app").symbol("measure", 0x1000, 64));
    bpf.attach_uretprobe("/usr/bin/app", "measure", "after").unwrap();
    for rc in [0, 1, 2, 1023] {
        bpf.uretprobe("measure").ret(rc).fire().unwrap();
    }
    let dist = bpf.table("dist").unwrap();
    assert_eq!(dist.get(1).unwrap(), &2u64, "0 and 1");
    assert_eq!(dist.get(2).unwrap(), &1u64);
    assert_eq!(dist.get(10).unwrap(), &1u64);
}

/// A real function of a real library returns to this process.
#[test]
fn a_real_return_has_its_value() {
    let Some(mut bpf) = live(
        r#"
        BPF_HASH(results, int);
        int after(struct pt_regs *ctx) {
            int rc = PT_REGS_RC(ctx);
            if (bpf_get_current_pid_tgid() >> 32 == ME)
                results.increment(rc);
            return 0;
        }
    "#,
    ) else {
        return;
    };
    bpf.attach_uretprobe(server().path(), "handle_again", "after").unwrap();
    for fd in [5, 6, 5] {
        if on_kernel() {
            assert_eq!(server().handle_again(fd), -fd);
        } else {
            bpf.uretprobe("handle_again").ret(-i64::from(fd)).fire().unwrap();
        }
    }
    let results = bpf.get_table("results").unwrap().typed::<i32, u64>().items().unwrap();
    assert_eq!(results, [(-6, 1), (-5, 2)]);
}
