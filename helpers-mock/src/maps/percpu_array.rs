//! `BPF_MAP_TYPE_PERCPU_ARRAY` (`kernel/bpf/arraymap.c`).

use bpf_vm_shim::mem::MemError;

use super::array::{check_update, index, next_index};
use super::values::Values;
use super::{Element, MapCx, MapOps};
use crate::errno::Errno;

/// An array for each CPU.
#[derive(Clone, Debug)]
pub(super) struct PercpuArray {
    values: Values,
    /// The first element of each CPU.
    bases: Vec<u64>,
    pitch: u64,
    len: u32,
}

impl PercpuArray {
    pub(super) fn new(values: Values, len: u32, cx: &mut MapCx<'_>) -> Result<Self, MemError> {
        let pitch = values.pitch();
        let alloc = |cpu| values.of_cpu(cpu).alloc(cx.mem, len).map(|(base, _)| base);
        let bases = (0..cx.cpus).map(alloc).collect::<Result<_, _>>()?;
        Ok(Self { values, bases, pitch, len })
    }

    fn addr(&self, index: u32, cpu: u32) -> Option<u64> {
        let base = self.bases.get(cpu as usize)?;
        (index < self.len).then(|| base + u64::from(index) * self.pitch)
    }
}

impl MapOps for PercpuArray {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<u64>, Errno> {
        Ok(index(key).and_then(|i| self.addr(i, cx.cpu)))
    }

    fn lookup_percpu(&self, _: &mut MapCx<'_>, key: &[u8], cpu: u32) -> Result<Option<u64>, Errno> {
        Ok(index(key).and_then(|i| self.addr(i, cpu)))
    }

    fn update(&mut self, cx: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let index = check_update(key, self.len, flags)?;
        for (cpu, part) in self.values.per_cpu(cx, value)? {
            let addr = self.addr(index, cpu).ok_or(Errno::E2BIG)?;
            self.values.store(cx, addr, part)?;
            self.values.drop_fields(cx, addr)?;
        }
        Ok(())
    }

    fn delete(&mut self, _: &mut MapCx<'_>, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        next_index(key, self.len)
    }

    fn walk(&self, cx: &mut MapCx<'_>, position: u64, key: &mut Vec<u8>) -> Result<Option<Element>, Errno> {
        let index = u32::try_from(position).unwrap_or(u32::MAX);
        key.clear();
        key.extend_from_slice(&index.to_le_bytes());
        Ok(self.addr(index, cx.cpu).map(|value| Element { value, next: position + 1 }))
    }

    fn read(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let Some(index) = index(key).filter(|i| *i < self.len) else { return Ok(None) };
        let addrs = (0..self.bases.len() as u32).filter_map(|cpu| self.addr(index, cpu));
        addrs.map(|addr| self.values.load(cx, addr)).collect::<Result<_, _>>().map(Some)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
