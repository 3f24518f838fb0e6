//! What is not compared, or not in its order, and why.

use super::points::Seen;

/// Points at which the machine has business of its own.
pub(super) const ANYTIME: &[&str] = &[
    "schedule",
    "finish_task_switch",
    "try_to_wake_up",
    "sched:sched_switch",
    "sched:sched_waking",
    "sched:sched_wakeup",
    "timer:hrtimer_start",
    "timer:hrtimer_expire_entry",
    "hrtimer_wakeup",
];

/// Those of them that a task comes by itself, each with the value that says what it is about. Who comes to a CPU, and on
/// which one and in whose time a task becomes ready, the scheduler decides; a timer expires in anybody's time.
const OWN: &[(&str, &str)] = &[
    ("try_to_wake_up", "p->pid"),
    ("sched:sched_waking", "pid"),
    ("sched:sched_switch", "prev_state"),
    ("timer:hrtimer_start", "function"),
];

/// The value that what a kernel has at such a point must have in common with what is expected to be about the same.
pub(super) fn subject(seen: &Seen) -> Option<&'static str> {
    OWN.iter().find(|(name, _)| *name == seen.name && seen.way != '<').map(|(_, subject)| *subject)
}

/// Where, which argument, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("sched:sched_wakeup_new", "target_cpu", CPU),
    ("sched:sched_waking", "target_cpu", CPU),
    ("sched:sched_switch", "next_comm", NEXT),
    ("sched:sched_switch", "next_pid", NEXT),
    ("sched:sched_switch", "next_prio", NEXT),
    ("__x64_sys_futex", "ret", FASTER),
    ("syscalls:sys_exit_futex", "ret", FASTER),
    ("raw_syscalls:sys_exit", "ret of futex", FASTER),
];

const CPU: &str = "the scheduler chooses among the CPUs that there are";
const NEXT: &str = "the scheduler chooses among the tasks that there are";
const FASTER: &str = "whether a thread that is waited for has ended already depends on who was faster";

pub(super) fn is_excepted(seen: &Seen, arg: &str) -> bool {
    EXCEPTIONS.iter().any(|(point, name, _)| *point == seen.name && *name == arg)
}
