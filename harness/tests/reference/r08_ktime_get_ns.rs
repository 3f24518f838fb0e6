//! Row 8: `bpf_ktime_get_ns()`: monotonic nanoseconds.

use crate::support::{bcc, on_kernel};

#[test]
fn a_difference_is_what_has_passed() {
    let Some(mut bpf) = bcc(r#"
        BPF_HASH(start, u32);
        BPF_HASH(delta, u32);
        int kprobe__vfs_read(void *ctx) {
            u32 pid = bpf_get_current_pid_tgid();
            u64 now = bpf_ktime_get_ns();
            start.update(&pid, &now);
            return 0;
        }
        int kretprobe__vfs_read(void *ctx) {
            u32 pid = bpf_get_current_pid_tgid();
            u64 *from = start.lookup(&pid), d;
            if (!from)
                return 0;
            d = bpf_ktime_get_ns() - *from;
            delta.update(&pid, &d);
            start.delete(&pid);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.kretprobe("vfs_read").fire().unwrap();
    assert!(bpf.table("delta").unwrap().is_empty(), "a return whose entry was missed");
    bpf.kprobe("vfs_read").fire().unwrap();
    bpf.advance(12_345).unwrap();
    bpf.kretprobe("vfs_read").fire().unwrap();
    let delta = bpf.table("delta").unwrap().items()[0].value.as_u64().unwrap();
    // Only a simulated clock stands still otherwise.
    assert!(if on_kernel() { delta >= 12_345 } else { delta == 12_345 }, "{delta}");
    assert!(bpf.table("start").unwrap().is_empty());
}
