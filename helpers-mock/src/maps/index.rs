//! Keys of a hash map: from key bytes to a guest address, with slots that stay put while others come and go.
//!
//! The hash is fixed, so the order of a walk is the same everywhere. Large maps are cut into shards that forks share
//! until one of them writes.

use std::sync::Arc;

/// No slot.
const EMPTY: u32 = u32::MAX;
/// Entries up to which a map is one shard.
const SINGLE: u32 = 2048;
const SHARDS: usize = 64;
/// Bytes of keys that one map may hold on the host.
const MAX_KEY_BYTES: u64 = 256 << 20;
/// Bits of a slot within its shard.
const SLOT_BITS: u32 = 32;

/// The place of an element; stable until it is removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SlotId(pub(super) u64);

#[derive(Clone, Debug)]
struct Shard {
    /// Open addressing with linear probing; a power of two long, at most three quarters full.
    table: Vec<u32>,
    /// Keys by slot, one after the other.
    keys: Vec<u8>,
    /// Values by slot; 0 marks a free one.
    addrs: Vec<u64>,
    free: Vec<u32>,
}

impl Shard {
    fn new() -> Self {
        Self { table: vec![EMPTY; 8], keys: Vec::new(), addrs: Vec::new(), free: Vec::new() }
    }

    fn len(&self) -> usize {
        self.addrs.len() - self.free.len()
    }

