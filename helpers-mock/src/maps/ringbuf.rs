//! The ring buffer map, `BPF_MAP_TYPE_RINGBUF` (`kernel/bpf/ringbuf.c`).
//!
//! A reserved record is guest memory of its own, freed when it is committed or consumed, so that its use after
//! `bpf_ringbuf_submit` is a use after free.

use std::any::Any;

use bpf_vm_shim::mem::{Alloc, Area, Memory, RegionKind};
use bpf_vm_shim::object::MapDef;

use super::attr::flag;
use super::ring::Ring;
use super::{MapCx, MapOps};
use crate::errno::Errno;

/// A ring buffer.
#[derive(Clone, Debug)]
pub struct RingBuf {
    ring: Ring,
    name: String,
}

impl RingBuf {
    pub(super) fn new(def: &MapDef) -> Self {
        let overwrite = def.map_flags & flag::RB_OVERWRITE != 0;
        Self { ring: Ring::new(def.max_entries.into(), overwrite), name: def.name.clone() }
    }

    /// The ring, to be looked at.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Reserves a record: its address in guest memory and its position.
    pub(crate) fn reserve(&mut self, mem: &mut Memory, size: u64) -> Option<(u64, u64)> {
        let pos = self.ring.reserve(size)?;
        let name = format!("map '{}'", self.name);
        let alloc = Alloc::new(Area::Heap, RegionKind::RingbufRecord, size as u32, name);
        match mem.alloc(alloc) {
            Ok(addr) => Some((addr, pos)),
            Err(_) => {
                self.ring.commit(pos, None, 0);
                None
            }
        }
    }

    /// Commits (`keep`) or discards the record at a position, whose memory is at `addr`.
    pub(crate) fn commit(&mut self, mem: &mut Memory, addr: u64, pos: u64, keep: bool, flags: u64) -> bool {
        let Some(size) = self.ring.busy(pos) else { return false };
        let mut data = vec![0; size as usize];
        if keep && mem.peek(addr, &mut data).is_err() {
            return false;
        }
        let _ = mem.free(addr);
        self.ring.commit(pos, keep.then_some(data), flags)
    }

    /// Reserves, fills and commits in one go (`bpf_ringbuf_output`).
    pub(crate) fn output(&mut self, data: Vec<u8>, flags: u64) -> Result<(), Errno> {
        let pos = self.ring.reserve(data.len() as u64).ok_or(Errno::EAGAIN)?;
        self.ring.commit(pos, Some(data), flags);
        Ok(())
    }

    /// Takes all records that are ready, oldest first, as a consumer does.
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.ring.consume()).collect()
    }
}

impl MapOps for RingBuf {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<u64>, Errno> {
        Err(Errno::ENOTSUPP)
    }

    fn update(&mut self, _: &mut MapCx<'_>, _: &[u8], _: &[u8], _: u64) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    fn delete(&mut self, _: &mut MapCx<'_>, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    fn next_key(&self, _: Option<&[u8]>) -> Option<Vec<u8>> {
        None
    }

    fn read(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        Err(Errno::ENOTSUPP)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
