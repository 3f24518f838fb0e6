//! Tasks: who runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cgroups::ROOT_CGROUP;
use super::user_memory::UserMemory;

/// Inode numbers of a task's namespaces. The defaults are those of the first namespaces (`include/linux/proc_ns.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Namespaces {
    /// The device number of nsfs, as `stat()` of a file in `/proc/self/ns` gives it.
    pub dev: u64,
    /// The PID namespace.
    pub pid: u32,
    /// The mount namespace.
    pub mnt: u32,
    /// The network namespace.
    pub net: u32,
    /// The UTS namespace.
    pub uts: u32,
    /// The IPC namespace.
    pub ipc: u32,
    /// The user namespace.
    pub user: u32,
    /// The cgroup namespace.
    pub cgroup: u32,
    /// The time namespace.
    pub time: u32,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self {
            dev: 4,
            pid: 0xefff_fffc,
            mnt: 0xefff_fff8,
            net: 0xefff_fff9,
            uts: 0xefff_fffe,
            ipc: 0xefff_ffff,
            user: 0xefff_fffd,
            cgroup: 0xefff_fffb,
            time: 0xefff_fffa,
        }
    }
}

/// A task: a thread, in user space's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// Its thread id (the kernel's `pid`).
    pub pid: u32,
    /// Its process id (the kernel's `tgid`).
    pub tgid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Name; the kernel keeps the first 15 bytes.
    pub comm: String,
    /// The `pid` of its parent.
    pub parent: u32,
    /// The id of its control group.
    pub cgroup: u64,
    /// Its namespaces.
    pub ns: Namespaces,
    /// Its ids inside its PID namespace, `(pid, tgid)`, where they differ from those of the first one.
    pub ns_ids: Option<(u32, u32)>,
    /// When it started, monotonic nanoseconds.
    pub start_time: u64,
    /// A kernel thread, without user memory.
    pub kthread: bool,
    /// Its kernel stack as return addresses, the innermost first.
    pub kernel_stack: Vec<u64>,
    /// Its user stack as return addresses, the innermost first.
    pub user_stack: Vec<u64>,
    /// Its user memory.
    pub user: UserMemory,
}

impl Task {
    /// A task that is a process of its own: a child of init, root, in the root control group.
    #[must_use]
    pub fn new(pid: u32, comm: impl Into<String>) -> Self {
        Self {
            pid,
            tgid: pid,
            uid: 0,
            gid: 0,
            comm: comm.into(),
            parent: 1,
            cgroup: ROOT_CGROUP,
            ns: Namespaces::default(),
            ns_ids: None,
            start_time: 0,
            kthread: false,
            kernel_stack: Vec::new(),
            user_stack: Vec::new(),
            user: UserMemory::new(),
        }
    }

    /// What `task->comm` holds: 16 bytes, cut and ended with NUL.
    #[must_use]
    pub fn comm_bytes(&self) -> [u8; 16] {
        let mut out = [0; 16];
        for (to, from) in out.iter_mut().take(15).zip(self.comm.bytes().take_while(|b| *b != 0)) {
            *to = from;
        }
        out
    }
}

impl Task {
    /// The part of the name that `task->comm` has room for, in whole characters.
    #[must_use]
    pub fn shown_comm(&self) -> &str {
        let end = self.comm.find('\0').unwrap_or(self.comm.len()).min(15);
        let end = (0..=end).rev().find(|i| self.comm.is_char_boundary(*i)).unwrap_or(0);
        self.comm.get(..end).unwrap_or_default()
    }
}

/// All tasks, and which one runs on each CPU.
#[derive(Clone, Debug)]
pub struct Tasks {
    by_pid: BTreeMap<u32, Arc<Task>>,
    running: BTreeMap<u32, u32>,
    idle: Arc<Task>,
    /// Kernel objects (`struct task_struct`) of the tasks: task by address.
    objects: BTreeMap<u64, u32>,
    /// Changes with every change of a task, so that objects made of them can follow.
    generation: u64,
    /// The last thread id that was given to a new task.
    last_pid: u32,
}

/// The task that runs if the test says nothing.
pub const DEFAULT_PID: u32 = 1000;

impl Default for Tasks {
    /// The idle task, init, and a process `bpf-test` that runs on every CPU.
    fn default() -> Self {
        let mut tasks = Self {
            by_pid: BTreeMap::new(),
            running: BTreeMap::new(),
            idle: Arc::new(Task { kthread: true, parent: 0, ..Task::new(0, "swapper/0") }),
            objects: BTreeMap::new(),
            generation: 0,
            last_pid: 0,
        };
        tasks.insert(Task { parent: 0, ..Task::new(1, "init") });
        tasks.insert(Task::new(DEFAULT_PID, "bpf-test"));
        tasks
    }
}

