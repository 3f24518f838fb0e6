//! Making a task with chosen ids, and what it needs: a stack, a mailbox, descriptors.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::arch;
use super::body::{Mailbox, live};
use super::cast::addr;
use super::watch;

/// Of each actor: 64 KiB of stack over a page that may not be touched, and a page for thread-local storage.
const GUARD: usize = 4096;
const STACK: usize = 64 * 1024;
const TLS: usize = 4096;

/// All signals get their default action (Linux 5.5; include/uapi/linux/sched.h).
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// Deepest nesting of PID namespaces (`MAX_PID_NS_LEVEL`).
const LEVELS: usize = 32;

/// `struct clone_args` as of Linux 5.5 (`CLONE_ARGS_SIZE_VER1`).
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub(super) struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
}

/// `sizeof(struct clone_args)` that is used.
pub(super) const CLONE_ARGS_SIZE: usize = size_of::<CloneArgs>();

/// Whose child a new task is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The first, a child of the test's process, with any id.
    Keeper,
    /// A process, child of another actor's.
    Process,
    /// A thread of an actor's process.
    Thread,
}

/// What a task lives on, and the arguments that make it.
#[derive(Debug)]
pub(super) struct Cradle {
    _stack: Stack,
    pub(super) mailbox: Box<Mailbox>,
    pub(super) go: OwnedFd,
    pub(super) done: OwnedFd,
    pub(super) args: Box<CloneArgs>,
    /// The id, once for each PID namespace.
    _tids: Box<[i32; LEVELS]>,
    pidfd: Box<i32>,
}

impl Cradle {
    /// All that a task with this id needs. `levels`: in how many nested PID namespaces it gets the id.
    pub(super) fn new(kind: Kind, tid: i32, levels: usize, owner: &OwnedFd) -> io::Result<Self> {
        let stack = Stack::new()?;
        let (go, done) = (watch::eventfd()?, watch::eventfd()?);
        let mailbox = Box::new(Mailbox {
            go: go.as_raw_fd(),
            done: done.as_raw_fd(),
            owner: owner.as_raw_fd(),
            calls: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            begun: AtomicBool::new(false),
            makes_way: AtomicBool::new(kind == Kind::Process),
        });
        let tids = Box::new([tid; LEVELS]);
        let mut pidfd = Box::new(-1i32);
        let shared = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_SETTLS;
        let flags = match kind {
            Kind::Keeper | Kind::Process => shared | libc::CLONE_PIDFD,
            Kind::Thread => shared | libc::CLONE_FS | libc::CLONE_SIGHAND | libc::CLONE_THREAD,
        };
        let flags = u64::from(flags.cast_unsigned());
        // The test's handlers are nothing for an actor.
        let flags = if kind == Kind::Thread { flags } else { flags | CLONE_CLEAR_SIGHAND };
        let args = Box::new(CloneArgs {
            flags,
            pidfd: if kind == Kind::Thread { 0 } else { std::ptr::addr_of_mut!(*pidfd) as u64 },
            // A child of the test's process ends without a signal to the test. A child of an actor tells it by SIGCHLD,
            // which it ignores, and so nobody has to wait for it.
            exit_signal: if kind == Kind::Process { libc::SIGCHLD as u64 } else { 0 },
            stack: stack.bottom() as u64,
            stack_size: STACK as u64,
            tls: stack.tls() as u64,
            set_tid: if levels == 0 { 0 } else { addr(tids.as_ptr()) as u64 },
            set_tid_size: levels as u64,
            ..CloneArgs::default()
        });
        Ok(Self { _stack: stack, mailbox, go, done, args, _tids: tids, pidfd })
    }

    /// Makes the task as a child of this process. Gives the negative error of the kernel if there is none.
    pub(super) fn start(&self) -> isize {
        // A task inherits the mask of signals: an actor never runs a handler of the test's.
        let old = block_signals();
        // SAFETY: the structure, the stack and the mailbox belong to this value, which is kept as long as the task lives.
        let ret = unsafe {
            arch::clone3(addr(&raw const *self.args), CLONE_ARGS_SIZE, live, addr(&raw const *self.mailbox))
        };
        restore_signals(&old);
        ret
    }

    /// What the kernel has written for the pidfd; -1 before `clone3()` has come to that.
    pub(super) fn pidfd(&self) -> i32 {
        // SAFETY: it is this value's own, and the kernel writes it as a whole.
        unsafe { std::ptr::read_volatile(&raw const *self.pidfd) }
    }

    /// The pidfd that the kernel made with the process. To be asked once, when `clone3()` has made it.
    pub(super) fn take_pidfd(&self) -> Option<Arc<OwnedFd>> {
        let fd = self.pidfd();
        // SAFETY: it is a new descriptor that only this value knows.
        (fd >= 0).then(|| Arc::new(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: both sets are local, and all-zero is a valid one.
    unsafe {
        let (mut all, mut old) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
        old
    }
}

fn restore_signals(old: &libc::sigset_t) {
    // SAFETY: the set is valid; the old one is not asked for.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, old, std::ptr::null_mut());
    }
}

/// Memory that an actor runs on.
#[derive(Debug)]
pub(super) struct Stack {
    base: usize,
}

impl Stack {
    fn new() -> io::Result<Self> {
        let (size, access) = (GUARD + STACK + TLS, libc::PROT_READ | libc::PROT_WRITE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new mapping, where there is none.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { base: base as usize };
        // SAFETY: the first page of the mapping that was just made.
        let guarded = unsafe { libc::mprotect(base, GUARD, libc::PROT_NONE) };
        // SAFETY: the last page of it; x86-64 expects there a pointer to itself.
        unsafe { (stack.tls() as *mut usize).write(stack.tls()) };
        if guarded == 0 { Ok(stack) } else { Err(io::Error::last_os_error()) }
    }

    fn bottom(&self) -> usize {
        self.base + GUARD
    }

    fn tls(&self) -> usize {
        self.base + GUARD + STACK
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and the task on it is gone (see `Hand`).
        unsafe {
            libc::munmap(self.base as *mut libc::c_void, GUARD + STACK + TLS);
        }
    }
}
