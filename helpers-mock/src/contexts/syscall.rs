//! Programs that the `bpf` system call runs (`bpf_prog_test_run_syscall` in `net/bpf/test_run.c`).

use bpf_vm_shim::btf::{Type, TypeId};

use super::error::ContextError;
use super::raw_input;
use crate::machine::Machine;
use crate::progs::LoadedProg;
use crate::run::RunInput;

/// The largest context (`U16_MAX`).
const MAX_SIZE: usize = 0xffff;
/// What a program gets that does not say what it wants.
const DEFAULT_SIZE: u64 = 64;

/// The user's bytes as a context, which the program may also write; none give a null context.
///
/// # Errors
/// If they are more than 65535, or there is no memory.
pub fn syscall_input(machine: &mut Machine, bytes: &[u8]) -> Result<RunInput, ContextError> {
    match bytes.len() {
        0 => Ok(RunInput::default()),
        1..=MAX_SIZE => raw_input(machine, bytes),
        n => Err(ContextError::TooLarge(n)),
    }
}

/// Zeros, as many as the structure has that the program takes a pointer to.
pub(super) fn default_input(machine: &mut Machine, prog: &LoadedProg) -> Result<RunInput, ContextError> {
    let size = wanted_size(prog).unwrap_or(0).clamp(DEFAULT_SIZE, MAX_SIZE as u64);
    syscall_input(machine, &vec![0; size as usize])
}

fn wanted_size(prog: &LoadedProg) -> Option<u64> {
    let btf = prog.object.btf.as_ref()?;
    let func: TypeId = prog.linked.subprogs.first()?.func?;
    let Type::Func { proto, .. } = btf.get(func).ok()? else { return None };
    let Type::FuncProto(proto) = btf.get(proto).ok()? else { return None };
    let param = proto.params().next()?;
    let Type::Ptr(target) = btf.resolve(param.type_id).ok()?.1 else { return None };
    btf.size_of(target).ok()
}
