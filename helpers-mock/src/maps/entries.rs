//! The elements of a hash map: keys, capacity and, for LRU types, who makes room.

use bpf_vm_shim::object::{MapDef, MapType};

use super::attr::flag;
use super::index::{Index, SlotId};
use super::lru::Lru;
use crate::errno::Errno;

/// Elements by key.
#[derive(Clone, Debug)]
pub(super) struct Entries {
    index: Index,
    lru: Option<Lru>,
    max_entries: u32,
}

impl Entries {
    pub(super) fn new(def: &MapDef, cpus: u32) -> Self {
        let max_entries = def.max_entries;
        if !matches!(def.map_type, MapType::LruHash | MapType::LruPercpuHash) {
            return Self { index: Index::new(def.key_size, max_entries), lru: None, max_entries };
        }
        let per_cpu = (def.map_flags & flag::NO_COMMON_LRU != 0).then_some(cpus);
        let lru = Some(Lru::new(max_entries, per_cpu));
        Self { index: Index::unsharded(def.key_size), lru, max_entries }
    }

    pub(super) fn is_lru(&self) -> bool {
        self.lru.is_some()
    }

    pub(super) fn len(&self) -> u32 {
        self.index.len()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<u64> {
        self.index.get(key)
    }

    /// Makes room for a new element added by `cpu`: what had to go.
    ///
    /// # Errors
    /// `-E2BIG` if the map is full and its type gives nothing up.
    pub(super) fn make_room(&mut self, cpu: u32) -> Result<Option<u64>, Errno> {
        let Some(lru) = &mut self.lru else {
            return if self.index.len() >= self.max_entries { Err(Errno::E2BIG) } else { Ok(None) };
        };
        let Some(victim) = lru.victim(cpu) else { return Ok(None) };
        lru.remove(victim);
        let key = self.index.at(victim).map(|(key, _)| key.to_vec());
        Ok(key.and_then(|key| self.index.remove(&key)))
    }

    /// Adds an element that is not there.
    ///
    /// # Errors
    /// `-ENOMEM` if the keys of this map take too much of the host's memory.
    pub(super) fn insert(&mut self, key: &[u8], addr: u64, cpu: u32) -> Result<(), Errno> {
        let slot = self.index.insert(key, addr).ok_or(Errno::ENOMEM)?;
        if let Some(lru) = &mut self.lru {
            lru.insert(slot, cpu);
        }
        Ok(())
    }

    pub(super) fn replace(&mut self, key: &[u8], addr: u64) -> Option<u64> {
        self.touch(key);
        self.index.replace(key, addr)
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<u64> {
        if let Some(lru) = &mut self.lru {
            lru.remove(self.index.slot(key)?);
        }
        self.index.remove(key)
    }

    pub(super) fn touch(&mut self, key: &[u8]) {
        if let Some(lru) = &mut self.lru
            && let Some(slot) = self.index.slot(key)
        {
            lru.touch(slot);
        }
    }

    pub(super) fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        self.index.next_key(key)
    }

    /// The element at or after a position of a walk: its key, its value and the next position.
    pub(super) fn walk(&self, position: u64) -> Option<(&[u8], u64, u64)> {
        self.index.from(SlotId(position)).map(|(id, key, addr)| (key, addr, id.0 + 1))
    }
}
