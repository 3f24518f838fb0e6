//! Row 2: `int kretprobe__FUNC(struct pt_regs *ctx)`, `PT_REGS_RC(ctx)`.

use crate::support::bcc;

#[test]
fn the_return_value_arrives_with_its_sign() {
    let Some(mut bpf) = bcc(r#"
        BPF_HASH(results, int, u64);
        int kretprobe__vfs_read(struct pt_regs *ctx) {
            int rc = PT_REGS_RC(ctx);
            results.increment(rc);
            return 0;
        }
    "#) else {
        return;
    };
    for rc in [512, -2, -2] {
        bpf.kretprobe("vfs_read").ret(rc).fire().unwrap();
    }
    let results = bpf.table("results").unwrap();
    assert_eq!(results.get(-2).unwrap(), &2u64);
    assert_eq!(results.get(512).unwrap(), &1u64);
    assert_eq!(results.len(), 2);
}

#[test]
fn entry_and_return_are_separate() {
    let Some(mut bpf) = bcc(r#"
        BPF_ARRAY(hits, u64, 2);
        int kprobe__vfs_read(void *ctx) { hits.increment(0); return 0; }
        int kretprobe__vfs_read(void *ctx) { hits.increment(1); return 0; }
    "#) else {
        return;
    };
    bpf.kprobe("vfs_read").fire().unwrap();
    bpf.kprobe("vfs_read").fire().unwrap();
    bpf.kretprobe("vfs_read").fire().unwrap();
    let hits = bpf.table("hits").unwrap();
    assert_eq!((hits.get(0).unwrap(), hits.get(1).unwrap()), (&2u64.into(), &1u64.into()));
}
