//! The scheduler: tasks that leave the CPU, and that are woken (`kernel/sched/core.c`).

use bpf_helpers_mock::objects::Value;

use super::simulation::Simulation;
use crate::error::Error;

/// `TASK_INTERRUPTIBLE`, `EXIT_ZOMBIE` and `EXIT_DEAD`, as `sched_switch` has them.
pub(super) const SLEEPS: u64 = 1;
pub(super) const ZOMBIE: u64 = 0x20;
pub(super) const DEAD: u64 = 0x10;
/// The priority of a task that nobody has given another.
pub(super) const PRIO: u64 = 120;
/// The idle task.
pub(super) const IDLE: u32 = 0;
const TASK_NORMAL: u64 = 3;
/// `WF_SYNC` since 5.11, and before.
const WF_SYNC: u64 = 0x10;
const OLD_WF_SYNC: u64 = 1;

impl Simulation<'_> {
    /// The CPU goes to another task: `sched:sched_switch` in the task that leaves, whose state is then this one, and
    /// `finish_task_switch` in the one that comes.
    ///
    /// # Errors
    /// As [`Simulation::happen`]; if there is no such task.
    pub fn switch_to(&mut self, next: u32, prev_state: u64) -> Result<(), Error> {
        self.switch_away(next, prev_state)?;
        let prev = self.pid();
        let cpu = self.cpu();
        let prev = self.task(prev)?;
        if !self.bpf.machine().kernel.state.tasks.run_on(cpu, next) {
            return Err(Error::Invalid(format!("there is no task {next} to switch to")));
        }
        self.leaf("finish_task_switch", &[prev], 0)?;
        Ok(())
    }

    fn switch_away(&mut self, next: u32, prev_state: u64) -> Result<(), Error> {
        let prev = self.pid();
        let (prev_task, next_task) = (self.task(prev)?, self.task(next)?);
        // The member has another name, and is longer, before 5.14.
        for member in ["__state", "state"] {
            self.set_object(prev_task, "task_struct", &[(member, prev_state.into())])?;
            self.set_object(next_task, "task_struct", &[(member, 0.into())])?;
        }
        let (prev_comm, next_comm) = (self.comm_of(prev), self.comm_of(next));
        let fields: &[(&str, Value)] = &[
            ("prev_comm", prev_comm.into()),
            ("prev_pid", prev.into()),
            ("prev_prio", PRIO.into()),
            ("prev_state", prev_state.into()),
            ("next_comm", next_comm.into()),
            ("next_pid", next.into()),
            ("next_prio", PRIO.into()),
        ];
        self.tracepoint("sched", "sched_switch", fields, &[0, prev_task, next_task, prev_state])
    }

    /// A task is woken: `try_to_wake_up`, `sched:sched_waking`, `sched:sched_wakeup`.
    ///
    /// # Errors
    /// As [`Simulation::happen`].
    pub fn wake_up(&mut self, pid: u32) -> Result<(), Error> {
        self.wake_up_from(pid, TASK_NORMAL, 0)
    }

    /// A parent is woken out of its wait by a child that leaves the CPU at once (`__wake_up_parent`).
    pub(super) fn wake_up_parent(&mut self, pid: u32) -> Result<(), Error> {
        let sync = if self.since(5, 11) { WF_SYNC } else { OLD_WF_SYNC };
        self.wake_up_from(pid, SLEEPS, sync)
    }

    fn wake_up_from(&mut self, pid: u32, state: u64, flags: u64) -> Result<(), Error> {
        let task = self.task(pid)?;
        self.function("try_to_wake_up", &[task, state, flags], |sim| {
            sim.woken("sched_waking", pid)?;
            sim.woken("sched_wakeup", pid)?;
            Ok(1)
        })?;
        Ok(())
    }

    pub(super) fn woken(&mut self, event: &str, pid: u32) -> Result<(), Error> {
        let task = self.task(pid)?;
        let (comm, cpu) = (self.comm_of(pid), self.cpu());
        let fields: &[(&str, Value)] = &[
            ("comm", comm.into()),
            ("pid", pid.into()),
            ("prio", PRIO.into()),
            ("success", 1.into()),
            ("target_cpu", cpu.into()),
        ];
        self.tracepoint("sched", event, fields, &[task])
    }

    pub(super) fn comm_of(&mut self, pid: u32) -> String {
        let task = self.bpf.machine().kernel.state.tasks.get(pid);
        task.map_or_else(String::new, |t| t.shown_comm().to_owned())
    }
}
