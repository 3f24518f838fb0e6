//! Row 9: `bpf_get_current_pid_tgid()`: tgid << 32 | pid.

use crate::support::bcc;
use bpf_helpers_mock::state::Task;

#[test]
fn a_threads_ids_are_told_apart() {
    let Some(mut bpf) = bcc(r#"
        BPF_HASH(ids, u64, u64);
        int kprobe__vfs_read(void *ctx) {
            u64 id = bpf_get_current_pid_tgid();
            u64 tgid = id >> 32, pid = (u32)id;
            ids.update(&tgid, &pid);
            return 0;
        }
    "#) else {
        return;
    };
    let mut task = Task::new(4242, "thread");
    task.tgid = 4240;
    bpf.add_task(task);
    bpf.kprobe("vfs_read").task(4242).fire().unwrap();
    assert_eq!(bpf.table("ids").unwrap().get(4240).unwrap(), &4242u64);
}
