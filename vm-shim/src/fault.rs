//! How a run can go wrong: facts as typed data. Rendering is someone else's job.
//!
//! [`FaultKind`] is the program's bug, [`Unsupported`] is a gap of ours; the two never mix.

use std::fmt;
use std::sync::Arc;

use crate::mem::{AccessKind, AccessProblem, BadAccess};

/// Something that this implementation does not do; never the program's bug.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
#[error("{kind} '{name}' is not supported")]
pub struct Unsupported {
    /// What kind of thing.
    pub kind: UnsupportedKind,
    /// Its name, as a BPF author knows it.
    pub name: String,
}

impl Unsupported {
    /// Names a gap.
    #[must_use]
    pub fn new(kind: UnsupportedKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// The kinds of gap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum UnsupportedKind {
    /// A helper.
    Helper,
    /// A kernel function.
    Kfunc,
    /// A map type.
    MapType,
    /// An instruction.
    Opcode,
    /// A program type.
    ProgType,
    /// Anything else.
    Feature,
}

impl UnsupportedKind {
    /// The word for it in machine-readable output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Helper => "helper",
            Self::Kfunc => "kfunc",
            Self::MapType => "map_type",
            Self::Opcode => "opcode",
            Self::ProgType => "prog_type",
            Self::Feature => "feature",
        }
    }
}

impl fmt::Display for UnsupportedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Helper => "helper",
            Self::Kfunc => "kernel function",
            Self::MapType => "map type",
            Self::Opcode => "instruction",
            Self::ProgType => "program type",
            Self::Feature => "feature",
        })
    }
}

/// What the program did wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FaultKind {
    /// A load, store or atomic operation that memory refused.
    Access {
        /// The access.
        access: BadAccess,
        /// Why it was refused.
        problem: AccessProblem,
        /// The register that held the address.
        reg: u8,
    },
    /// A read of a register that nothing has written on this path.
    UninitRegister {
        /// The register.
        reg: u8,
    },
    /// More nested calls than the kernel allows (`MAX_CALL_FRAMES`).
    CallDepth {
        /// The limit.
        limit: usize,
    },
    /// The instruction budget ran out: a loop that does not end, or a budget too small.
    Budget {
        /// The budget.
        limit: u64,
    },
    /// A call through a register, or a callback, to what is no function of the program.
    BadCallTarget {
        /// The address.
        addr: u64,
    },
    /// An instruction that could not be linked (as libbpf poisons it) was reached.
    Poisoned {
        /// What is missing, with type and field named.
        what: String,
    },
    /// An instruction that is not valid was reached (allowed to stand where nothing reaches it).
    InvalidInstruction {
        /// Why.
        why: String,
    },
    /// An atomic operation on an address that is not a multiple of its size.
    Misaligned {
        /// The address.
        addr: u64,
        /// The operation's size in bytes.
        size: u8,
    },
    /// An argument of the wrong kind for what was called.
    Argument {
        /// The helper or kernel function.
        callee: String,
        /// Which argument, from 1.
        arg: u8,
        /// What was given, and what was wanted.
        why: String,
        /// The memory problem behind it, if that was the reason.
        problem: Option<AccessProblem>,
    },
    /// The call is not allowed here (program type, lock held, callback).
    NotAllowed {
        /// The helper or kernel function.
        callee: String,
        /// Why not.
        why: String,
    },
    /// The program ended while it held a reference.
    Unreleased {
        /// What is held (`ring buffer record`, `task_struct`).
        what: String,
        /// What acquired it.
        acquired_by: String,
        /// The instruction that acquired it.
        acquired_at: u32,
    },
    /// The program ended, or called what may not be called, while it held a lock; or locked or unlocked wrongly.
    Lock {
        /// What is wrong.
        why: String,
    },
}

impl FaultKind {
    /// A stable identifier, for machine-readable output and for `//~ ERROR[id]` in tests.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Access { access, problem, .. } => match (problem, access.kind) {
                (AccessProblem::Null, _) => "null-deref",
                (AccessProblem::Wild | AccessProblem::Kernel(_), _) => "invalid-mem-access",
                (AccessProblem::OutOfBounds(_), _) => "out-of-bounds",
                (AccessProblem::Freed(_), _) => "use-after-free",
                (AccessProblem::ReadOnly(_), _) => "read-only-write",
                (AccessProblem::Uninit(_), _) => "uninit-stack-read",
            },
            Self::UninitRegister { .. } => "uninit-register",
            Self::CallDepth { .. } => "call-depth",
            Self::Budget { .. } => "budget",
            Self::BadCallTarget { .. } => "bad-call-target",
            Self::Poisoned { .. } => "unresolved-relocation",
            Self::InvalidInstruction { .. } => "invalid-instruction",
            Self::Misaligned { .. } => "misaligned-atomic",
            Self::Argument { problem, .. } => match problem {
                Some(AccessProblem::Freed(_)) => "use-after-free",
                Some(AccessProblem::Uninit(_)) => "uninit-stack-read",
                _ => "helper-argument",
            },
            Self::NotAllowed { .. } => "not-allowed",
            Self::Unreleased { .. } => "unreleased-reference",
            Self::Lock { .. } => "lock",
        }
    }
}

