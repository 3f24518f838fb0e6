//! Values of a map in guest memory.

use std::sync::Arc;

use bpf_vm_shim::mem::{Alloc, Area, MemError, Memory, Perm, RegionKind};
use bpf_vm_shim::object::MapDef;

use super::MapCx;
use super::attr::flag;
use super::fields::Fields;
use crate::errno::Errno;

/// How the values of a map are laid out and named.
#[derive(Clone, Debug)]
pub(super) struct Values {
    /// Bytes of one value.
    pub(super) size: u32,
    name: Arc<str>,
    perm: Perm,
    /// What must not be copied.
    pub(super) fields: Arc<Fields>,
}

impl Values {
    pub(super) fn new(def: &MapDef, fields: Arc<Fields>) -> Self {
        let perm = match def.map_flags & (flag::RDONLY_PROG | flag::WRONLY_PROG) {
            flag::RDONLY_PROG => Perm::ReadOnly,
            flag::WRONLY_PROG => Perm::Uninit,
            _ => Perm::ReadWrite,
        };
        Self { size: def.value_size, name: format!("map '{}'", def.name).into(), perm, fields }
    }

    /// The same values, named as those of one CPU.
    pub(super) fn of_cpu(&self, cpu: u32) -> Self {
        Self { name: format!("{} on CPU {cpu}", self.name).into(), ..self.clone() }
    }

    fn request(&self, count: u32) -> Alloc {
        let name = Arc::clone(&self.name);
        Alloc::new(Area::Map, RegionKind::MapValue, self.size, name).count(count).perm(self.perm)
    }

    /// Zeroed memory for `count` values: the address of the first and the distance from one to the next.
    pub(super) fn alloc(&self, mem: &mut Memory, count: u32) -> Result<(u64, u64), MemError> {
        let request = self.request(count);
        let pitch = request.pitch().map_or(0, u64::from);
        Ok((mem.alloc(request)?, pitch))
    }

    /// The distance from one value to the next.
    pub(super) fn pitch(&self) -> u64 {
        self.request(1).pitch().map_or(0, u64::from)
    }

    /// Memory for one element: `-ENOMEM` if there is none.
    pub(super) fn alloc_element(&self, mem: &mut Memory, count: u32) -> Result<u64, Errno> {
        self.alloc(mem, count).map(|(addr, _)| addr).map_err(|_| Errno::ENOMEM)
    }

    /// Gives an element's memory back; its special fields are dropped.
    pub(super) fn free(&self, cx: &mut MapCx<'_>, addr: u64, count: u32) {
        if !self.fields.is_empty() {
            let pitch = self.pitch();
            cx.dropped.extend((0..u64::from(count)).map(|i| (addr + i * pitch, Arc::clone(&self.fields))));
        }
        if cx.grace {
            cx.freed.push(addr);
            return;
        }
        // A failure would mean that the element is not there any more: nothing is left to be done.
        let _ = cx.mem.free(addr);
    }

    /// Copies a value in, all but its special fields (`copy_map_value`).
    pub(super) fn store(&self, cx: &mut MapCx<'_>, addr: u64, value: &[u8]) -> Result<(), Errno> {
        let value = value.get(..self.size as usize).ok_or(Errno::EFAULT)?;
        if self.fields.is_empty() && self.perm == Perm::ReadWrite && self.store_word(cx, addr, value) {
            return Ok(());
        }
        for (from, to) in self.fields.plain_ranges(self.size) {
            let part = value.get(from as usize..to as usize).ok_or(Errno::EFAULT)?;
            cx.mem.poke(addr + u64::from(from), part).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(())
    }

    /// Stores a value of a word the way a program does; `false` if that is not possible.
    fn store_word(&self, cx: &mut MapCx<'_>, addr: u64, value: &[u8]) -> bool {
        let word = match *value {
            [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => return false,
        };
        cx.mem.store(addr, value.len() as u8, word).is_ok()
    }

    /// Drops what the special fields hold (`bpf_obj_free_fields`): all but the lock become zero.
    pub(super) fn drop_fields(&self, cx: &mut MapCx<'_>, addr: u64) -> Result<(), Errno> {
        if self.fields.is_empty() {
            return Ok(());
        }
        cx.dropped.push((addr, Arc::clone(&self.fields)));
        for field in self.fields.iter().filter(|f| f.kind.is_dropped()) {
            let zeroes = vec![0; field.size as usize];
            cx.mem.poke(addr + u64::from(field.offset), &zeroes).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(())
    }

    /// A value as the host sees it: special fields read as zero.
    pub(super) fn load(&self, cx: &mut MapCx<'_>, addr: u64) -> Result<Vec<u8>, Errno> {
        let mut out = vec![0; self.size as usize];
        cx.mem.peek(addr, &mut out).map_err(|_| Errno::EFAULT)?;
        for field in self.fields.iter() {
            let range = field.offset as usize..(field.offset + field.size) as usize;
            if let Some(part) = out.get_mut(range) {
                part.fill(0);
            }
        }
        Ok(out)
    }

    /// Cuts a value that the host gives for a per-CPU element into its parts: one for `cpu`, or one for each CPU.
    pub(super) fn per_cpu<'v>(&self, cx: &MapCx<'_>, value: &'v [u8]) -> Result<Vec<(u32, &'v [u8])>, Errno> {
        let size = self.size as usize;
        let stride = size.next_multiple_of(8);
        if value.len() == size {
            return Ok(vec![(cx.cpu, value)]);
        }
        if value.len() != stride * cx.cpus as usize {
            return Err(Errno::EINVAL);
        }
        let parts = value.chunks(stride).map(|c| c.get(..size).unwrap_or(c));
        Ok((0..cx.cpus).zip(parts).collect())
    }
}
