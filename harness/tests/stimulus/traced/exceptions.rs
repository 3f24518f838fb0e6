//! Arguments that are not compared, and why.

use super::points::Seen;

/// Where (a part of a point's name, or all), which argument, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("sched:sched_wakeup_new", "target_cpu", "the scheduler chooses among the CPUs that there are"),
    ("__x64_sys_futex", "ret", FASTER),
    ("syscalls:sys_exit_futex", "ret", FASTER),
    ("raw_syscalls:sys_exit", "ret of futex", FASTER),
];

const FASTER: &str = "whether a thread that is waited for has ended already depends on who was faster";

pub(super) fn is_excepted(seen: &Seen, arg: &str) -> bool {
    EXCEPTIONS.iter().any(|(point, name, _)| *point == seen.name && *name == arg)
}
