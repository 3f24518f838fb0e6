//! Stack traces by id, `BPF_MAP_TYPE_STACK_TRACE` (`kernel/bpf/stackmap.c`).

use std::any::Any;
use std::collections::BTreeMap;

use bpf_vm_shim::object::MapDef;

use super::{MapCx, MapError, MapOps};
use crate::errno::Errno;
use crate::state::PERF_MAX_STACK_DEPTH;

/// `BPF_F_STACK_BUILD_ID`.
const BPF_F_STACK_BUILD_ID: u32 = 1 << 5;
/// `BPF_F_NUMA_NODE`, `BPF_F_RDONLY`, `BPF_F_WRONLY`, `BPF_F_STACK_BUILD_ID`, `BPF_F_RDONLY_PROG`,
/// `BPF_F_WRONLY_PROG`.
const FLAGS: u32 = 1 << 2 | 1 << 3 | 1 << 4 | BPF_F_STACK_BUILD_ID | 1 << 7 | 1 << 8;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Bucket {
    hash: u32,
    data: Vec<u8>,
}

/// A stack trace map.
#[derive(Clone, Debug)]
pub struct StackTrace {
    value_size: usize,
    n_buckets: u32,
    max_entries: usize,
    build_id: bool,
    buckets: BTreeMap<u32, Bucket>,
}

impl StackTrace {
    /// Creates the map (`stack_map_alloc`).
    ///
    /// # Errors
    /// `-EINVAL` and `-E2BIG` as the kernel.
    pub fn create(def: &MapDef) -> Result<Self, MapError> {
        let refuse =
            |errno, why: &str| Err(MapError::Refused { name: def.name.clone(), errno, why: why.to_owned() });
        let build_id = def.map_flags & BPF_F_STACK_BUILD_ID != 0;
        let value_size = def.value_size as usize;
        let element = if build_id { 32 } else { 8 };
        if def.map_flags & !FLAGS != 0 {
            return refuse(Errno::EINVAL, "unknown flags");
        }
        if def.max_entries == 0 || def.key_size != 4 {
            return refuse(Errno::EINVAL, "needs entries and keys of 4 bytes");
        }
        if value_size < 8 || value_size % element != 0 || value_size / element > PERF_MAX_STACK_DEPTH {
            return refuse(Errno::EINVAL, "the value is not 1 to 127 stack frames");
        }
        if def.max_entries > 1 << 31 {
            return refuse(Errno::E2BIG, "too many entries");
        }
        let n_buckets = def.max_entries.next_power_of_two();
        let max_entries = def.max_entries as usize;
        Ok(Self { value_size, n_buckets, max_entries, build_id, buckets: BTreeMap::new() })
    }

    /// Whether frames are kept as build id and offset.
    #[must_use]
    pub fn uses_build_id(&self) -> bool {
        self.build_id
    }

    /// How many frames a value holds.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.value_size / if self.build_id { 32 } else { 8 }
    }

    /// Puts a stack and gives its id (`__bpf_get_stackid`). `data` is what a value holds of `ips`.
    pub(crate) fn put(&mut self, ips: &[u64], data: Vec<u8>, fast: bool, reuse: bool) -> Result<u32, Errno> {
        let words: Vec<u32> = ips.iter().flat_map(|ip| [*ip as u32, (*ip >> 32) as u32]).collect();
        let hash = jhash2(&words, 0);
        let id = hash & (self.n_buckets - 1);
        if let Some(bucket) = self.buckets.get(&id) {
            let same = bucket.hash == hash && (fast || bucket.data == data);
            if same {
                return Ok(id);
            }
            if !reuse {
                return Err(Errno::EEXIST);
            }
        } else if self.buckets.len() >= self.max_entries {
            return Err(Errno::ENOMEM);
        }
        self.buckets.insert(id, Bucket { hash, data });
        Ok(id)
    }

    fn id(key: &[u8]) -> Option<u32> {
        key.first_chunk().map(|k| u32::from_le_bytes(*k))
    }
}

impl MapOps for StackTrace {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&mut self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<u64>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn update(&mut self, _: &mut MapCx<'_>, _: &[u8], _: &[u8], _: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn delete(&mut self, _: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno> {
        let id = Self::id(key).filter(|id| *id < self.n_buckets).ok_or(Errno::E2BIG)?;
        self.buckets.remove(&id).map(|_| ()).ok_or(Errno::ENOENT)
    }

    fn next_key(&mut self, _: &mut MapCx<'_>, key: Option<&[u8]>) -> Option<Vec<u8>> {
        // An id beyond the table starts over, as an unknown key does.
        let from = key.and_then(Self::id).filter(|id| *id < self.n_buckets).map_or(0, |id| id + 1);
        self.buckets.range(from..).next().map(|(id, _)| id.to_le_bytes().to_vec())
    }

    fn read(&mut self, _: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let bucket = Self::id(key).and_then(|id| self.buckets.get(&id));
        Ok(bucket.map(|b| {
            let mut value = b.data.clone();
            value.resize(self.value_size, 0);
            vec![value]
        }))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// Bob Jenkins' hash of 32-bit words (lookup3, as `include/linux/jhash.h`), so that ids are those of a real kernel.
fn jhash2(words: &[u32], seed: u32) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add((words.len() as u32) << 2).wrapping_add(seed);
    let (mut a, mut b, mut c) = (start, start, start);
    let mut rest = words;
    while let [x, y, z, tail @ ..] = rest {
        if tail.is_empty() {
            break;
        }
        a = a.wrapping_add(*x);
        b = b.wrapping_add(*y);
        c = c.wrapping_add(*z);
        for (i, turn) in [4, 6, 8, 16, 19, 4].into_iter().enumerate() {
            let (x, y, z) = match i % 3 {
                0 => (&mut a, &mut c, &mut b),
                1 => (&mut b, &mut a, &mut c),
                _ => (&mut c, &mut b, &mut a),
            };
            *x = x.wrapping_sub(*y) ^ y.rotate_left(turn);
            *y = y.wrapping_add(*z);
        }
        rest = tail;
    }
    match rest {
        [] => return c,
        [x] => a = a.wrapping_add(*x),
        [x, y] => {
            a = a.wrapping_add(*x);
            b = b.wrapping_add(*y);
        }
        [x, y, z, ..] => {
            a = a.wrapping_add(*x);
            b = b.wrapping_add(*y);
            c = c.wrapping_add(*z);
        }
    }
    for (i, turn) in [14, 11, 25, 16, 4, 14, 24].into_iter().enumerate() {
        let (x, y) = match i % 3 {
            0 => (&mut c, b),
            1 => (&mut a, c),
            _ => (&mut b, a),
        };
        *x = (*x ^ y).wrapping_sub(y.rotate_left(turn));
    }
    c
}

#[cfg(test)]
mod tests {
    use super::jhash2;

    #[test]
    fn hashes_are_those_of_the_algorithm() {
        // lookup3's own test vectors: hashword of no words is its start value.
        assert_eq!(jhash2(&[], 0), 0xdead_beef);
        assert_ne!(jhash2(&[1, 2, 3, 4], 0), jhash2(&[1, 2, 3, 5], 0));
    }
}
