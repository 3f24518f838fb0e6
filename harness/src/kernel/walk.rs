//! All elements of a map that programs may change at the same time.
//!
//! The kernel gives the key behind another one, and begins anew if that one is gone (`htab_map_get_next_key`). What it
//! gives twice is one key all the same, and then the walk goes on behind the last key that is still there.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};

use bpf_helpers_mock::Errno;
use bpf_helpers_mock::maps::{Entry, MapOpError};
use bpf_vm_shim::object::MapType;

use super::maps::KernelMap;

/// Elements that are asked for at a time, and bytes that they may take.
const BATCH: usize = 4096;
const BATCH_BYTES: usize = 16 << 20;

impl KernelMap {
    /// Types whose values user space cannot look up, and those that have no keys.
    fn is_opaque(&self) -> bool {
        use MapType as T;
        matches!(
            self.map_type,
            T::PerfEventArray
                | T::CgroupArray
                | T::Ringbuf
                | T::UserRingbuf
                | T::BloomFilter
                | T::Queue
                | T::Stack
                | T::Arena
        )
    }

    /// All elements, sorted by the bytes of their keys. What is there all the time is there once.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, MapOpError> {
        if self.is_opaque() {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        for key in self.keys()? {
            if let Some(values) = self.read(&key)? {
                entries.push(Entry { key, values });
            }
        }
        Ok(entries)
    }

    /// All elements, each of which is removed as it is read.
    pub(super) fn take_all(&self) -> Result<Vec<Entry>, MapOpError> {
        use MapType as T;
        if matches!(self.map_type, T::Hash | T::LruHash | T::PercpuHash | T::LruPercpuHash) {
            return self.take_batches();
        }
        // The kernel has no such operation for other types: what a program writes in between is lost.
        let mut taken = Vec::new();
        for entry in self.entries()? {
            match self.delete(&entry.key) {
                Err(MapOpError::Errno { errno: Errno::ENOENT, .. }) => {}
                done => done.map(|()| taken.push(entry))?,
            }
        }
        Ok(taken)
    }

    fn keys(&self) -> Result<BTreeSet<Vec<u8>>, MapOpError> {
        let there = |key: &[u8]| matches!(self.read(key), Ok(Some(_)));
        walk(self.max_entries, |key| self.next_key(key), there).map_err(|errno| {
            let why = match errno {
                Errno::ENOTSUPP | Errno::EOPNOTSUPP => {
                    format!("a kernel lists no elements of type {}: look up single keys", self.map_type)
                }
                Errno::EBUSY => "programs change it faster than it can be walked: let them rest".to_owned(),
                _ => format!("its keys cannot be listed (type {})", self.map_type),
            };
            self.error(errno, why)
        })
    }

    /// `BPF_MAP_GET_NEXT_KEY`: `None` behind the last one.
    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        let mut next = vec![0u8; self.key_size];
        let key = key.map_or(std::ptr::null(), |k| k.as_ptr().cast());
        // SAFETY: the kernel reads `key_size` bytes of a key that it has given itself, if there is one, and writes as many.
        let ret = unsafe {
            libbpf_sys::bpf_map_get_next_key(self.handle.as_fd().as_raw_fd(), key, next.as_mut_ptr().cast())
        };
        match Errno::new(ret.saturating_neg()) {
            _ if ret == 0 => Ok(Some(next)),
            Errno::ENOENT => Ok(None),
            errno => Err(errno),
        }
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_BATCH` (Linux 5.6), which takes whole buckets under their locks.
    fn take_batches(&self) -> Result<Vec<Entry>, MapOpError> {
        let copies = if self.is_percpu() { libbpf_rs::num_possible_cpus().unwrap_or(1) } else { 1 };
        let slot = if self.is_percpu() { self.value_size.next_multiple_of(8) } else { self.value_size };
        let each = self.key_size + slot * copies;
        let most = (self.max_entries as usize).max(1);
        let mut room = (BATCH_BYTES / each.max(1)).clamp(1, BATCH).min(most);
        let (mut position, mut next) = (None, 0u32);
        let mut taken = Vec::new();
        loop {
            let (mut keys, mut values) = (vec![0u8; room * self.key_size], vec![0u8; room * slot * copies]);
            let mut count = u32::try_from(room).unwrap_or(u32::MAX);
            let from =
                position.as_mut().map_or(std::ptr::null_mut(), |p: &mut u32| std::ptr::from_mut(p).cast());
            // SAFETY: keys and values have room for as many elements as the count says. A position in a hash map is a
            // number of 4 bytes.
            let ret = unsafe {
                libbpf_sys::bpf_map_lookup_and_delete_batch(
                    self.handle.as_fd().as_raw_fd(),
                    from,
                    (&raw mut next).cast(),
                    keys.as_mut_ptr().cast(),
                    values.as_mut_ptr().cast(),
                    &raw mut count,
                    std::ptr::null(),
                )
            };
            let errno = Errno::new(ret.saturating_neg());
            if ret != 0 && errno == Errno::ENOSPC && room < most {
                // A bucket is taken whole or not at all.
                room = (room * 2).min(most);
                continue;
            }
            if ret != 0 && errno != Errno::ENOENT {
                return Err(self.error(errno, format!("elements cannot be taken (type {})", self.map_type)));
            }
            let elements =
                keys.chunks_exact(self.key_size.max(1)).zip(values.chunks_exact((slot * copies).max(1)));
            taken.extend(elements.take(count as usize).map(|(key, values)| Entry {
                key: key.to_vec(),
                values: values.chunks_exact(slot.max(1)).map(|v| self.fit(v.to_vec())).collect(),
            }));
            if ret != 0 {
                taken.sort();
                return Ok(taken);
            }
            position = Some(next);
        }
    }
}

/// All keys that `next` leads to. `there` says whether a key is still there.
///
/// Gives `EBUSY` if it comes to no end, and the errors of `next`.
fn walk(
    max_entries: u32,
    mut next: impl FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno>,
    there: impl Fn(&[u8]) -> bool,
) -> Result<BTreeSet<Vec<u8>>, Errno> {
    let mut found = BTreeSet::new();
    // The keys on the way here, the last of which the next one is behind.
    let mut way: Vec<Vec<u8>> = Vec::new();
    for _ in 0..u64::from(max_entries) * 8 + 1024 {
        let Some(key) = next(way.last().map(Vec::as_slice))? else { return Ok(found) };
        let known = !found.insert(key.clone());
        if known && way.last().is_some_and(|last| !there(last)) {
            way.pop();
        } else {
            way.push(key);
        }
    }
    Err(Errno::EBUSY)
}

#[cfg(test)]
mod tests;
