//! Tasks whose maker ended before it could say that it has made them.
//!
//! Such a task shares the memory of this process and runs on the stack in its cradle, so neither may outlive the other.
//! The kernel writes the pidfd of a new process before the process can run (`copy_process`), and then may still give up,
//! and take the descriptor back. So a number in the cradle is a process only if `/proc` says that it is one's pidfd.

use std::os::fd::AsRawFd;
use std::time::Duration;

use super::spawn::{Cradle, Kind};
use super::watch;

/// How long a killed task may take to go.
const END: Duration = Duration::from_secs(10);

/// How many were ended.
#[cfg(test)]
static ENDED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// What is known of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Child {
    /// There is none.
    None,
    /// It is there, and the cradle has its pidfd.
    Alive,
    Unknown,
}

/// Ends the task that a cradle was made for, if there is one; its maker is gone. What cannot be ended keeps its cradle.
pub(super) fn end(cradle: Cradle, kind: Kind, tid: i32) {
    // A thread has ended with its process, which was its maker.
    let child = if kind == Kind::Thread { Child::None } else { child(&cradle, tid) };
    let gone = match child {
        Child::None => true,
        Child::Unknown => false,
        Child::Alive => cradle.take_pidfd().is_some_and(|process| {
            // SAFETY: no memory is involved; the signal goes to the process of the pidfd, or nowhere.
            unsafe {
                libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, 0, 0);
            }
            watch::ended(&process, END)
        }),
    };
    #[cfg(test)]
    if gone && child == Child::Alive {
        ENDED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    if !gone {
        std::mem::forget(cradle);
    }
}

fn child(cradle: &Cradle, tid: i32) -> Child {
    let fd = cradle.pidfd();
    if fd < 0 {
        return Child::None;
    }
    match std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")) {
        Ok(info) if pid_of(&info).is_some_and(|pid| pid == i64::from(tid)) => Child::Alive,
        // A pidfd of one that has ended already says -1, as would one of somebody else's.
        Ok(info) if pid_of(&info) == Some(-1) => Child::Unknown,
        Ok(_) => Child::None,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && has_proc() => Child::None,
        Err(_) => Child::Unknown,
    }
}

fn has_proc() -> bool {
    std::path::Path::new("/proc/self/fdinfo").is_dir()
}

/// `Pid:` of a pidfd (`pidfd_show_fdinfo`).
fn pid_of(info: &str) -> Option<i64> {
    info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use bpf_helpers_mock::state::Tasks;

    use super::super::crew::Member;
    use super::super::job::Job;
    use super::super::{ActorError, Role};
    use super::pid_of;
    use crate::kernel::testing;

    #[test]
    fn only_pidfds_say_whose_they_are() {
        let of_pidfd = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nPid:\t4242\nNSpid:\t4242\n";
        assert_eq!(pid_of(of_pidfd), Some(4242));
        assert_eq!(pid_of("pos:\t0\nflags:\t02\nmnt_id:\t15\neventfd-count: 0\n"), None);
    }

    #[test]
    fn a_task_does_not_outlive_a_maker_that_ends_before_it_can_tell() {
        if !testing::kernel() {
            return;
        }
        let member = Member::join().unwrap();
        // The first actor finds out about PID namespaces.
        member.perform(&Role::of(&Tasks::default(), 1000, 0).unwrap(), Job::default()).unwrap();
        let tid = 31_234;
        let error = member.make_and_die(tid).unwrap_err();
        assert!(matches!(error, ActorError::Died { begun: false, .. }), "{error}");
        assert!(super::ENDED.load(std::sync::atomic::Ordering::Relaxed) > 0, "there was one");
        // Its parent is gone, and so it may stay in the table until init has taken it out.
        let stat = std::fs::read_to_string(format!("/proc/{tid}/stat"));
        assert!(stat.as_ref().is_ok_and(|s| s.contains(" Z ")) || stat.is_err(), "{stat:?}");
    }
}
