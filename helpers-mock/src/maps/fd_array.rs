//! Arrays of objects: `BPF_MAP_TYPE_PROG_ARRAY`, `PERF_EVENT_ARRAY`, `CGROUP_ARRAY`, `ARRAY_OF_MAPS` (`fd_array` in
//! `kernel/bpf/arraymap.c`).
//!
//! Where the kernel takes a file descriptor, this takes the object's number in the machine: of a program
//! ([`crate::ProgId`]), of a map ([`super::MapId`]), of a perf ring or counter, of a cgroup.

use std::collections::BTreeMap;

use super::array::{index, next_index};
use super::{MapCx, MapId, MapOps};
use crate::errno::Errno;

/// What the numbers mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FdKind {
    Program,
    PerfEvent,
    Cgroup,
    Map,
}

/// An array of objects.
#[derive(Clone, Debug)]
pub struct FdArray {
    kind: FdKind,
    slots: BTreeMap<u32, u32>,
    len: u32,
}

impl FdArray {
    pub(super) fn new(kind: FdKind, len: u32) -> Self {
        Self { kind, slots: BTreeMap::new(), len }
    }

    /// The object's number at an index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<u32> {
        self.slots.get(&index).copied()
    }

    /// How long the array is.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it has no room at all; the kernel refuses such arrays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The objects that are there, by index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.slots.iter().map(|(i, n)| (*i, *n))
    }
}

impl MapOps for FdArray {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    /// Programs find maps only.
    fn lookup(&self, _: &mut MapCx<'_>, key: &[u8]) -> Result<Option<u64>, Errno> {
        let found = index(key).and_then(|i| self.get(i));
        Ok(found.filter(|_| self.kind == FdKind::Map).map(|n| MapId(n).addr()))
    }

    fn update(&mut self, _: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        let index = index(key).filter(|i| *i < self.len).ok_or(Errno::E2BIG)?;
        let number = value.first_chunk::<4>().ok_or(Errno::EFAULT)?;
        self.slots.insert(index, u32::from_le_bytes(*number));
        Ok(())
    }

    fn delete(&mut self, _: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno> {
        let index = index(key).filter(|i| *i < self.len).ok_or(Errno::E2BIG)?;
        self.slots.remove(&index).map(|_| ()).ok_or(Errno::ENOENT)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        next_index(key, self.len)
    }

    /// The number of a program or map (`map_fd_sys_lookup_elem`); the others have none to show.
    fn read(&self, _: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        if !matches!(self.kind, FdKind::Program | FdKind::Map) {
            return Err(Errno::ENOTSUPP);
        }
        Ok(index(key).and_then(|i| self.get(i)).map(|n| vec![n.to_le_bytes().to_vec()]))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
