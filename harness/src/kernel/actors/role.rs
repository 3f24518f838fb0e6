//! Who an actor plays: what can be had of a described task on a real machine.

use bpf_helpers_mock::state::{Namespaces, Task, Tasks};

use super::error::ActorError;

/// The only control group that a description can name, which means none in particular.
const ROOT_CGROUP: u64 = bpf_helpers_mock::state::ROOT_CGROUP;
/// How far parents of parents are followed.
const GENERATIONS: usize = 8;

/// A task as an actor can be one, and the CPU it is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Role {
    /// Thread id.
    pub(super) tid: u32,
    /// Process id.
    pub(super) tgid: u32,
    /// User.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// `task->comm`.
    pub(super) comm: [u8; 16],
    /// The CPU.
    pub(super) cpu: u32,
    /// The first thread of its process, if that is another.
    pub(super) leader: Option<Box<Role>>,
    /// The task that made its process, if it has to be a certain one.
    pub(super) parent: Option<Box<Role>>,
}

impl Role {
    /// The role of a described task.
    ///
    /// Its pid, tgid, name, user, group and parent are had as described. Parent 0 or 1 stands for no particular parent: a
    /// child of the test's process is it. The capabilities are those of root, whoever the user is. The cgroup, namespaces,
    /// start time and stacks are those of the machine; a task described with others of these cannot be had.
    ///
    /// # Errors
    /// If the task is not known, or has a property that cannot be had.
    pub(crate) fn of(tasks: &Tasks, pid: u32, cpu: u32) -> Result<Self, ActorError> {
        let task = tasks.get(pid).ok_or_else(|| ActorError::Pid {
            pid,
            why: "the test describes no such task (`add_task()`)".to_owned(),
        })?;
        Self::build(tasks, task, cpu, GENERATIONS)
    }

    fn build(tasks: &Tasks, task: &Task, cpu: u32, generations: usize) -> Result<Self, ActorError> {
        refuse(task)?;
        let mut role = Self {
            tid: task.pid,
            tgid: task.tgid,
            uid: task.uid,
            gid: task.gid,
            comm: task.comm_bytes(),
            cpu,
            leader: None,
            parent: None,
        };
        if task.tgid != task.pid {
            // A process that is not described looks like its thread.
            let leader = match tasks.get(task.tgid) {
                Some(leader) if leader.tgid == leader.pid => Task::clone(leader),
                _ => Task { pid: task.tgid, ..task.clone() },
            };
            role.leader = Some(Box::new(Self::build(tasks, &leader, cpu, generations)?));
        } else if !matches!(task.parent, 0 | 1) && task.parent != task.pid && generations > 0 {
            let parent = match tasks.get(task.parent) {
                Some(parent) => Task::clone(parent),
                None => Task::new(task.parent, "parent"),
            };
            role.parent = Some(Box::new(Self::build(tasks, &parent, cpu, generations - 1)?));
        }
        Ok(role)
    }
}

fn refuse(task: &Task) -> Result<(), ActorError> {
    let pid = task.pid;
    let no = |what, why| Err(ActorError::Description { pid, what, why });
    const ITS_OWN: &str = "a task of a real kernel has from that kernel";
    if pid == 0 || task.kthread {
        return no("pid 0 or as a kernel thread", "only the kernel can make");
    }
    if task.cgroup != ROOT_CGROUP {
        return no("a control group", ITS_OWN);
    }
    if task.ns != Namespaces::default() || task.ns_ids.is_some() {
        return no("namespaces", ITS_OWN);
    }
    if task.start_time != 0 {
        return no("a start time", ITS_OWN);
    }
    if !task.kernel_stack.is_empty() || !task.user_stack.is_empty() {
        return no("a stack", ITS_OWN);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bpf_helpers_mock::state::{Task, Tasks};

    use super::Role;

    #[test]
    fn a_thread_brings_its_process_and_a_process_its_parent() {
        let mut tasks = Tasks::default();
        tasks.insert(Task { tgid: 42, parent: 7, uid: 3, ..Task::new(43, "worker") });
        let role = Role::of(&tasks, 43, 1).unwrap();
        let leader = role.leader.unwrap();
        assert_eq!((role.tid, role.tgid, role.cpu, role.parent), (43, 42, 1, None));
        assert_eq!((leader.tid, leader.tgid, leader.uid), (42, 42, 3));
        assert_eq!(leader.parent.unwrap().tid, 7);

        tasks.insert(Task { parent: 1000, ..Task::new(42, "main") });
        let leader = Role::of(&tasks, 43, 0).unwrap().leader.unwrap();
        assert_eq!(&leader.comm[..5], b"main\0");
        assert_eq!(&leader.parent.unwrap().comm[..9], b"bpf-test\0");
    }

    #[test]
    fn what_only_the_kernel_chooses_is_refused_by_name() {
        let mut tasks = Tasks::default();
        for (task, words) in [
            (Task { cgroup: 77, ..Task::new(5, "a") }, "with a control group"),
            (Task { start_time: 1, ..Task::new(5, "a") }, "with a start time"),
            (Task { kernel_stack: vec![1], ..Task::new(5, "a") }, "with a stack"),
            (Task { ns_ids: Some((1, 1)), ..Task::new(5, "a") }, "with namespaces"),
            (Task { kthread: true, ..Task::new(5, "a") }, "kernel thread"),
        ] {
            tasks.insert(task);
            let message = Role::of(&tasks, 5, 0).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        assert!(Role::of(&tasks, 6, 0).unwrap_err().to_string().contains("describes no such task"));
    }

    #[test]
    fn parents_in_a_circle_end() {
        let mut tasks = Tasks::default();
        tasks.insert(Task { parent: 6, ..Task::new(5, "a") });
        tasks.insert(Task { parent: 5, ..Task::new(6, "b") });
        assert_eq!(Role::of(&tasks, 5, 0).unwrap().parent.unwrap().tid, 6);
    }
}
