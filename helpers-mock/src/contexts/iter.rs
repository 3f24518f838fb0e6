//! Iterators (`struct bpf_iter__<kind>` and `struct bpf_iter_meta`, `include/linux/bpf.h`).

use bpf_vm_shim::mem::Perm;

use super::error::ContextError;
use super::{place, place_kernel};
use crate::machine::Machine;
use crate::progs::LoadedProg;
use crate::run::RunInput;

/// The most pointers that a kind of iterator has beside its `meta`.
const MAX_POINTERS: usize = 7;

/// The last call of an iteration: `meta` is there, every object is null.
pub(super) fn default_input(machine: &mut Machine, _: &LoadedProg) -> Result<RunInput, ContextError> {
    let mut scratch = Vec::new();
    let seq = place_kernel(machine, &mut scratch, &[0; 256], "struct seq_file")?;
    // struct bpf_iter_meta: seq, session_id, seq_num.
    let meta: Vec<u8> = [seq, 0, 0].into_iter().flat_map(u64::to_le_bytes).collect();
    let meta = place_kernel(machine, &mut scratch, &meta, "struct bpf_iter_meta")?;
    let mut bytes = meta.to_le_bytes().to_vec();
    bytes.resize(8 * (1 + MAX_POINTERS), 0);
    let mut input = place(machine, &bytes, Perm::ReadOnly)?;
    input.scratch.append(&mut scratch);
    Ok(input)
}