/// Where bytes lie relative to a region, in words.
fn place(access: &BadAccess, problem: &AccessProblem) -> String {
    match problem {
        AccessProblem::Null => format!("{:#x} is a null pointer (or an offset from one)", access.addr),
        AccessProblem::Wild => format!("{:#x} points to no memory that the program may touch", access.addr),
        AccessProblem::OutOfBounds(r) => {
            let end = r.offset + access.size as i64;
            let size = i64::from(r.size);
            let far = if r.offset < 0 {
                format!("{} before its start", bytes(r.offset.unsigned_abs()))
            } else if end <= size && r.offset >= 0 {
                "a part of it that is not in use".to_owned()
            } else if r.offset >= size {
                format!("{} past its end", bytes((r.offset - size) as u64))
            } else {
                format!("its last {} lie past the end", bytes((end - size).max(0) as u64))
            };
            format!("outside the {r}: {}, {far}", r.place())
        }
        AccessProblem::Freed(r) => format!("{} of the {r}", r.place()),
        AccessProblem::ReadOnly(r) => format!("{} of the read-only {r}", r.place()),
        AccessProblem::Uninit(r) => {
            format!("{} of the {r}: never written on this path", r.place())
        }
        AccessProblem::Kernel(r) => {
            format!("{} of the {r}: only bpf_probe_read_kernel() and friends may read it", r.place())
        }
    }
}

/// `1 byte`, `4 bytes`.
fn bytes(n: u64) -> String {
    format!("{n} byte{}", if n == 1 { "" } else { "s" })
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { access, problem, reg } => {
                let verb = match access.kind {
                    AccessKind::Read => "read",
                    AccessKind::Write => "write",
                };
                let title = match problem {
                    AccessProblem::Null => format!("R{reg} invalid mem access 'map_value_or_null' or null"),
                    AccessProblem::Wild | AccessProblem::Kernel(_) => {
                        format!("R{reg} invalid mem access 'scalar'")
                    }
                    AccessProblem::OutOfBounds(_) => "out-of-bounds access".to_owned(),
                    AccessProblem::Freed(_) => "use after free".to_owned(),
                    AccessProblem::ReadOnly(_) => "write to read-only memory".to_owned(),
                    AccessProblem::Uninit(_) => "read of uninitialised stack".to_owned(),
                };
                let place = place(access, problem);
                write!(f, "{title}: {verb} of {} through R{reg}: {place}", bytes(access.size))
            }
            Self::UninitRegister { reg } => write!(f, "R{reg} !read_ok: it holds no value on this path"),
            Self::CallDepth { limit } => {
                write!(f, "the call stack of {} frames is too deep (the limit is {limit})", limit + 1)
            }
            Self::Budget { limit } => {
                write!(
                    f,
                    "the program ran {limit} instructions without ending: an endless loop, or a budget too small"
                )
            }
            Self::BadCallTarget { addr } => {
                write!(f, "call to {addr:#x}, which is no function of this program")
            }
            Self::Poisoned { what } => write!(f, "reached an instruction that could not be linked: {what}"),
            Self::InvalidInstruction { why } => write!(f, "reached an invalid instruction: {why}"),
            Self::Misaligned { addr, size } => {
                write!(f, "misaligned atomic access of {} at {addr:#x}", bytes((*size).into()))
            }
            Self::Argument { callee, arg, why, problem } => {
                write!(f, "{callee}: argument {arg} (R{arg}) {why}")?;
                match problem {
                    None => Ok(()),
                    Some(AccessProblem::Null) => write!(f, ": a null pointer"),
                    Some(AccessProblem::Wild) => {
                        write!(f, ": points to no memory that the program may touch")
                    }
                    Some(AccessProblem::OutOfBounds(r)) => {
                        write!(f, ": outside the {r}, from {}", r.place())
                    }
                    Some(AccessProblem::Freed(r)) => {
                        write!(f, ": use after free: {} of the {r}", r.place())
                    }
                    Some(AccessProblem::ReadOnly(r)) => write!(f, ": the {r} is read-only"),
                    Some(AccessProblem::Uninit(r)) => {
                        write!(f, ": uninitialised bytes of the {r}, from {}", r.place())
                    }
                    Some(AccessProblem::Kernel(r)) => write!(f, ": the {r} may only be probed"),
                }
            }
            Self::NotAllowed { callee, why } => write!(f, "{callee} is not allowed here: {why}"),
            Self::Unreleased { what, acquired_by, acquired_at } => {
                write!(
                    f,
                    "unreleased reference: {what} from {acquired_by} at instruction {acquired_at} is still held at exit"
                )
            }
            Self::Lock { why } => write!(f, "{why}"),
        }
    }
}

/// A place in a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// The program's name.
    pub prog: Arc<str>,
    /// The function's name, empty if unknown.
    pub func: Arc<str>,
    /// The instruction slot in the linked program.
    pub insn: u32,
}

/// The program's bug, where it happened and how it got there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind} [{}] at instruction {} of {}", .kind.id(), .at.insn, .at.prog)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Where.
    pub at: Site,
    /// The calls that led there, innermost caller first.
    pub callers: Vec<Site>,
    /// Registers R0 to R10 at the fault.
    pub regs: [u64; 11],
}

/// Why a call or an instruction cannot go on. Boxed, so that the way that does go on stays cheap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trap(Box<TrapKind>);

/// What a [`Trap`] is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrapKind {
    /// The program's bug.
    Fault(FaultKind),
    /// Our gap.
    Unsupported(Unsupported),
}

impl Trap {
    /// What it is.
    #[must_use]
    pub fn into_kind(self) -> TrapKind {
        *self.0
    }
}

impl From<TrapKind> for Trap {
    #[cold]
    fn from(kind: TrapKind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<FaultKind> for Trap {
    #[cold]
    fn from(kind: FaultKind) -> Self {
        Self(Box::new(TrapKind::Fault(kind)))
    }
}

impl From<Unsupported> for Trap {
    #[cold]
    fn from(gap: Unsupported) -> Self {
        Self(Box::new(TrapKind::Unsupported(gap)))
    }
}
