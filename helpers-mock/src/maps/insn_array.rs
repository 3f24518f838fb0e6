//! `BPF_MAP_TYPE_INSN_ARRAY` (`kernel/bpf/bpf_insn_array.c`): instructions of one program, for jumps through registers.

use bpf_vm_shim::mem::{Alloc, Area, MemError, Memory, Perm, RegionKind};
use bpf_vm_shim::object::{MapDef, MapOrigin};

use super::array::{check_update, index, next_index};
use super::{MapCx, MapOps};
use crate::errno::Errno;

/// `sizeof(struct bpf_insn_array_value)`: offsets of an instruction in the program as it was loaded, after the verifier,
/// and in machine code.
pub(super) const VALUE: u32 = 16;
/// `sizeof(long)`: an entry of the table that programs read.
const IP: u32 = 8;

/// As many instructions as a program may have (`BPF_COMPLEXITY_LIMIT_INSNS`): more slots are no use, and cost memory.
const MAX_ENTRIES: u32 = 1_000_000;

/// Instruction slots, and a table of their addresses, which is what programs see.
#[derive(Clone, Debug)]
pub struct InsnArray {
    slots: Vec<u32>,
    table: u64,
    /// The table has its addresses: it belongs to a loaded program.
    ready: bool,
}

impl InsnArray {
    pub(super) fn new(def: &MapDef, cx: &mut MapCx<'_>) -> Result<Self, MemError> {
        let name = format!("map '{}'", def.name);
        if def.max_entries > MAX_ENTRIES {
            let bytes = u64::from(def.max_entries) * u64::from(IP);
            return Err(MemError::Limit { what: name, bytes, limit: u64::from(MAX_ENTRIES * IP) });
        }
        let alloc = Alloc::new(Area::Map, RegionKind::MapValue, def.max_entries * IP, name);
        let table = cx.mem.alloc(alloc.perm(Perm::ReadOnly))?;
        let mut slots = vec![0; def.max_entries as usize];
        if let (MapOrigin::JumpTable, Some(data)) = (def.origin, &def.data) {
            for (slot, bytes) in slots.iter_mut().zip(data.to_vec().as_chunks::<8>().0) {
                *slot = u32::try_from(u64::from_le_bytes(*bytes)).unwrap_or(u32::MAX);
            }
        }
        Ok(Self { slots, table, ready: false })
    }

    /// The slots that it names.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// The guest address of the table that programs read.
    pub(crate) fn table(&self) -> u64 {
        self.table
    }

    /// Puts the addresses of a program's instructions into the table (`bpf_prog_update_insn_ptrs`).
    pub(crate) fn fill(&mut self, mem: &mut Memory, addr: impl Fn(u32) -> u64) {
        for (at, slot) in (self.table..).step_by(IP as usize).zip(&self.slots) {
            // Allocated with this many entries.
            let _ = mem.poke(at, &addr(*slot).to_le_bytes());
        }
        self.ready = true;
    }
}

impl MapOps for InsnArray {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<u64>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Of a value only the first offset may be given.
    fn update(&mut self, _: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let at = check_update(key, self.slots.len() as u32, flags)?;
        let (first, rest) = value.split_first_chunk::<4>().ok_or(Errno::EINVAL)?;
        if rest.iter().take(8).any(|b| *b != 0) {
            return Err(Errno::EINVAL);
        }
        if let Some(slot) = self.slots.get_mut(at as usize) {
            *slot = u32::from_le_bytes(*first);
        }
        Ok(())
    }

    fn delete(&mut self, _: &mut MapCx<'_>, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        next_index(key, self.slots.len() as u32)
    }

    /// Nothing is translated here, so all offsets of a loaded program are the same.
    fn read(&self, _: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let Some(slot) = index(key).and_then(|i| self.slots.get(i as usize)) else { return Ok(None) };
        let loaded = if self.ready { *slot } else { 0 };
        let value = [*slot, loaded, loaded.wrapping_mul(8), 0];
        Ok(Some(vec![value.into_iter().flat_map(u32::to_le_bytes).collect()]))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
