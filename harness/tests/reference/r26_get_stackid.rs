//! Row 26: `get_stackid(ctx, flags)`: kernel or user stack, same stack same id; -EEXIST, -EFAULT.

use crate::support::{bcc, live, on_kernel, simulator_only};
use bpf_helpers_mock::state::{DEFAULT_PID, Task};

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
    if simulator_only("tasks of a kernel have stacks of their own") {
        return;
    }
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

/// What this process does has stacks: of the kernel down to the probed function, and of its own.
#[test]
fn real_stacks_are_walked_and_named() {
    let Some(mut bpf) = live(
        r#"
        BPF_STACK_TRACE(stacks, 64);
        BPF_HASH(ids, int, u64);
        BPF_HASH(user_ids, int, u64);
        int kprobe__vfs_read(struct pt_regs *ctx) {
            if (bpf_get_current_pid_tgid() >> 32 != ME)
                return 0;
            ids.increment(stacks.get_stackid(ctx, 0));
            user_ids.increment(stacks.get_stackid(ctx, BPF_F_USER_STACK));
            return 0;
        }
    "#,
    ) else {
        return;
    };
    let frames = ["vfs_read", "do_syscall_64"];
    if on_kernel() {
        use std::io::Read;
        let mut file = std::fs::File::open("/proc/self/comm").unwrap();
        for _ in 0..3 {
            file.read_exact(&mut [0]).unwrap();
        }
    } else {
        let kernel_stack = frames.map(|f| bpf.symbol(f) + 1);
        bpf.add_task(task(DEFAULT_PID, &kernel_stack));
        for _ in 0..3 {
            bpf.kprobe("vfs_read").fire().unwrap();
        }
    }
    // Names are read from files too.
    bpf.detach_kprobe("vfs_read").unwrap();
    for (map, user) in [("ids", false), ("user_ids", true)] {
        let ids = bpf.get_table(map).unwrap().typed::<i32, u64>().items().unwrap();
        let [(id, 3)] = ids.as_slice() else { panic!("three times the same stack: {map}: {ids:?}") };
        let stack = bpf.map("stacks").unwrap().walk(i64::from(*id)).unwrap();
        assert!(!stack.is_empty());
        if !user {
            let names: Vec<_> = stack.iter().map(|ip| bpf.ksym(*ip)).collect();
            assert_eq!(names.first().map(String::as_str), Some(frames[0]), "{names:?}");
            assert!(names.iter().any(|n| n == frames[1]), "{names:?}");
        }
    }
}

/// A kernel thread has no user stack, and a probe in user space no kernel stack (`bpf_get_stackid`: -EFAULT).
#[test]
fn no_stack_is_efault() {
    let Some(mut bpf) = bcc(TEXT) else { return };
    if on_kernel() {
        // Made-up events are probes of user space.
        bpf.kprobe("vfs_read").args([0]).fire().unwrap();
        assert_eq!(bpf.table("ids").unwrap().items()[0].key, -14);
        return;
    }
    let mut kworker = task(9, &[]);
    kworker.kthread = true;
    bpf.add_task(kworker);
    bpf.kprobe("vfs_read").task(9).args([1]).fire().unwrap();
    assert_eq!(bpf.table("ids").unwrap().items()[0].key, -14);
}

/// Two stacks that share a bucket: -EEXIST for the second.
#[test]
fn a_taken_bucket_is_eexist() {
    if simulator_only("which stacks share a bucket depends on a kernel's addresses") {
        return;
    }
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
