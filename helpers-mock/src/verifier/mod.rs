//! A conservative static checker: it walks a loaded program path by path, as the kernel's verifier does, and says in
//! the verifier's words what the kernel would refuse.
//!
//! What it does not model it accepts: a refusal is meant to be right always, an acceptance says nothing
//! (`kernel/bpf/verifier.c`).

mod alu;
mod arith;
mod call;
mod callback;
mod context;
mod ctx;
mod exit;
mod funcs;
mod hooks;
mod jump;
mod kfunc;
mod kfunc_args;
mod kfunc_table;
mod kptr;
mod map_rules;
mod mem;
mod scalar;
mod sock;
mod stack_object;
mod state;
mod structure;
#[cfg(test)]
mod tests;
mod tnum;
mod walk;
mod why;

use bpf_vm_shim::object::ProgType;

use crate::kernel::Kernel;
use crate::progs::ProgId;

/// Why the kernel would not load a program.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message} [{id}] at instruction {insn}")]
#[non_exhaustive]
pub struct Refusal {
    /// The instruction slot.
    pub insn: usize,
    /// A stable identifier of the reason.
    pub id: &'static str,
    /// The verifier's words.
    pub message: String,
}

/// Checks a loaded program.
///
/// # Errors
/// If the kernel would certainly refuse it.
pub fn check(kernel: &Kernel, prog: ProgId) -> Result<(), Refusal> {
    let Some(prog) = kernel.progs.get(prog) else { return Ok(()) };
    // What an extension may do depends on the program that it extends.
    if matches!(prog.prog_type, ProgType::Ext | ProgType::Unspec) {
        return Ok(());
    }
    match walk::Walk::new(kernel, walk::Program::of(prog)).run() {
        Some((insn, why, message)) => Err(Refusal { insn, id: why.id(), message }),
        None => Ok(()),
    }
}

/// The identifiers that refusals can carry.
pub fn reasons() -> impl Iterator<Item = &'static str> {
    why::Why::ALL.iter().map(|w| w.id())
}
