//! What can go wrong with actors and made-up events.

use std::io;
use std::time::Duration;

/// A made-up event cannot be had on this kernel, or not as described.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ActorError {
    /// The machine cannot have actors at all.
    #[error("made-up events cannot run on this machine: {0}")]
    Machine(String),
    /// A thread id that another task has.
    #[error(
        "no task can be made with pid {pid}: it is the pid of {holder}; describe the task with another pid (from 1000 on \
         few are taken in a VM, see `bpf-vm run`)"
    )]
    PidInUse {
        /// The thread id.
        pid: u32,
        /// Who has it.
        holder: String,
    },
    /// A thread id that no task can have.
    #[error("no task can be made with pid {pid}: {why}")]
    Pid {
        /// The thread id.
        pid: u32,
        /// Why not.
        why: String,
    },
    /// Something that was described and cannot be had.
    #[error("task {pid} is described with {what}, which {why}; test it on the simulator, or leave it out")]
    Description {
        /// The thread id.
        pid: u32,
        /// The property.
        what: &'static str,
        /// Why it cannot be had.
        why: &'static str,
    },
    /// A CPU that the machine does not have.
    #[error(
        "there is no CPU {cpu} to run on: this machine has {cpus} (numbered from 0); for a VM see `bpf-vm run --cpus`"
    )]
    Cpu {
        /// The CPU.
        cpu: u32,
        /// How many there are.
        cpus: usize,
    },
    /// A system call of an actor failed.
    #[error("task {pid} of the test cannot {what}: {source}")]
    Call {
        /// The thread id.
        pid: u32,
        /// What it was to do.
        what: &'static str,
        /// Why it cannot.
        source: io::Error,
    },
    /// An actor ended while it was at work.
    #[error("task {pid} of the test ended while the event happened in it; does the program send signals?")]
    Died {
        /// The thread id.
        pid: u32,
        /// Whether the event had begun.
        begun: bool,
    },
    /// An actor did not finish.
    #[error("task {pid} of the test did not finish within {limit:?}, and was killed")]
    TimedOut {
        /// The thread id.
        pid: u32,
        /// The deadline.
        limit: Duration,
    },
    /// Memory at an address that is taken, or that no process can have.
    #[error("{len} bytes of user memory cannot be placed at {addr:#x}: {why}")]
    Memory {
        /// The address.
        addr: u64,
        /// How many.
        len: usize,
        /// Why not.
        why: String,
    },
    /// More arguments than a point can be entered with.
    #[error("{given} arguments are more than an event can have: at most {max}")]
    Arguments {
        /// How many there are.
        given: usize,
        /// How many there can be.
        max: usize,
    },
    /// The kernel refuses to attach the program to a point.
    #[error("program '{prog}' cannot be attached to a point of the test ({kind}): {why}")]
    Attach {
        /// The program's name.
        prog: String,
        /// Uprobe or uretprobe.
        kind: &'static str,
        /// What libbpf and the kernel say.
        why: String,
    },
    /// The event happened and the program did not run.
    #[error(
        "program '{prog}' did not run when the event happened: the kernel skips programs of probes on a CPU where such a \
         program is running already"
    )]
    DidNotRun {
        /// The program's name.
        prog: String,
    },
    /// A test run has called the functions that test runs call, and the program is attached to none of them.
    #[error(
        "the program did not run: a test run of a program on functions calls the kernel's own test functions \
         (`bpf_fentry_test1` and so on), and it is attached to none of them: attach it and use a `Stimulus`"
    )]
    NotCalled,
    /// The kernel cannot test run programs of this type.
    #[error("Linux {running} cannot test run programs of type {prog_type}: {since}")]
    NoTestRun {
        /// The running kernel.
        running: String,
        /// The type, in libbpf's words.
        prog_type: String,
        /// Since when it can, or what to do.
        since: String,
    },
    /// The kernel refuses a test run.
    #[error("Linux {running} refuses to test run a program of type {prog_type}: {source}{hint}")]
    TestRun {
        /// The running kernel.
        running: String,
        /// The type, in libbpf's words.
        prog_type: String,
        /// The kernel's error.
        source: io::Error,
        /// What is likely wrong, as the end of the sentence.
        hint: String,
    },
    /// Asking the kernel about a program failed.
    #[error("the kernel does not say what the program with descriptor {fd} is: {source}")]
    Info {
        /// The descriptor.
        fd: i32,
        /// The kernel's error.
        source: io::Error,
    },
}
