//! `BPF_MAP_TYPE_PERCPU_HASH` (`kernel/bpf/hashtab.c`).

use super::attr::flag;
use super::hash::check_exists;
use super::index::{Index, SlotId};
use super::values::Values;
use super::{Element, MapCx, MapOps};
use crate::errno::Errno;

/// A hash map whose elements hold a value for each CPU. Updates write in place.
#[derive(Clone, Debug)]
pub(super) struct PercpuHash {
    values: Values,
    index: Index,
    max_entries: u32,
    pitch: u64,
    cpus: u32,
}

impl PercpuHash {
    pub(super) fn new(values: Values, key_size: u32, max_entries: u32, cpus: u32) -> Self {
        let pitch = values.pitch();
        Self { values, index: Index::new(key_size, max_entries), max_entries, pitch, cpus }
    }

    fn of_cpu(&self, key: &[u8], cpu: u32) -> Option<u64> {
        let addr = self.index.get(key).filter(|_| cpu < self.cpus)?;
        Some(addr + u64::from(cpu) * self.pitch)
    }
}

impl MapOps for PercpuHash {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<u64>, Errno> {
        Ok(self.of_cpu(key, cx.cpu))
    }

    fn lookup_percpu(&self, _: &mut MapCx<'_>, key: &[u8], cpu: u32) -> Result<Option<u64>, Errno> {
        Ok(self.of_cpu(key, cpu))
    }

    fn update(&mut self, cx: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags > flag::EXIST {
            return Err(Errno::EINVAL);
        }
        let old = self.index.get(key);
        check_exists(old.is_some(), flags)?;
        if old.is_none() && self.index.len() >= self.max_entries {
            return Err(Errno::E2BIG);
        }
        let parts = self.values.per_cpu(cx, value)?;
        // A new element's other values are zero (`pcpu_init_value`).
        let addr = match old {
            Some(addr) => addr,
            None => self.values.alloc_element(cx.mem, self.cpus)?,
        };
        for (cpu, part) in parts {
            self.values.store(cx, addr + u64::from(cpu) * self.pitch, part)?;
            if old.is_some() {
                self.values.drop_fields(cx, addr + u64::from(cpu) * self.pitch)?;
            }
        }
        if old.is_none() {
            self.index.insert(key, addr);
        }
        Ok(())
    }

    fn delete(&mut self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno> {
        let addr = self.index.remove(key).ok_or(Errno::ENOENT)?;
        self.values.free(cx, addr, self.cpus);
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        self.index.next_key(key)
    }

    fn walk(&self, cx: &mut MapCx<'_>, position: u64, key: &mut Vec<u8>) -> Result<Option<Element>, Errno> {
        Ok(self.index.from(SlotId(position)).map(|(id, found, addr)| {
            key.clear();
            key.extend_from_slice(found);
            Element { value: addr + u64::from(cx.cpu) * self.pitch, next: id.0 + 1 }
        }))
    }

    fn read(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let addrs = (0..self.cpus).filter_map(|cpu| self.of_cpu(key, cpu));
        let values: Vec<_> = addrs.map(|addr| self.values.load(cx, addr)).collect::<Result<_, _>>()?;
        Ok(Some(values).filter(|v| !v.is_empty()))
    }

    fn count(&self) -> Option<u64> {
        Some(self.index.len().into())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
