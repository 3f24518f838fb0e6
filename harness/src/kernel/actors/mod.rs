//! Actors: tasks of this machine that look as a test describes them, and that let made-up events happen.
//!
//! A made-up event has to reach a program the way an event does: in some task, on some CPU, with some registers. An actor
//! is a process or thread with the thread id, process id, name, user and group that a test describes (`clone3()` with
//! `set_tid`, Linux 5.5). It does what it is told and nothing else:
//!
//! * enter a *point*, a function of two instructions of our own with a uprobe or uretprobe on it, with given registers
//!   (`points.rs`, `fire.rs`): kprobe, kretprobe, uprobe and uretprobe programs are all of type kprobe and get the
//!   registers as `struct pt_regs`;
//! * call `bpf(BPF_PROG_TEST_RUN)` (`test_run/`), since a test run of a raw tracepoint runs in the task that asks for it.
//!
//! Actors share the memory and the files of the test's process (`CLONE_VM | CLONE_FILES`). So there is nothing to copy,
//! every address of the test means the same in each actor and is present (a BPF program cannot wait for a page), and an
//! actor can use every descriptor of the test without holding it open. The price is that an actor may only make system
//! calls and touch memory prepared for it (`body.rs`): it has no thread-local storage of its own.
//!
//! They belong to the process, not to one `Bpf` (`crew.rs`): tests that run at the same time all want pid 1000. An actor
//! keeps nothing from one job to the next, so tests take turns.

mod arch;
mod body;
mod cast;
mod crew;
mod error;
mod fire;
mod holder;
mod job;
mod memory;
mod orphan;
mod points;
mod role;
mod show;
mod spawn;
mod stats;
mod test_run;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;

#[allow(unused_imports, reason = "names of what the functions here take and give")]
pub(crate) use arch::{Registers, SP, STACK_TOP};
pub(crate) use error::ActorError;
#[allow(unused_imports, reason = "as above")]
pub(crate) use fire::{Firing, Ran};
pub(crate) use role::Role;
#[allow(unused_imports, reason = "as above")]
pub(crate) use test_run::{TestRun, TestRunOutput};

use crew::Member;
use fire::{Attached, AttachedKey};
use memory::Arena;

/// The tasks that play in the made-up events of one `Bpf`, the points its programs are attached to, and the bytes that it
/// placed in user memory.
#[derive(Debug)]
pub(crate) struct Actors {
    attached: BTreeMap<AttachedKey, Attached>,
    clock: u64,
    /// How many programs may stay attached; then the one that was not used for longest is detached.
    most: usize,
    arena: Arena,
    member: Member,
}

impl Actors {
    /// None yet: tasks are made when an event needs them.
    ///
    /// # Errors
    /// If this machine cannot have actors: another architecture, no root, an old kernel.
    pub(crate) fn new() -> Result<Self, ActorError> {
        let member = Member::join()?;
        Ok(Self {
            attached: BTreeMap::new(),
            clock: 0,
            most: arch::POINTS / 2,
            arena: Arena::default(),
            member,
        })
    }

    /// Puts bytes where every actor can read and write them, and gives the address. They stay as long as this value.
    ///
    /// # Errors
    /// If there is no memory.
    pub(crate) fn place(&mut self, bytes: &[u8]) -> Result<u64, ActorError> {
        self.arena.place(bytes)
    }

    /// Puts bytes at an address of the caller's choice, where every actor sees them.
    ///
    /// # Errors
    /// If something else of this process is there.
    pub(crate) fn place_at(&mut self, addr: u64, bytes: &[u8]) -> Result<(), ActorError> {
        self.arena.place_at(addr, bytes)
    }

    /// Makes the task, if it does not exist: for tests that look at it in `/proc`, and to get errors early.
    ///
    /// # Errors
    /// If there cannot be such a task.
    #[cfg(test)]
    pub(crate) fn prepare(&mut self, role: &Role) -> Result<(), ActorError> {
        self.member.perform(role, job::Job::default()).map(drop)
    }
}

impl Drop for Actors {
    fn drop(&mut self) {
        fire::let_go(std::mem::take(&mut self.attached).into_values().collect());
    }
}
