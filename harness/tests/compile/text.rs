//! From text to a program that has run.

use crate::support::{builder, clang, kernel_memory};
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
    assert_eq!(bpf.attach_all().unwrap(), 0, "its name has attached it");
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

#[test]
fn arguments_and_kernel_memory_are_read_without_being_asked_for() {
    if !clang() {
        return;
    }
    let text = "
        BPF_HASH(ids, u32, int);

        int kprobe__mount_it(struct pt_regs *ctx, struct mount *mnt, s8 level)
        {
            u32 key = level < 0;
            int id = mnt->mount->mnt_id;
            ids.update(&key, &id);
            return 0;
        }
    ";
    let mut bpf = builder(text).load().unwrap();
    let inner = kernel_memory(&mut bpf, &[7, 0, 0, 0]);
    let outer = kernel_memory(&mut bpf, &[[0; 8], inner.to_le_bytes()].concat());
    bpf.kprobe("mount_it").args([outer, 0xff]).fire().unwrap();
    assert_eq!(bpf.table("ids").unwrap().get(1u32).unwrap(), &7i32);

    let refused = builder(text).auto_probe_reads(false).load().unwrap_err();
    let words = refused.to_string();
    assert!(words.starts_with("Failed to load BPF program kprobe__mount_it: R"), "{words}");
    assert!(words.contains("invalid mem access 'scalar'") && words.contains("<text>:7:"), "{words}");
    assert!(format!("{refused:?}").contains("int id = mnt->mount->mnt_id;"), "{refused:?}");
}
