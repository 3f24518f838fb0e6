//! `BPF_MAP_TYPE_HASH` and `BPF_MAP_TYPE_LRU_HASH` (`kernel/bpf/hashtab.c`).
//!
//! An update of an element that is there puts a new one in its place, as in the kernel: pointers to the old value are
//! pointers to freed memory. Only `BPF_F_LOCK` writes in place.

use bpf_vm_shim::object::MapDef;

use super::attr::flag;
use super::entries::Entries;
use super::values::Values;
use super::{Element, MapCx, MapOps};
use crate::errno::Errno;

/// A hash map: one allocation for each element.
#[derive(Clone, Debug)]
pub(super) struct Hash {
    values: Values,
    entries: Entries,
}

/// What the flags say about an element being there (`check_flags`).
pub(super) fn check_exists(exists: bool, flags: u64) -> Result<(), Errno> {
    match flags & !flag::LOCK {
        flag::NOEXIST if exists => Err(Errno::EEXIST),
        flag::EXIST if !exists => Err(Errno::ENOENT),
        _ => Ok(()),
    }
}

impl Hash {
    pub(super) fn new(values: Values, def: &MapDef, cpus: u32) -> Self {
        Self { values, entries: Entries::new(def, cpus) }
    }
}

impl MapOps for Hash {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, _: &mut MapCx<'_>, key: &[u8]) -> Result<Option<u64>, Errno> {
        Ok(self.entries.get(key))
    }

    fn counts_use(&self) -> bool {
        self.entries.is_lru()
    }

    fn touch(&mut self, key: &[u8]) {
        self.entries.touch(key);
    }

    fn update(&mut self, cx: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags & !flag::LOCK > flag::EXIST {
            return Err(Errno::EINVAL);
        }
        let lock = flags & flag::LOCK != 0;
        if lock && (self.entries.is_lru() || !self.values.fields.has_lock()) {
            return Err(Errno::EINVAL);
        }
        let old = self.entries.get(key);
        check_exists(old.is_some(), flags)?;
        if let (Some(addr), true) = (old, lock) {
            return self.values.store(cx, addr, value);
        }
        if old.is_none()
            && let Some(evicted) = self.entries.make_room(cx.cpu)?
        {
            self.values.free(cx, evicted, 1);
        }
        let new = self.values.alloc_element(cx.mem, 1)?;
        self.values.store(cx, new, value)?;
        match old {
            Some(old) => {
                self.entries.replace(key, new);
                self.values.free(cx, old, 1);
                Ok(())
            }
            None => self.entries.insert(key, new, cx.cpu).inspect_err(|_| self.values.free(cx, new, 1)),
        }
    }

    fn delete(&mut self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno> {
        let addr = self.entries.remove(key).ok_or(Errno::ENOENT)?;
        self.values.free(cx, addr, 1);
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        self.entries.next_key(key)
    }

    fn walk(&self, _: &mut MapCx<'_>, position: u64, key: &mut Vec<u8>) -> Result<Option<Element>, Errno> {
        Ok(self.entries.walk(position).map(|(found, value, next)| {
            key.clear();
            key.extend_from_slice(found);
            Element { value, next }
        }))
    }

    fn read(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let Some(addr) = self.entries.get(key) else { return Ok(None) };
        Ok(Some(vec![self.values.load(cx, addr)?]))
    }

    fn count(&self) -> Option<u64> {
        Some(self.entries.len().into())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
