//! Row 23: `delete(&k)`: 0 or -ENOENT. As an `int`: kernels before 6.4 call a map's function directly, which returns one and
//! leaves the upper half of the register alone.

use crate::support::bcc;

#[test]
fn what_is_there_goes_and_what_is_not_is_enoent() {
    let Some(mut bpf) = bcc(r#"
        BPF_HASH(start, u32);
        BPF_ARRAY(rc, int, 1);
        int kprobe__vfs_read(struct pt_regs *ctx, u32 key) {
            int zero = 0;
            int r = start.delete(&key);
            rc.update(&zero, &r);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.map("start").unwrap().update(1u32, 5u64).unwrap();
    for (key, rc) in [(1, 0), (1, -2), (9, -2)] {
        bpf.kprobe("vfs_read").args([key]).fire().unwrap();
        assert_eq!(bpf.table("rc").unwrap().get(0).unwrap(), &rc, "key {key}");
    }
    assert!(bpf.table("start").unwrap().is_empty());
}
