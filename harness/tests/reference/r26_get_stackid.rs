//! Row 26: `get_stackid(ctx, flags)`: kernel or user stack, same stack same id; -EEXIST, -EFAULT.

use crate::support::bcc;
use bpf_helpers_mock::state::Task;

const TEXT: &str = r#"
    BPF_STACK_TRACE(stacks, 64);
    BPF_HASH(ids, int, u64);
    int kprobe__vfs_read(struct pt_regs *ctx, u64 flags) {
        int id = flags ? stacks.get_stackid(ctx, BPF_F_USER_STACK) : stacks.get_stackid(ctx, 0);
        ids.increment(id);
        return 0;
    }
"#;

/// A task that is in the kernel, called from an address of its own program.
fn task(pid: u32, kernel_stack: &[u64]) -> Task {
    let mut task = Task::new(pid, "task");
    task.kernel_stack = kernel_stack.to_vec();
    task.user_stack = vec![0x40_1000];
    task
}

#[test]
fn the_same_stack_has_the_same_id() {
    let Some(mut bpf) = bcc(TEXT) else { return };
    bpf.add_task(task(1, &[0xffff_ffff_8100_0010, 0xffff_ffff_8100_0020]));
    bpf.add_task(task(2, &[0xffff_ffff_8100_0030]));
    for (task, user) in [(1, 0), (1, 0), (2, 0), (1, 1)] {
        bpf.kprobe("vfs_read").task(task).args([user]).fire().unwrap();
    }
    let ids = bpf.table("ids").unwrap();
    assert_eq!(ids.len(), 3, "two kernel stacks and a user stack");
    let twice = ids.items().iter().find(|e| e.value == 2u64).unwrap();
    let id = twice.key.as_i64().unwrap();
    assert!(id >= 0);
    let stack = bpf.map("stacks").unwrap().walk(id).unwrap();
    assert_eq!(stack, [0xffff_ffff_8100_0010, 0xffff_ffff_8100_0020]);
}

/// A kernel thread has no user stack (`bpf_get_stackid`: -EFAULT).
#[test]
fn no_stack_is_efault() {
    let Some(mut bpf) = bcc(TEXT) else { return };
    let mut kworker = task(9, &[]);
    kworker.kthread = true;
    bpf.add_task(kworker);
    bpf.kprobe("vfs_read").task(9).args([1]).fire().unwrap();
    assert_eq!(bpf.table("ids").unwrap().items()[0].key, -14);
}

/// Two stacks that share a bucket: -EEXIST for the second.
#[test]
fn a_taken_bucket_is_eexist() {
    let Some(mut bpf) = bcc(&TEXT.replace("stacks, 64", "stacks, 2")) else { return };
    // Three stacks and two buckets.
    for pid in 1..=3 {
        bpf.add_task(task(pid, &[0xffff_ffff_8100_0000 + u64::from(pid) * 16]));
        bpf.kprobe("vfs_read").task(pid).fire().unwrap();
    }
    let ids = bpf.table("ids").unwrap();
    let refused = ids.get(-17).unwrap().as_i64().unwrap();
    assert!((1..=2).contains(&refused), "{refused}");
    assert_eq!(ids.len() as i64, 4 - refused);
}

#[test]
fn unknown_flags_are_einval() {
    let Some(mut bpf) = bcc(&TEXT.replace("BPF_F_USER_STACK", "1 << 30")) else { return };
    bpf.kprobe("vfs_read").args([1]).fire().unwrap();
    assert_eq!(bpf.table("ids").unwrap().items()[0].key, -22);
}
