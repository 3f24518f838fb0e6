//! Data flow over linked bytecode: what each load's base register may hold, without running anything.
//!
//! The analysis goes forward over all functions of a program, joins states where paths meet, and follows registers,
//! stack slots (through pointers into callers' frames too), constants and tests for zero. It is coarser than the
//! verifier's walk path by path and never wrong in the other direction: a kind that a path can bring is in the set.
//! Source of the kinds: `kernel/bpf/verifier.c` (`check_mem_access`, `check_helper_call`, `adjust_ptr_min_max_vals`).

mod alu;
mod call;
mod cfg;
mod engine;
mod kinds;
mod liveness;
mod memory;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::object::{KfuncDecl, KsymDecl, LinkedProgram, MapDef, Poison, ProgType};

pub(crate) use cfg::{Target, jump_target};
pub use kinds::Kinds;
pub use liveness::Liveness;

/// What the references of a program's instructions are indexes into; see [`LinkedProgram`]. Empty tables are right for
/// code whose references are the kernel's own numbers: less is known then.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tables<'a> {
    /// The object's types.
    pub btf: Option<&'a Btf>,
    /// The maps.
    pub maps: &'a [MapDef],
    /// The kernel functions.
    pub kfuncs: &'a [KfuncDecl],
    /// The kernel symbols.
    pub ksyms: &'a [KsymDecl],
}

/// A program to look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its type, which decides over the context.
    pub prog_type: ProgType,
    /// Its instructions, with symbolic references.
    pub insns: &'a [Insn],
    /// The slots at which functions start, ascending; the first is the main function. Functions that are called but
    /// not listed are added.
    pub functions: &'a [usize],
    /// Instructions that must not be reached.
    pub poisoned: Option<&'a BTreeMap<usize, Poison>>,
    /// What references mean.
    pub tables: Tables<'a>,
}

/// What was found out about a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LoadFact {
    /// What the base register may hold.
    pub base: Kinds,
    /// The registers that some path has written (bit 0 for R0).
    pub written: u16,
    /// The registers that every path has written.
    pub definite: u16,
}

/// The result of [`analyze`].
#[derive(Clone, Default, Debug)]
#[non_exhaustive]
pub struct Facts {
    /// Every load that can be reached, by slot.
    pub loads: BTreeMap<usize, LoadFact>,
    /// How far below its end each function uses its stack, by the slot at which it starts: zero or negative.
    pub stack: BTreeMap<usize, i32>,
    /// Which functions each function calls or has called back.
    pub calls: BTreeMap<usize, Vec<usize>>,
    /// The program was too large or unusual to be followed to the end: loads that are missing may be reached.
    pub gave_up: bool,
}

/// Finds out what the loads of a program go through.
#[must_use]
pub fn analyze(subject: &Subject<'_>) -> Facts {
    engine::Engine::new(subject).run()
}

/// As [`analyze`], for a linked program of a type that may be another than its section says.
#[must_use]
pub fn analyze_linked(prog: &LinkedProgram, prog_type: ProgType, tables: Tables<'_>) -> Facts {
    let functions: Vec<usize> = prog.subprogs.iter().map(|s| s.start).collect();
    let (insns, poisoned) = (prog.insns.as_slice(), Some(&prog.poisoned));
    analyze(&Subject { prog_type, insns, functions: &functions, poisoned, tables })
}
