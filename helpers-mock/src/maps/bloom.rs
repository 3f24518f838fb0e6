//! `BPF_MAP_TYPE_BLOOM_FILTER` (`kernel/bpf/bloom_filter.c`).
//!
//! The kernel's own hash with seed zero, as `BPF_F_ZERO_SEED` asks for: which values are taken for present by mistake
//! is the same everywhere.

use std::collections::BTreeMap;

use super::jhash::jhash;
use super::{MapCx, MapOps};
use crate::errno::Errno;

/// A set that may say yes by mistake, never no.
#[derive(Clone, Debug)]
pub(super) struct Bloom {
    /// Words of the bit set that are not zero.
    bits: BTreeMap<u32, u64>,
    mask: u32,
    hashes: u32,
}

impl Bloom {
    pub(super) fn new(max_entries: u32, map_extra: u64) -> Self {
        let hashes = if map_extra == 0 { 5 } else { map_extra as u32 & 15 };
        let bits = max_entries.checked_mul(hashes).and_then(|n| (n / 5).checked_mul(7));
        let mask = match bits {
            Some(n) if n <= 1 << 31 => n.max(64).next_power_of_two() - 1,
            _ => u32::MAX,
        };
        Self { bits: BTreeMap::new(), mask, hashes }
    }

    fn places(&self, value: &[u8]) -> impl Iterator<Item = (u32, u64)> + use<> {
        let mask = self.mask;
        let hashes: Vec<u32> = (0..self.hashes).map(|i| jhash(value, i) & mask).collect();
        hashes.into_iter().map(|h| (h / 64, 1 << (h % 64)))
    }
}

impl MapOps for Bloom {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<u64>, Errno> {
        Err(Errno::EINVAL)
    }

    fn update(&mut self, cx: &mut MapCx<'_>, _: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if cx.host { self.push(cx, value, flags) } else { Err(Errno::EINVAL) }
    }

    fn delete(&mut self, _: &mut MapCx<'_>, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn next_key(&self, _: Option<&[u8]>) -> Option<Vec<u8>> {
        None
    }

    fn push(&mut self, _: &mut MapCx<'_>, value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        for (word, bit) in self.places(value) {
            *self.bits.entry(word).or_default() |= bit;
        }
        Ok(())
    }

    fn peek(&self, _: &mut MapCx<'_>, value: &mut Vec<u8>) -> Result<(), Errno> {
        let set = |(word, bit): (u32, u64)| self.bits.get(&word).is_some_and(|w| w & bit != 0);
        if self.places(value).all(set) { Ok(()) } else { Err(Errno::ENOENT) }
    }

    fn read(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
