//! Row 5: a uretprobe handler, `PT_REGS_RC(ctx)`.

use crate::support::bcc;
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
