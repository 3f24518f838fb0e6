//! `BPF_MAP_TYPE_STACK_TRACE` (`kernel/bpf/stackmap.c`): stacks by the hash of their addresses.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::array::index;
use super::attr::flag;
use super::jhash::jhash;
use super::{MapCx, MapOps};
use crate::errno::Errno;

/// `BPF_F_FAST_STACK_CMP`: the same hash counts as the same stack.
const FAST_STACK_CMP: u64 = 1 << 9;
/// `BPF_F_REUSE_STACKID`: another stack with the same id makes way.
const REUSE_STACKID: u64 = 1 << 10;
/// `BPF_STACK_BUILD_ID_IP`: no build id is known, the entry holds the address.
const BUILD_ID_IP: i32 = 2;

#[derive(Clone, Debug)]
struct Bucket {
    hash: u32,
    frames: Arc<[u64]>,
}

/// Stored stacks.
#[derive(Clone, Debug)]
pub struct StackTraces {
    buckets: BTreeMap<u32, Bucket>,
    bucket_count: u32,
    max_entries: u32,
    value_size: usize,
    build_id: bool,
}

impl StackTraces {
    pub(super) fn new(value_size: u32, max_entries: u32, map_flags: u32) -> Self {
        Self {
            buckets: BTreeMap::new(),
            bucket_count: max_entries.next_power_of_two(),
            max_entries,
            value_size: value_size as usize,
            build_id: map_flags & flag::STACK_BUILD_ID != 0,
        }
    }

    fn entry_size(&self) -> usize {
        if self.build_id { 32 } else { 8 }
    }

    /// The most frames that a value holds.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.value_size / self.entry_size()
    }

    /// Stores a stack, innermost frame first and with skipped frames already gone, and gives its id
    /// (`__bpf_get_stackid`). The flags are `bpf_get_stackid`'s.
    ///
    /// # Errors
    /// `-EEXIST` if another stack has the same id, `-ENOMEM` if the map is full.
    pub fn insert(&mut self, frames: &[u64], flags: u64) -> Result<u32, Errno> {
        let frames = frames.get(..self.depth()).unwrap_or(frames);
        let bytes: Vec<u8> = frames.iter().flat_map(|f| f.to_le_bytes()).collect();
        let hash = jhash(&bytes, 0);
        let id = hash & self.bucket_count.wrapping_sub(1);
        if let Some(old) = self.buckets.get(&id) {
            let same_hash = old.hash == hash;
            if same_hash && (flags & FAST_STACK_CMP != 0 || *old.frames == *frames) {
                return Ok(id);
            }
            if flags & REUSE_STACKID == 0 {
                return Err(Errno::EEXIST);
            }
        }
        // The new stack's memory is taken before the old one's is given back.
        if self.buckets.len() >= self.max_entries as usize {
            return Err(Errno::ENOMEM);
        }
        self.buckets.insert(id, Bucket { hash, frames: frames.into() });
        Ok(id)
    }

    /// The addresses of a stored stack.
    #[must_use]
    pub fn frames(&self, id: u32) -> Option<&[u64]> {
        self.buckets.get(&id).map(|b| &*b.frames)
    }
}

impl MapOps for StackTraces {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<u64>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn update(&mut self, _: &mut MapCx<'_>, _: &[u8], _: &[u8], _: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn delete(&mut self, _: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno> {
        let id = index(key).filter(|id| *id < self.bucket_count).ok_or(Errno::E2BIG)?;
        self.buckets.remove(&id).map(|_| ()).ok_or(Errno::ENOENT)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        let after = key.and_then(index).filter(|id| self.buckets.contains_key(id));
        let start = after.map_or(0, |id| id.saturating_add(1));
        self.buckets.range(start..).next().map(|(id, _)| id.to_le_bytes().to_vec())
    }

    /// The frames, then zeroes (`bpf_stackmap_copy`). No build id is known for any address: entries of such a map hold
    /// the address itself.
    fn read(&self, _: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let Some(frames) = index(key).and_then(|id| self.frames(id)) else { return Ok(None) };
        let mut value = Vec::with_capacity(self.value_size);
        for frame in frames {
            if self.build_id {
                value.extend_from_slice(&BUILD_ID_IP.to_le_bytes());
                value.extend_from_slice(&[0; 20]);
            }
            value.extend_from_slice(&frame.to_le_bytes());
        }
        value.resize(self.value_size, 0);
        Ok(Some(vec![value]))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
