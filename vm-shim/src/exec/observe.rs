//! Watching a run instruction by instruction: coverage, traces, preemption.

use std::sync::Arc;

use super::code::Code;

/// A run just before one of its instructions.
#[derive(Debug)]
pub struct InsnView<'a> {
    /// The code that runs.
    pub code: &'a Arc<Code>,
    /// The instruction's slot.
    pub insn: u32,
    /// Registers R0 to R10.
    pub regs: &'a [u64; 11],
    /// How many frames deep it is.
    pub depth: usize,
}

/// Sees every instruction before it runs. A run without an observer pays nothing for this.
pub trait Observer {
    /// Called before the instruction; `true` pauses the run there, to be gone on with later.
    fn before(&mut self, view: &InsnView<'_>) -> bool;
}
