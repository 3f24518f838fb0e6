//! Records that programs have sent: ring buffers and perf event arrays.

use std::time::Duration;

use bpf_helpers_mock::state::PerfRecordKind;
use bpf_vm_shim::btf::{Btf, Kind, TypeId};

use super::Bpf;
use super::backend::Item;
use crate::error::Error;
use crate::value::{Value, decode};

/// Pages of each CPU's ring: room for what a scenario lets happen.
const PAGES: u32 = 64;

impl Bpf {
    /// Takes the records of a ring buffer or perf event array, oldest first, as they were sent.
    ///
    /// # Errors
    /// If there is no such map, or it has no records.
    pub fn take_records(&mut self, map: &str) -> Result<Vec<Vec<u8>>, Error> {
        let id = self.map(map)?.id();
        if let Some(kernel) = &mut self.kernel {
            let of_type = |t| self.machine.kernel.maps.get(id).is_some_and(|m| m.def.map_type == t);
            let ring = of_type(bpf_vm_shim::object::MapType::Ringbuf);
            let items = if ring {
                kernel.take_ring(id, Duration::ZERO)
            } else {
                kernel.take_perf(id, Duration::ZERO)
            }?;
            let mut records = Vec::new();
            for item in items {
                match item {
                    Item::Record(_, data) => records.push(data),
                    Item::Lost(count) => *self.host.lost.entry(map.to_owned()).or_default() += count,
                }
            }
            return Ok(records);
        }
        if let Some(ring) = self.machine.take_ringbuf(id) {
            return Ok(ring.records);
        }
        let is_perf = |t| t == bpf_vm_shim::object::MapType::PerfEventArray;
        if !self.machine.kernel.maps.get(id).is_some_and(|m| is_perf(m.def.map_type)) {
            return Err(Error::Invalid(format!(
                "map '{map}' is neither a ring buffer nor a perf event array"
            )));
        }
        let records = self.machine.take_perf(id).into_iter();
        Ok(records
            .filter_map(|r| match r.kind {
                PerfRecordKind::Sample { data } => Some(data),
                _ => None,
            })
            .collect())
    }

    /// Makes a kernel keep what programs send to a perf event array from now on, for [`Bpf::take_records`]; a simulated
    /// machine always does. Other maps need nothing of the kind.
    pub(crate) fn keep_records(&mut self, map: &str) -> Result<(), Error> {
        let id = self.map(map)?.id();
        let perf = bpf_vm_shim::object::MapType::PerfEventArray;
        let is_perf = self.machine.kernel.maps.get(id).is_some_and(|m| m.def.map_type == perf);
        match &mut self.kernel {
            Some(kernel) if is_perf => kernel.open_perf(id, PAGES),
            _ => Ok(()),
        }
    }

    /// Takes the records of a ring buffer or perf event array as values of a structure of the object's (or kernel's)
    /// BTF; without a name, as bytes.
    ///
    /// # Errors
    /// If there is no such map or type, or a record is too short.
    pub fn records(&mut self, map: &str, type_name: Option<&str>) -> Result<Vec<Value>, Error> {
        let found = type_name.map(|name| self.find_type(name)).transpose()?;
        let records = self.take_records(map)?;
        let Some((btf, ty)) = found else { return Ok(records.into_iter().map(Value::Bytes).collect()) };
        let what = || format!("a record of map '{map}'");
        let decoded =
            records.iter().map(|r| decode(&btf, ty, r).map_err(|source| Error::value(what(), source)));
        decoded.collect()
    }

    /// A structure, union, enumeration or alias by its name, with or without `struct`.
    ///
    /// # Errors
    /// If neither the objects nor the kernel have it.
    pub fn find_type(&self, name: &str) -> Result<(Btf, TypeId), Error> {
        let bare = name.trim_start_matches("struct ").trim_start_matches("union ").trim();
        let kinds = [Kind::Struct, Kind::Union, Kind::Typedef, Kind::Enum, Kind::Enum64, Kind::Int];
        let objects = self.objects.iter().filter_map(|o| o.object.btf.as_ref());
        let mut all = objects.chain(self.machine.kernel.profile.btf.as_ref());
        all.find_map(|btf| kinds.iter().find_map(|k| Some((btf.clone(), btf.find(*k, bare)?))))
            .ok_or_else(|| Error::not_found("type", name, []))
    }

    /// How many records of a ring buffer or perf event array were lost for want of room. A kernel says so among the
    /// records of a perf event array, so there it is known when these were read.
    ///
    /// # Errors
    /// If there is no such map; on a kernel if it is a ring buffer: of these nobody counts the losses but the program, for
    /// which `bpf_ringbuf_reserve` or `bpf_ringbuf_output` has failed.
    pub fn lost_records(&mut self, map: &str) -> Result<u64, Error> {
        self.known_losses(map)?.ok_or_else(|| {
            let why = "a kernel does not count what a ring buffer had no room for: let the program do so, whose \
                       `bpf_ringbuf_reserve` or `bpf_ringbuf_output` fails then";
            Error::Invalid(format!("map '{map}': {why}"))
        })
    }

    /// [`Bpf::lost_records`], where somebody knows.
    pub(crate) fn known_losses(&mut self, map: &str) -> Result<Option<u64>, Error> {
        let id = self.map(map)?.id();
        if self.kernel.is_some() {
            let ring = bpf_vm_shim::object::MapType::Ringbuf;
            if self.machine.kernel.maps.get(id).is_some_and(|m| m.def.map_type == ring) {
                return Ok(None);
            }
            let readers = self.host.perf_buffers.iter().filter(|r| r.is_of(map));
            let read: u64 = readers.map(super::buffers::Reader::lost).sum();
            return Ok(Some(read + self.host.lost.get(map).copied().unwrap_or_default()));
        }
        let perf = self.machine.perf_lost(id);
        let maps = &self.machine.kernel.maps;
        let ring =
            maps.get(id).and_then(|m| m.ops.as_any().downcast_ref::<bpf_helpers_mock::maps::RingBuf>());
        Ok(Some(perf + ring.map_or(0, |r| r.ring().lost())))
    }
}
