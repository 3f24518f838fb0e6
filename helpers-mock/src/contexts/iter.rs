//! Iterators: `struct bpf_iter__<kind>`, a pointer to `struct bpf_iter_meta` and then the kind's own pointers
//! (`include/linux/bpf.h`, `kernel/bpf/bpf_iter.c`).

use bpf_vm_shim::mem::Perm;

use super::error::ContextError;
use super::{place, place_kernel};
use crate::machine::Machine;
use crate::run::RunInput;

/// The most pointers that a kind of iterator has beside its `meta`.
const MAX_POINTERS: usize = 7;
/// Bytes that stand for `struct seq_file`, of which programs read nothing.
const SEQ_FILE: usize = 256;

/// One call of an iterator program.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Iter {
    /// What the pointers behind `meta` are, in their order (for `iter/task`: the task, for `iter/bpf_map_elem`: map,
    /// key, value). The others are null; all are null in the last call.
    pub pointers: Vec<u64>,
    /// The `struct seq_file` that an earlier call of the same session wrote to; a fresh one if none.
    pub seq: Option<u64>,
    /// `meta->session_id`.
    pub session_id: u64,
    /// `meta->seq_num`: how many objects came before.
    pub seq_num: u64,
}

impl Iter {
    /// The context, readable to the program.
    ///
    /// # Errors
    /// If there is no memory or there are too many pointers.
    pub fn build(&self, machine: &mut Machine) -> Result<RunInput, ContextError> {
        if self.pointers.len() > MAX_POINTERS {
            return Err(ContextError::TooManyArgs { given: self.pointers.len(), max: MAX_POINTERS });
        }
        let mut scratch = Vec::new();
        let seq = match self.seq {
            Some(seq) => seq,
            None => place_kernel(machine, &mut scratch, &[0; SEQ_FILE], "struct seq_file")?,
        };
        let meta: Vec<u8> =
            [seq, self.session_id, self.seq_num].into_iter().flat_map(u64::to_le_bytes).collect();
        let meta = place_kernel(machine, &mut scratch, &meta, "struct bpf_iter_meta")?;
        let words = std::iter::once(meta).chain(self.pointers.iter().copied());
        let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        bytes.resize(8 * (1 + MAX_POINTERS), 0);
        let mut input = place(machine, &bytes, Perm::ReadOnly)?;
        input.scratch.append(&mut scratch);
        Ok(input)
    }
}
