//! Why a program cannot be changed, or must not be loaded.

use bpf_vm_shim::object::LineInfo;

use super::DirectLoad;

/// Why a pass cannot do its work, or a program must not be loaded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// The program reads memory directly that it must not.
    #[error("Failed to load BPF program {program}: {load}")]
    DirectLoad {
        /// The program.
        program: String,
        /// The load.
        load: Box<DirectLoad>,
    },
    /// An automatic read has no stack left to read to.
    #[error(
        "program '{program}', instruction {insn}: no stack left for automatic reads: {used} bytes are used, \
         {needed} more are needed, a function has 512: make local variables smaller, or read with bpf_probe_read()"
    )]
    NoStack {
        /// The program.
        program: String,
        /// The first load that needs it.
        insn: usize,
        /// Bytes that the function uses.
        used: u32,
        /// Bytes that are needed.
        needed: u32,
    },
    /// With automatic reads, functions that call one another use more stack than the kernel allows.
    #[error(
        "program '{program}': with automatic reads the functions that call one another use {used} bytes of stack, the \
         kernel allows 512: make local variables smaller, or read with bpf_probe_read()"
    )]
    CallStack {
        /// The program.
        program: String,
        /// Bytes in all.
        used: u32,
    },
    /// A jump became too long for the instruction set of that kernel.
    #[error(
        "program '{program}': after automatic reads were added, the jump at instruction {insn} is too long ({distance} \
         instructions); kernels from 6.6 on have longer jumps"
    )]
    JumpTooLong {
        /// The program.
        program: String,
        /// The jump, before the change.
        insn: usize,
        /// Its distance.
        distance: i64,
    },
    /// The program jumps through a table, whose entries cannot be moved along.
    #[error("program '{program}': instruction {insn} jumps through a table: compile with -fno-jump-tables")]
    JumpTable {
        /// The program.
        program: String,
        /// The jump.
        insn: usize,
    },
    /// A parameter is of a type that no register holds.
    #[error("program '{program}': parameter {parameter} ({type_name}) is no number and no pointer")]
    Parameter {
        /// The program.
        program: String,
        /// The parameter's number; the context is 1.
        parameter: usize,
        /// Its type in C.
        type_name: String,
    },
    /// More parameters than registers.
    #[error(
        "program '{program}' has {count} parameters; BPF functions have 5: read the others with PT_REGS_PARM6() and \
         the stack"
    )]
    TooManyParameters {
        /// The program.
        program: String,
        /// How many, with the context.
        count: usize,
    },
    /// The program is too large or unusual to be followed.
    #[error(
        "program '{program}' is too large or unusual for automatic reads: read with bpf_probe_read() and turn them off"
    )]
    TooComplex {
        /// The program.
        program: String,
    },
}

impl PassError {
    /// The instruction that it is about.
    #[must_use]
    pub fn insn(&self) -> Option<usize> {
        match self {
            Self::DirectLoad { load, .. } => Some(load.insn),
            Self::NoStack { insn, .. } | Self::JumpTooLong { insn, .. } | Self::JumpTable { insn, .. } => {
                Some(*insn)
            }
            _ => None,
        }
    }

    /// The source line that it is about, where that is known.
    #[must_use]
    pub fn line(&self) -> Option<&LineInfo> {
        match self {
            Self::DirectLoad { load, .. } => load.line.as_ref(),
            _ => None,
        }
    }

    /// With the place in the program as it was before.
    pub(super) fn moved_back(mut self, places: &[usize]) -> Self {
        if let Self::NoStack { insn, .. } | Self::JumpTable { insn, .. } = &mut self {
            *insn = places.partition_point(|p| p <= insn).saturating_sub(1);
        }
        self
    }
}
