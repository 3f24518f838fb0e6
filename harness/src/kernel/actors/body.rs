//! What an actor does: wait for a job, do its calls, say so, until the test's process ends.
//!
//! An actor shares the memory of the test's process but has no thread-local storage, is not known to libc, and may run at
//! any moment of the other threads. So here are only system calls and memory that was prepared for it: no allocation, no
//! lock, no panic, no libc function.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::arch::{self, Registers};
use super::holder::BLOCKED_IDLE;

/// One step of a job.
#[repr(C)]
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// A system call's number, or [`ENTER`] or [`CLONE`].
    pub(super) number: usize,
    /// Its arguments.
    pub(super) args: [usize; 6],
    /// What it gave, errors as negative numbers. [`NOT_DONE`] before.
    pub(super) ret: isize,
    /// What it is, for errors.
    pub(super) what: &'static str,
}

/// `Call::number`: enter the point at `args[1]` with the registers at `args[0]`.
pub(super) const ENTER: usize = usize::MAX;
/// `Call::number`: make a task as the `struct clone_args` at `args[0]` (of `args[1]` bytes) says, with the mailbox at
/// `args[2]`.
pub(super) const CLONE: usize = usize::MAX - 1;
/// `Call::ret` before the call.
pub(super) const NOT_DONE: isize = isize::MIN;

impl Call {
    /// A system call.
    pub(super) fn system(what: &'static str, number: libc::c_long, args: [usize; 6]) -> Self {
        Self { number: number.cast_unsigned() as usize, args, ret: NOT_DONE, what }
    }

    /// An entry of a point.
    pub(super) fn enter(registers: *const Registers, point: usize) -> Self {
        let args = [registers as usize, point, 0, 0, 0, 0];
        Self { number: ENTER, args, ret: NOT_DONE, what: "enter a point" }
    }

    /// Another task.
    pub(super) fn clone_task(args: usize, size: usize, mailbox: usize) -> Self {
        let args = [args, size, mailbox, 0, 0, 0];
        Self { number: CLONE, args, ret: NOT_DONE, what: "make a task" }
    }
}

/// How an actor is told what to do.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Mailbox {
    /// An eventfd: there is a job.
    pub(super) go: i32,
    /// An eventfd: it is done.
    pub(super) done: i32,
    /// A pidfd of the test's process, readable when it has ended.
    pub(super) owner: i32,
    /// The calls of the job.
    pub(super) calls: AtomicUsize,
    /// How many.
    pub(super) count: AtomicUsize,
    /// Set by the actor when it takes the job.
    pub(super) begun: AtomicBool,
    /// Makes way when it has no job and a test of another process asks. Not while another thread of the process is at
    /// work: a signal ends them all.
    pub(super) makes_way: AtomicBool,
}

const fn number(n: libc::c_long) -> usize {
    n.cast_unsigned() as usize
}

/// The life of an actor. `clone3()` starts it on a stack of its own.
pub(super) extern "C" fn live(mailbox: *const Mailbox) -> ! {
    // SAFETY: whoever made the actor keeps its mailbox until the actor is gone.
    let mailbox = unsafe { &*mailbox };
    loop {
        if wait(mailbox) {
            mailbox.begun.store(true, Ordering::Release);
            let mut at = mailbox.calls.load(Ordering::Acquire) as *mut Call;
            let mut left = mailbox.count.load(Ordering::Acquire);
            while left > 0 {
                // SAFETY: the calls stay until `done` says that this actor has let go of them, or it is dead.
                let failed = unsafe { run(at) };
                if failed {
                    break;
                }
                at = at.wrapping_add(1);
                left = left.wrapping_sub(1);
            }
            let one = 1u64;
            // SAFETY: writes the 8 bytes of a local variable to an eventfd.
            unsafe {
                let one = std::ptr::addr_of!(one) as usize;
                arch::syscall(number(libc::SYS_write), [fd(mailbox.done), one, 8, 0, 0, 0]);
            }
        }
    }
}

/// Does one call, and says whether it failed: then the rest of the job makes no sense.
///
/// # Safety
/// `at` is a call whose arguments are good.
unsafe fn run(at: *mut Call) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        let args = (*at).args;
        let [first, second, third, ..] = args;
        (*at).ret = match (*at).number {
            ENTER => {
                arch::enter(first as *const Registers, second);
                0
            }
            CLONE => arch::clone3(first, second, live, third),
            number => arch::syscall(number, args),
        };
        (*at).ret < 0
    }
}

/// Waits for a job. Gives `false` if nothing happened; ends if the test's process has ended.
fn wait(mailbox: &Mailbox) -> bool {
    let mut polled = [
        libc::pollfd { fd: mailbox.go, events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: mailbox.owner, events: libc::POLLIN, revents: 0 },
    ];
    let mut taken = 0u64;
    let idle = BLOCKED_IDLE;
    // SAFETY: the kernel writes into the two local variables only; ending is always allowed.
    unsafe {
        let list = polled.as_mut_ptr() as usize;
        let mask =
            if mailbox.makes_way.load(Ordering::Acquire) { std::ptr::addr_of!(idle) as usize } else { 0 };
        let ready = arch::syscall(number(libc::SYS_ppoll), [list, 2, 0, mask, size_of::<u64>(), 0]);
        let [go, owner] = polled;
        if ready > 0 && go.revents & libc::POLLIN != 0 {
            let taken = std::ptr::addr_of_mut!(taken) as usize;
            return arch::syscall(number(libc::SYS_read), [fd(mailbox.go), taken, 8, 0, 0, 0]) == 8;
        }
        let broken = ready < 0 && ready != -(libc::EINTR as isize);
        if broken || (ready > 0 && owner.revents != 0) {
            arch::syscall(number(libc::SYS_exit_group), [0; 6]);
        }
    }
    false
}

fn fd(n: i32) -> usize {
    n.cast_unsigned() as usize
}
