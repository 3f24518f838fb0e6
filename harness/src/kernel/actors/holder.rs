//! Why a task with a given id cannot be made, and whether waiting helps.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::error::ActorError;

/// How long another test may keep a pid.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may keep it before it is asked to make way, and then again: time to get something done.
pub(super) const TURN: Duration = Duration::from_millis(20);
/// How long it then leaves the pid to others, before it makes its task anew.
pub(super) const OTHERS_TURN: Duration = Duration::from_millis(10);
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

/// The signals that an actor blocks: all that `sigfillset()` knows, without those that nobody can block. Nothing else does
/// this, so it is how tests of other processes know an actor.
const BLOCKED: u64 = 0xffff_fffe_7ffb_feff;
/// The signal that asks an actor to make way (`body.rs`): one of real time that nobody uses. An actor takes it while it has no
/// job.
pub(super) const MAKE_WAY: i32 = 60;
/// What an actor blocks while it has no job.
pub(super) const BLOCKED_IDLE: u64 = BLOCKED & !(1 << (MAKE_WAY - 1));

/// Whether the task that has the id will go: it is an actor of another test, or has ended already.
pub(super) fn will_go(pid: u32) -> bool {
    let Some(status) = Status::of(pid) else { return true };
    status.is_actor() || status.field("State:").is_some_and(|s| s.starts_with(['Z', 'X']))
}

/// Asks the task that has the id to make way, if it is an actor. Its owner makes another when it needs one.
pub(super) fn ask(pid: u32) {
    if let (true, Ok(pid)) = (Status::of(pid).is_some_and(|s| s.is_actor()), i32::try_from(pid)) {
        // SAFETY: no memory is involved.
        unsafe {
            libc::kill(pid, MAKE_WAY);
        }
    }
}

/// `/proc/PID/status`.
struct Status(String);

impl Status {
    fn of(pid: u32) -> Option<Self> {
        fs::read_to_string(format!("/proc/{pid}/status")).ok().map(Self)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|l| l.strip_prefix(name)).map(str::trim)
    }

    fn is_actor(&self) -> bool {
        let blocked = self.field("SigBlk:").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        matches!(blocked, Some(BLOCKED | BLOCKED_IDLE))
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

/// The kernel thread that makes the others.
const KTHREADD: &str = "2";

fn holder(pid: u32) -> String {
    let status = Status::of(pid);
    let field = |name| status.as_ref().and_then(|s| s.field(name));
    match (field("Name:"), field("Tgid:")) {
        (Some(name), Some(tgid)) if tgid != pid.to_string() => {
            format!("a thread of process {tgid} ('{name}')")
        }
        (Some(name), _) if status.as_ref().is_some_and(Status::is_actor) => {
            format!("process '{name}' of another test, which keeps it too long")
        }
        (Some(name), _) if field("PPid:") == Some(KTHREADD) => {
            format!("kernel thread '{name}', as many below 300 are")
        }
        (Some(name), _) => format!("process '{name}'"),
        _ => "a process group, a session, or a process that is just ending".to_owned(),
    }
}
