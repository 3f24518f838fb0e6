//! The state of one program run: what it was given and what it holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use bpf_vm_shim::env::Cx;
use bpf_vm_shim::fault::{FaultKind, Trap};

use crate::dynptr::Dynptrs;
use crate::maps::MapId;
use crate::progs::LoadedProg;

/// What a run starts with.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RunInput {
    /// R1 to R5 at the entry; R1 is the context's address.
    pub args: [u64; 5],
    /// The probed instruction's address, for `bpf_get_func_ip`.
    pub func_ip: u64,
    /// The value given at attaching, for `bpf_get_attach_cookie`.
    pub cookie: u64,
    /// Arguments of the traced function, for `bpf_get_func_arg` (fentry, fexit, fmod_ret, LSM).
    pub func_args: Vec<u64>,
    /// Its return value, for `bpf_get_func_ret` (fexit, fmod_ret).
    pub func_ret: Option<u64>,
    /// The packet's number in the machine's packets, for contexts that carry one.
    pub packet: Option<u32>,
    /// Guest memory that is the run's own (its context and what belongs to it) and is freed when it ends.
    pub scratch: Vec<u64>,
}

/// What a program can hold, to be given back before it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HeldKind {
    /// A reserved ring-buffer record (`bpf_ringbuf_reserve`): must be submitted or discarded.
    RingbufRecord,
    /// A counted reference on a kernel object (`bpf_task_acquire` and the like).
    Reference,
    /// Memory from `bpf_obj_new`.
    Object,
    /// A started iterator.
    Iterator,
    /// A dynptr that reserves ring-buffer space.
    Dynptr,
    /// A read-side critical section of RCU.
    RcuLock,
    /// Disabled preemption.
    PreemptDisabled,
    /// Disabled interrupts.
    IrqDisabled,
}

/// Something held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// What.
    pub kind: HeldKind,
    /// Its guest address or another number that tells it from others of its kind.
    pub key: u64,
    /// In words, for a fault (`ring buffer record of map 'events'`).
    pub what: String,
    /// The helper or kernel function that gave it.
    pub by: String,
    /// The instruction that called it.
    pub at: u32,
}

/// A resilient spin lock that is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResLock {
    /// Its address.
    pub addr: u64,
    /// The instruction that took it.
    pub at: u32,
    /// Where the interrupt flags were saved; 0 if they were not.
    pub flags_at: u64,
}

/// The state of one program run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The program that was started (a tail call changes only the code).
    pub prog: Arc<LoadedProg>,
    /// What it started with.
    pub input: RunInput,
    /// What it holds, in order of acquisition.
    pub held: Vec<Held>,
    /// What the system call will return, as a control group's program sees and sets it.
    pub retval: i32,
    /// The spin lock that it holds, by address, and the instruction that took it.
    pub lock: Option<(u64, u32)>,
    /// The ring-buffer records that it is writing, by address: their map and position.
    pub records: BTreeMap<u64, (MapId, u64)>,
    /// The resilient spin locks that it holds, in order of taking.
    pub res_locks: Vec<ResLock>,
    /// Its dynptrs.
    pub dynptrs: Dynptrs,
    /// Map values that it has deleted and may still read, by address.
    pub freed: Vec<u64>,
}

impl Run {
    /// A run at its start.
    #[must_use]
    pub fn new(prog: Arc<LoadedProg>, input: RunInput) -> Self {
        Self {
            prog,
            input,
            held: Vec::new(),
            retval: 0,
            lock: None,
            records: BTreeMap::new(),
            res_locks: Vec::new(),
            dynptrs: Dynptrs::default(),
            freed: Vec::new(),
        }
    }

    /// Notes that the program now holds something.
    pub fn hold(&mut self, cx: &Cx<'_>, kind: HeldKind, key: u64, what: impl Into<String>, by: &str) {
        self.held.push(Held { kind, key, what: what.into(), by: by.to_owned(), at: cx.insn() });
    }

    /// Gives something back; `None` if it is not held.
    pub fn release(&mut self, kind: HeldKind, key: u64) -> Option<Held> {
        let at = self.held.iter().rposition(|h| h.kind == kind && h.key == key)?;
        Some(self.held.remove(at))
    }

    /// What must be true when the program ends.
    ///
    /// # Errors
    /// What it still holds.
    pub fn check_exit(&self) -> Result<(), Trap> {
        if let Some((_, at)) = self.lock {
            let why = format!("the program ends while it holds the bpf_spin_lock taken at instruction {at}");
            return Err(FaultKind::Lock { why }.into());
        }
        if let Some(lock) = self.res_locks.first() {
            let at = lock.at;
            let why =
                format!("the program ends while it holds the bpf_res_spin_lock taken at instruction {at}");
            return Err(FaultKind::Lock { why }.into());
        }
        match self.held.first() {
            None => Ok(()),
            Some(h) => Err(FaultKind::Unreleased {
                what: h.what.clone(),
                acquired_by: h.by.clone(),
                acquired_at: h.at,
            }
            .into()),
        }
    }
}
