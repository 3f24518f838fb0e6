//! `BPF_MAP_TYPE_ARRAY` (`kernel/bpf/arraymap.c`), global data included.

use bpf_vm_shim::mem::MemError;

use super::attr::flag;
use super::values::Values;
use super::{Element, MapCx, MapOps};
use crate::errno::Errno;

/// An array: one allocation, a red zone after each element.
#[derive(Clone, Debug)]
pub(super) struct Array {
    values: Values,
    base: u64,
    pitch: u64,
    len: u32,
}

/// The index that a key holds.
pub(super) fn index(key: &[u8]) -> Option<u32> {
    key.first_chunk::<4>().map(|k| u32::from_le_bytes(*k))
}

/// The key after a key, for types whose keys are 0 to `len` (`array_map_get_next_key`).
pub(super) fn next_index(key: Option<&[u8]>, len: u32) -> Option<Vec<u8>> {
    let next = match key.and_then(index) {
        Some(i) if i < len => i + 1,
        _ => 0,
    };
    (next < len).then(|| next.to_le_bytes().to_vec())
}

/// What `array_map_update_elem` and `percpu_array_map_update_elem` check first.
pub(super) fn check_update(key: &[u8], len: u32, flags: u64) -> Result<u32, Errno> {
    if flags > flag::EXIST {
        return Err(Errno::EINVAL);
    }
    let index = index(key).filter(|i| *i < len).ok_or(Errno::E2BIG)?;
    if flags & flag::NOEXIST != 0 { Err(Errno::EEXIST) } else { Ok(index) }
}

impl Array {
    pub(super) fn new(values: Values, len: u32, cx: &mut MapCx<'_>) -> Result<Self, MemError> {
        let (base, pitch) = values.alloc(cx.mem, len)?;
        Ok(Self { values, base, pitch, len })
    }

    fn addr(&self, index: u32) -> Option<u64> {
        (index < self.len).then(|| self.base + u64::from(index) * self.pitch)
    }
}

impl MapOps for Array {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, _: &mut MapCx<'_>, key: &[u8]) -> Result<Option<u64>, Errno> {
        Ok(index(key).and_then(|i| self.addr(i)))
    }

    fn update(&mut self, cx: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let index = check_update(key, self.len, flags & !flag::LOCK)?;
        let lock = flags & flag::LOCK != 0;
        if lock && !self.values.fields.has_lock() {
            return Err(Errno::EINVAL);
        }
        let addr = self.addr(index).ok_or(Errno::E2BIG)?;
        self.values.store(cx, addr, value)?;
        // Under the lock what the fields hold is left alone (`copy_map_value_locked`).
        if lock { Ok(()) } else { self.values.drop_fields(cx, addr) }
    }

    fn delete(&mut self, _: &mut MapCx<'_>, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        next_index(key, self.len)
    }

    fn walk(&self, _: &mut MapCx<'_>, position: u64, key: &mut Vec<u8>) -> Result<Option<Element>, Errno> {
        let index = u32::try_from(position).unwrap_or(u32::MAX);
        key.clear();
        key.extend_from_slice(&index.to_le_bytes());
        Ok(self.addr(index).map(|value| Element { value, next: position + 1 }))
    }

    fn read(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let Some(addr) = index(key).and_then(|i| self.addr(i)) else { return Ok(None) };
        Ok(Some(vec![self.values.load(cx, addr)?]))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