    fn key(&self, slot: u32, size: usize) -> &[u8] {
        let start = slot as usize * size;
        self.keys.get(start..start + size).unwrap_or_default()
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.table.len() - 1)
    }

    /// Where in the table the key is.
    fn find(&self, key: &[u8], hash: u64) -> Option<(usize, u32)> {
        let mask = self.table.len() - 1;
        let mut at = self.home(hash);
        loop {
            match *self.table.get(at)? {
                EMPTY => return None,
                slot if self.key(slot, key.len()) == key => return Some((at, slot)),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn insert(&mut self, key: &[u8], hash: u64, addr: u64) -> u32 {
        if (self.len() + 1) * 4 > self.table.len() * 3 {
            self.grow(key.len());
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                let start = slot as usize * key.len();
                if let Some(old) = self.keys.get_mut(start..start + key.len()) {
                    old.copy_from_slice(key);
                }
                slot
            }
            None => {
                self.keys.extend_from_slice(key);
                self.addrs.push(0);
                self.addrs.len() as u32 - 1
            }
        };
        if let Some(a) = self.addrs.get_mut(slot as usize) {
            *a = addr;
        }
        self.link(hash, slot);
        slot
    }

    fn link(&mut self, hash: u64, slot: u32) {
        let mask = self.table.len() - 1;
        let mut at = self.home(hash);
        while let Some(entry) = self.table.get_mut(at) {
            if *entry == EMPTY {
                *entry = slot;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self, key_size: usize) {
        self.table = vec![EMPTY; self.table.len() * 2];
        for slot in 0..self.addrs.len() as u32 {
            if self.addrs.get(slot as usize).is_some_and(|a| *a != 0) {
                let hash = hash(self.key(slot, key_size));
                self.link(hash, slot);
            }
        }
    }

    /// Removes by closing the gap: entries behind it that it kept from their home move up.
    fn remove(&mut self, key: &[u8], hash_of_key: u64) -> Option<u64> {
        let (mut gap, slot) = self.find(key, hash_of_key)?;
        let mask = self.table.len() - 1;
        let mut at = (gap + 1) & mask;
        while let Some(entry) = self.table.get(at).copied().filter(|e| *e != EMPTY) {
            let home = self.home(hash(self.key(entry, key.len())));
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.table.swap(gap, at);
                gap = at;
            }
            at = (at + 1) & mask;
        }
        *self.table.get_mut(gap)? = EMPTY;
        self.free.push(slot);
        Some(std::mem::take(self.addrs.get_mut(slot as usize)?))
    }
}

/// The keys of one map.
#[derive(Clone, Debug)]
pub(super) struct Index {
    key_size: usize,
    shards: Vec<Arc<Shard>>,
    len: u32,
}

impl Index {
    pub(super) fn new(key_size: u32, max_entries: u32) -> Self {
        let count = if max_entries <= SINGLE { 1 } else { SHARDS };
        let shards = (0..count).map(|_| Arc::new(Shard::new())).collect();
        Self { key_size: key_size as usize, shards, len: 0 }
    }

    /// All in one shard, so that slots are dense.
    pub(super) fn unsharded(key_size: u32) -> Self {
        Self::new(key_size, 1)
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    fn shard_of(&self, hash: u64) -> usize {
        (hash >> 48) as usize & (self.shards.len() - 1)
    }

    fn place(&self, key: &[u8]) -> Option<(usize, u64)> {
        let hash = hash(key);
        (key.len() == self.key_size).then(|| (self.shard_of(hash), hash))
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<u64> {
        let (shard, hash) = self.place(key)?;
        let shard = self.shards.get(shard)?;
        let (_, slot) = shard.find(key, hash)?;
        shard.addrs.get(slot as usize).copied()
    }

    /// The place of a key.
    pub(super) fn slot(&self, key: &[u8]) -> Option<SlotId> {
        let (shard, hash) = self.place(key)?;
        let (_, slot) = self.shards.get(shard)?.find(key, hash)?;
        Some(SlotId((shard as u64) << SLOT_BITS | u64::from(slot)))
    }

    /// Enters a key that is not there; `None` if the keys would take too much memory.
    pub(super) fn insert(&mut self, key: &[u8], addr: u64) -> Option<SlotId> {
        if (u64::from(self.len) + 1) * self.key_size as u64 > MAX_KEY_BYTES {
            return None;
        }
        let (shard, hash) = self.place(key)?;
        let slot = Arc::make_mut(self.shards.get_mut(shard)?).insert(key, hash, addr);
        self.len += 1;
        Some(SlotId((shard as u64) << SLOT_BITS | u64::from(slot)))
    }

    /// Gives a key that is there another value.
    pub(super) fn replace(&mut self, key: &[u8], addr: u64) -> Option<u64> {
        let (shard, hash) = self.place(key)?;
        let shard = self.shards.get_mut(shard)?;
        let (_, slot) = shard.find(key, hash)?;
        Some(std::mem::replace(Arc::make_mut(shard).addrs.get_mut(slot as usize)?, addr))
    }

    /// Removes a key and gives its value.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<u64> {
        let (shard, hash) = self.place(key)?;
        let shard = self.shards.get_mut(shard)?;
        shard.find(key, hash)?;
        let addr = Arc::make_mut(shard).remove(key, hash)?;
        self.len -= 1;
        Some(addr)
    }

    /// The key and value of a place.
    pub(super) fn at(&self, id: SlotId) -> Option<(&[u8], u64)> {
        let shard = self.shards.get((id.0 >> SLOT_BITS) as usize)?;
        let slot = id.0 as u32;
        let addr = shard.addrs.get(slot as usize).copied().filter(|a| *a != 0)?;
        Some((shard.key(slot, self.key_size), addr))
    }

    /// The first element at or after a place.
    pub(super) fn from(&self, id: SlotId) -> Option<(SlotId, &[u8], u64)> {
        let mut shard = (id.0 >> SLOT_BITS) as usize;
        let mut slot = id.0 as u32 as usize;
        while let Some(s) = self.shards.get(shard) {
            while slot < s.addrs.len() {
                let id = SlotId((shard as u64) << SLOT_BITS | slot as u64);
                if let Some((key, addr)) = self.at(id) {
                    return Some((id, key, addr));
                }
                slot += 1;
            }
            shard += 1;
            slot = 0;
        }
        None
    }

    /// The key after a key; the first for none and for one that is not there (`htab_map_get_next_key`).
    pub(super) fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        let start = match key.and_then(|k| self.slot(k)) {
            Some(SlotId(id)) => SlotId(id + 1),
            None => SlotId(0),
        };
        self.from(start).map(|(_, key, _)| key.to_vec())
    }
}

/// A fixed hash of a key: multiply and fold, eight bytes at a time.
fn hash(key: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |h: u64, v: u64| {
        let wide = u128::from(h ^ v) * u128::from(K);
        (wide as u64) ^ ((wide >> 64) as u64)
    };
    let mut h = K ^ key.len() as u64;
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        h = mix(h, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        h = mix(h, u64::from_le_bytes(last));
    }
    mix(h, K)
}
