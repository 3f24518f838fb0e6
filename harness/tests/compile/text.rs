//! From text to a program that has run.

use crate::support::{builder, clang};
use bpf_harness::value::Value;

#[test]
fn a_kprobe_of_its_name_counts_in_a_hash() {
    if !clang() {
        return;
    }
    let text = r#"
        BPF_HASH(counts, u32);
        BPF_HISTOGRAM(sizes);

        int kprobe__vfs_read(struct pt_regs *ctx)
        {
            u32 pid = bpf_get_current_pid_tgid() >> 32;
            counts.increment(pid);
            sizes.increment(bpf_log2l(PT_REGS_PARM3(ctx)), 2);
            bpf_trace_printk("read %d\n", pid);
            return 0;
        }
    "#;
    let mut bpf = builder(text).load().unwrap();
    assert_eq!(bpf.attach_all(), 1);
    for size in [0, 1, 512, 600] {
        bpf.kprobe("vfs_read").args([0, 0, size]).fire().unwrap();
    }
    let counts = bpf.table("counts").unwrap();
    assert_eq!(counts.items()[0].value, Value::from(4u64));
    let sizes = bpf.table("sizes").unwrap();
    for (bucket, count) in [(1, 4u64), (10, 4), (2, 0)] {
        assert_eq!(sizes.get(bucket).unwrap(), &count, "bucket {bucket}");
    }
    assert!(bpf.trace()[0].ends_with("read 0") || bpf.trace()[0].contains("read "), "{:?}", bpf.trace());
}
