//! Row 11: `bpf_get_current_comm(buf, size)`: NUL-terminated, truncated as the kernel does.

use crate::support::bcc;
use bpf_helpers_mock::state::Task;

#[test]
fn a_name_is_cut_to_what_fits() {
    let Some(mut bpf) = bcc(r#"
        struct names_t { char whole[16]; char part[4]; };
        BPF_HASH(names, u32, struct names_t);
        int kprobe__vfs_read(void *ctx) {
            u32 pid = bpf_get_current_pid_tgid();
            struct names_t n = {};
            bpf_get_current_comm(&n.whole, sizeof(n.whole));
            bpf_get_current_comm(&n.part, sizeof(n.part));
            names.update(&pid, &n);
            return 0;
        }
    "#) else {
        return;
    };
    // 15 characters are all that a task's name holds (TASK_COMM_LEN).
    bpf.add_task(Task::new(4001, "cat"));
    bpf.add_task(Task::new(4002, "a-name-longer-than-fifteen"));
    for (pid, whole, part) in [(4001, "cat", "cat"), (4002, "a-name-longer-t", "a-n")] {
        bpf.kprobe("vfs_read").task(pid).fire().unwrap();
        let names = bpf.table("names").unwrap();
        let n = names.get(pid).unwrap();
        assert_eq!((&n["whole"], &n["part"]), (&whole.into(), &part.into()));
    }
}
