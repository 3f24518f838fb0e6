//! `BPF_MAP_TYPE_PERCPU_HASH` and `BPF_MAP_TYPE_LRU_PERCPU_HASH` (`kernel/bpf/hashtab.c`).

use bpf_vm_shim::object::MapDef;

use super::attr::flag;
use super::entries::Entries;
use super::hash::check_exists;
use super::values::Values;
use super::{Element, MapCx, MapOps};
use crate::errno::Errno;

/// A hash map whose elements hold a value for each CPU. Updates write in place.
#[derive(Clone, Debug)]
pub(super) struct PercpuHash {
    values: Values,
    entries: Entries,
    pitch: u64,
    cpus: u32,
}

impl PercpuHash {
    pub(super) fn new(values: Values, def: &MapDef, cpus: u32) -> Self {
        let pitch = values.pitch();
        Self { values, entries: Entries::new(def, cpus), pitch, cpus }
    }

    fn of_cpu(&self, key: &[u8], cpu: u32) -> Option<u64> {
        let addr = self.entries.get(key).filter(|_| cpu < self.cpus)?;
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

    fn counts_use(&self) -> bool {
        self.entries.is_lru()
    }

    fn touch(&mut self, key: &[u8]) {
        self.entries.touch(key);
    }

    fn update(&mut self, cx: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags > flag::EXIST {
            return Err(Errno::EINVAL);
        }
        let old = self.entries.get(key);
        check_exists(old.is_some(), flags)?;
        let parts = self.values.per_cpu(cx, value)?;
        let addr = match old {
            Some(addr) => addr,
            None => {
                if let Some(evicted) = self.entries.make_room(cx.cpu)? {
                    self.values.free(cx, evicted, self.cpus);
                }
                // The values of the other CPUs are zero (`pcpu_init_value`).
                self.values.alloc_element(cx.mem, self.cpus)?
            }
        };
        for (cpu, part) in parts {
            let value = addr + u64::from(cpu) * self.pitch;
            self.values.store(cx, value, part)?;
            if old.is_some() {
                self.values.drop_fields(cx, value)?;
            }
        }
        if old.is_some() {
            self.entries.touch(key);
            return Ok(());
        }
        self.entries.insert(key, addr, cx.cpu).inspect_err(|_| self.values.free(cx, addr, self.cpus))
    }

    fn delete(&mut self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno> {
        let addr = self.entries.remove(key).ok_or(Errno::ENOENT)?;
        self.values.free(cx, addr, self.cpus);
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        self.entries.next_key(key)
    }

    fn walk(&self, cx: &mut MapCx<'_>, position: u64, key: &mut Vec<u8>) -> Result<Option<Element>, Errno> {
        Ok(self.entries.walk(position).map(|(found, addr, next)| {
            key.clear();
            key.extend_from_slice(found);
            Element { value: addr + u64::from(cx.cpu) * self.pitch, next }
        }))
    }

    fn read(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let addrs = (0..self.cpus).filter_map(|cpu| self.of_cpu(key, cpu));
        let values: Vec<_> = addrs.map(|addr| self.values.load(cx, addr)).collect::<Result<_, _>>()?;
        Ok(Some(values).filter(|v| !v.is_empty()))
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
