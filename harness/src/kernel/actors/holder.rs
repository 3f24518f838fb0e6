//! Why a task with a given id cannot be made, and whether waiting helps.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::error::ActorError;

/// How long another test may keep a pid.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The first PID namespace's inode (`PROC_PID_INIT_INO` in include/linux/proc_ns.h).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
/// Deepest nesting of PID namespaces (`MAX_PID_NS_LEVEL` in include/linux/pid_namespace.h).
const MAX_LEVELS: usize = 32;

/// The id as the kernel takes it.
pub(super) fn checked(pid: u32) -> Result<i32, ActorError> {
    match i32::try_from(pid) {
        Ok(tid) if tid > 0 => Ok(tid),
        _ => Err(ActorError::Pid { pid, why: "ids are numbers from 1 to kernel.pid_max".to_owned() }),
    }
}

/// The deepest nesting of PID namespaces that this process can be in.
pub(super) fn deepest_level() -> usize {
    match fs::read_link("/proc/self/ns/pid") {
        Ok(link) if link == Path::new(FIRST_PID_NAMESPACE) => 1,
        _ => MAX_LEVELS,
    }
}

/// Whether the task that has the id is an actor of another test, which will end: it runs a program of the same folder, or is
/// gone already.
pub(super) fn will_go(pid: u32) -> bool {
    let exe = |who: &str| fs::read_link(format!("/proc/{who}/exe")).ok();
    match (exe(&pid.to_string()), exe("self")) {
        (Some(its), Some(ours)) => its == ours || (its.parent() == ours.parent() && ours.parent().is_some()),
        // A kernel thread has no program either, but a command name.
        (None, _) => fs::metadata(format!("/proc/{pid}")).is_err(),
        _ => false,
    }
}

/// What an error of `clone3()` with this id means (`alloc_pid()` in kernel/pid.c).
pub(super) fn explain(pid: u32, error: &io::Error) -> ActorError {
    match error.raw_os_error() {
        Some(libc::EEXIST) => ActorError::PidInUse { pid, holder: holder(pid) },
        Some(libc::EINVAL) => {
            let most = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
            let why = format!("ids of this kernel are below {} (kernel.pid_max)", most.trim());
            ActorError::Pid { pid, why }
        }
        Some(libc::EPERM) => ActorError::Machine(
            "choosing the pid of a task needs CAP_SYS_ADMIN (or CAP_CHECKPOINT_RESTORE, Linux 5.9); run as root".to_owned(),
        ),
        Some(libc::ENOSYS) => {
            ActorError::Machine("clone3() with chosen pids needs Linux 5.5, and no filter against it".to_owned())
        }
        Some(libc::E2BIG) => ActorError::Machine("choosing the pid of a task needs Linux 5.5".to_owned()),
        _ => ActorError::Pid { pid, why: format!("clone3() fails: {error}") },
    }
}

fn holder(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    match (field("Name:"), field("Tgid:")) {
        (Some(name), Some(tgid)) if tgid != pid.to_string() => {
            format!("a thread of process {tgid} ('{name}')")
        }
        (Some(name), _) => format!("process '{name}'"),
        _ => "a process group, a session, or a process that is just ending".to_owned(),
    }
}
