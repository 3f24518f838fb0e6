//! The user ring buffer, `BPF_MAP_TYPE_USER_RINGBUF`: user space writes, programs drain (`kernel/bpf/ringbuf.c`).

use std::any::Any;

use bpf_vm_shim::object::MapDef;

use super::ring::Ring;
use super::{MapCx, MapOps};
use crate::errno::Errno;

/// A user ring buffer.
#[derive(Clone, Debug)]
pub struct UserRingBuf {
    ring: Ring,
    busy: bool,
}

impl UserRingBuf {
    pub(super) fn new(def: &MapDef) -> Self {
        Self { ring: Ring::new(def.max_entries.into(), false), busy: false }
    }

    /// Writes a sample as user space does (`user_ring_buffer__reserve` and `__submit`).
    ///
    /// # Errors
    /// `-ENOSPC` if it does not fit.
    pub fn produce(&mut self, data: &[u8]) -> Result<(), Errno> {
        let pos = self.ring.reserve(data.len() as u64).ok_or(Errno::ENOSPC)?;
        self.ring.commit(pos, Some(data.to_vec()), 0);
        Ok(())
    }

    /// Takes the ring for a program; `false` if another one has it.
    pub(crate) fn enter(&mut self) -> bool {
        !std::mem::replace(&mut self.busy, true)
    }

    pub(crate) fn leave(&mut self) {
        self.busy = false;
    }

    pub(crate) fn consume(&mut self) -> Option<Vec<u8>> {
        self.ring.consume()
    }
}

impl MapOps for UserRingBuf {
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
