//! Row 21: `lookup(&k)`: a pointer into the map or NULL; what is written through it is seen.

use crate::support::{bcc, on_kernel, refused};
use bpf_harness::Bpf;

#[test]
fn a_pointer_into_the_map_or_null() {
    let Some(mut bpf) = bcc(r#"
        BPF_HASH(counts, u32);
        BPF_ARRAY(missing, u64, 1);
        int kprobe__vfs_read(struct pt_regs *ctx, u32 key) {
            u64 *v = counts.lookup(&key);
            if (v)
                *v += 10;
            else
                missing.increment(0);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.map("counts").unwrap().update(1u32, 5u64).unwrap();
    bpf.kprobe("vfs_read").args([1]).fire().unwrap();
    bpf.kprobe("vfs_read").args([2]).fire().unwrap();
    assert_eq!(bpf.table("counts").unwrap().get(1).unwrap(), &15u64);
    assert!(bpf.table("counts").unwrap().get(2).is_none());
    assert_eq!(bpf.table("missing").unwrap().get(0).unwrap(), &1u64);
}

#[test]
fn an_unchecked_pointer_is_a_fault_at_its_line() {
    let text = "BPF_HASH(counts, u32);\nint kprobe__vfs_read(void *ctx) {\n    u32 key = 1;\n    u64 *v = counts.lookup(&key);\n    *v += 1;\n    return 0;\n}\n";
    // A kernel refuses to load it, the simulator lets it run into the fault.
    let error = if on_kernel() {
        refused(Bpf::builder().text(text)).unwrap()
    } else {
        let Some(mut bpf) = bcc(text) else { return };
        bpf.kprobe("vfs_read").fire().unwrap_err()
    };
    let error = error.to_string();
    assert!(error.contains(":5"), "{error}");
}
