//! Values that belong to kernel objects: task and control group storage (`kernel/bpf/bpf_local_storage.c`), and the
//! older storage of the attached control group (`kernel/bpf/local_storage.c`).
//!
//! The host's key is the object's number, a thread id or a control group's id, as 4 or 8 bytes; a kernel takes file
//! descriptors.

use std::any::Any;
use std::collections::BTreeMap;

use bpf_vm_shim::object::MapDef;

use super::attr::flag;
use super::values::Values;
use super::{MapCx, MapOps};
use crate::errno::Errno;

/// A storage map: values by owner.
#[derive(Clone, Debug)]
pub struct LocalStorage {
    values: Values,
    key_size: usize,
    percpu: bool,
    by_owner: BTreeMap<u64, Vec<u64>>,
}

impl LocalStorage {
    pub(super) fn new(values: Values, def: &MapDef, percpu: bool) -> Self {
        Self { values, key_size: def.key_size as usize, percpu, by_owner: BTreeMap::new() }
    }

    /// The address of an owner's value for this CPU.
    pub(crate) fn get(&self, owner: u64, cpu: u32) -> Option<u64> {
        let copies = self.by_owner.get(&owner)?;
        copies.get(if self.percpu { cpu as usize } else { 0 }).copied()
    }

    /// Creates an owner's value on all its CPUs and gives the address of this CPU's.
    pub(crate) fn create(&mut self, cx: &mut MapCx<'_>, owner: u64, value: &[u8]) -> Result<u64, Errno> {
        let count = if self.percpu { cx.cpus.max(1) } else { 1 };
        let mut copies = Vec::new();
        for _ in 0..count {
            let addr = self.values.alloc_element(cx.mem, 1)?;
            self.values.store(cx, addr, value)?;
            copies.push(addr);
        }
        self.by_owner.insert(owner, copies);
        self.get(owner, cx.cpu).ok_or(Errno::ENOMEM)
    }

    /// Removes an owner's value; `false` if there is none.
    pub(crate) fn remove(&mut self, cx: &mut MapCx<'_>, owner: u64) -> bool {
        let copies = self.by_owner.remove(&owner);
        for addr in copies.iter().flatten() {
            self.values.free(cx, *addr, 1);
        }
        copies.is_some()
    }

    /// Owners in order, for the host.
    pub fn owners(&self) -> impl Iterator<Item = u64> {
        self.by_owner.keys().copied()
    }

    fn owner(&self, key: &[u8]) -> Result<u64, Errno> {
        match (key.first_chunk::<8>(), key.first_chunk::<4>()) {
            (Some(k), _) => Ok(u64::from_le_bytes(*k)),
            (None, Some(k)) => Ok(u32::from_le_bytes(*k).into()),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl MapOps for LocalStorage {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<u64>, Errno> {
        Ok(self.get(self.owner(key)?, cx.cpu))
    }

    fn update(&mut self, cx: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let owner = self.owner(key)?;
        let known = self.by_owner.contains_key(&owner);
        match flags & !flag::LOCK {
            0 => {}
            flag::NOEXIST if known => return Err(Errno::EEXIST),
            flag::EXIST if !known => return Err(Errno::ENOENT),
            flag::NOEXIST | flag::EXIST => {}
            _ => return Err(Errno::EINVAL),
        }
        match self.get(owner, cx.cpu) {
            Some(addr) => self.values.store(cx, addr, value),
            None => self.create(cx, owner, value).map(|_| ()),
        }
    }

    fn delete(&mut self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno> {
        let owner = self.owner(key)?;
        if self.remove(cx, owner) { Ok(()) } else { Err(Errno::ENOENT) }
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        let next = match key.and_then(|k| self.owner(k).ok()) {
            Some(owner) => self.by_owner.range(owner.checked_add(1)?..).next(),
            None => self.by_owner.iter().next(),
        };
        let (owner, _) = next?;
        let mut key = owner.to_le_bytes().to_vec();
        key.resize(self.key_size, 0);
        Some(key)
    }

    fn read(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let Some(copies) = self.by_owner.get(&self.owner(key)?) else { return Ok(None) };
        let mut out = Vec::new();
        for addr in copies {
            out.push(self.values.load(cx, *addr)?);
        }
        Ok(Some(out))
    }

    fn count(&self) -> Option<u64> {
        Some(self.by_owner.len() as u64)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
