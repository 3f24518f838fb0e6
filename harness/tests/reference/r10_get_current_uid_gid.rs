//! Row 10: `bpf_get_current_uid_gid()`: gid << 32 | uid.

use crate::support::bcc;
use bpf_helpers_mock::state::Task;

#[test]
fn user_and_group_are_told_apart() {
    let Some(mut bpf) = bcc(r#"
        BPF_HASH(ids, u32, u32);
        int kprobe__vfs_read(void *ctx) {
            u64 id = bpf_get_current_uid_gid();
            u32 uid = id, gid = id >> 32;
            ids.update(&uid, &gid);
            return 0;
        }
    "#) else {
        return;
    };
    let mut task = Task::new(4242, "user");
    (task.uid, task.gid) = (1000, 100);
    bpf.add_task(task);
    bpf.kprobe("vfs_read").task(4242).fire().unwrap();
    assert_eq!(bpf.table("ids").unwrap().get(1000).unwrap(), &100u32);
}