impl Tasks {
    /// The thread id for a new task: higher than all that there are and that were given before, as the kernel goes round
    /// (`idr_alloc_cyclic` in `alloc_pid`).
    pub fn next_pid(&mut self) -> u32 {
        let highest = self.by_pid.keys().next_back().copied().unwrap_or(0);
        self.last_pid = self.last_pid.max(highest).saturating_add(1);
        self.last_pid
    }

    /// Adds a task, in place of one with the same pid.
    pub fn insert(&mut self, task: Task) {
        self.generation += 1;
        match task.pid {
            0 => self.idle = Arc::new(task),
            pid => {
                self.by_pid.insert(pid, Arc::new(task));
            }
        }
    }

    /// Removes a task, unless it is the idle one.
    pub fn remove(&mut self, pid: u32) -> Option<Arc<Task>> {
        self.generation += 1;
        self.running.retain(|_, p| *p != pid);
        self.by_pid.remove(&pid)
    }

    /// A task by its pid; 0 is the idle task.
    #[must_use]
    pub fn get(&self, pid: u32) -> Option<&Arc<Task>> {
        if pid == 0 { Some(&self.idle) } else { self.by_pid.get(&pid) }
    }

    /// A task to be changed.
    pub fn get_mut(&mut self, pid: u32) -> Option<&mut Task> {
        self.generation += 1;
        self.task_mut(pid)
    }

    /// A kernel function is entered by a task: its address is the innermost of the kernel stack. Objects that were made
    /// of the task know nothing of that.
    pub fn enter_function(&mut self, pid: u32, addr: u64) {
        if let Some(task) = self.task_mut(pid) {
            task.kernel_stack.insert(0, addr);
        }
    }

    /// It returns.
    pub fn leave_function(&mut self, pid: u32, addr: u64) {
        if let Some(task) = self.task_mut(pid)
            && task.kernel_stack.first() == Some(&addr)
        {
            task.kernel_stack.remove(0);
        }
    }

    fn task_mut(&mut self, pid: u32) -> Option<&mut Task> {
        let task = if pid == 0 { Some(&mut self.idle) } else { self.by_pid.get_mut(&pid) };
        task.map(Arc::make_mut)
    }

    /// All tasks by pid, without the idle one.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.by_pid.values()
    }

    /// Whose memory a task's user addresses are in: the thread group leader's, if it exists, else its own.
    #[must_use]
    pub fn user_owner(&self, pid: u32) -> u32 {
        let tgid = self.get(pid).map_or(pid, |t| t.tgid);
        if self.get(tgid).is_some() { tgid } else { pid }
    }

    /// The user memory that a task sees.
    #[must_use]
    pub fn user(&self, pid: u32) -> Option<&UserMemory> {
        self.get(self.user_owner(pid)).map(|t| &t.user)
    }

    /// The user memory that a task sees, to be changed.
    pub fn user_mut(&mut self, pid: u32) -> Option<&mut UserMemory> {
        self.get_mut(self.user_owner(pid)).map(|t| &mut t.user)
    }

    /// The task that runs on a CPU: what was set, else [`DEFAULT_PID`], else the idle task.
    #[must_use]
    pub fn running(&self, cpu: u32) -> &Arc<Task> {
        let pid = self.running.get(&cpu).copied().unwrap_or(DEFAULT_PID);
        self.get(pid).unwrap_or(&self.idle)
    }

    /// Lets a task run on a CPU; `false` if there is no such task.
    pub fn run_on(&mut self, cpu: u32, pid: u32) -> bool {
        let known = self.get(pid).is_some();
        if known {
            self.running.insert(cpu, pid);
        }
        known
    }

    /// The task whose kernel object (`struct task_struct`) is at an address.
    #[must_use]
    pub fn by_object(&self, addr: u64) -> Option<&Arc<Task>> {
        self.get(*self.objects.get(&addr)?)
    }

    pub(crate) fn note_object(&mut self, addr: u64, pid: u32) {
        self.objects.insert(addr, pid);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::{Task, Tasks};

    #[test]
    fn each_cpu_runs_its_own_task() {
        let mut t = Tasks::default();
        t.insert(Task { uid: 5, ..Task::new(42, "a-rather-long-name") });
        assert!(t.run_on(1, 42) && !t.run_on(1, 43));
        assert_eq!((t.running(0).pid, t.running(1).pid), (1000, 42));
        assert_eq!(&t.running(1).comm_bytes(), b"a-rather-long-n\0");
        assert_eq!(t.running(1).shown_comm(), "a-rather-long-n");
        assert_eq!(Task::new(1, "fourteen-bytesé").shown_comm(), "fourteen-bytes");
        t.remove(42);
        assert_eq!(t.running(1).pid, 1000);
        t.remove(1000);
        assert_eq!(t.running(1).pid, 0);
    }
}
