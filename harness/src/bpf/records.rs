//! Records that programs have sent: ring buffers and perf event arrays.

use std::time::Duration;

use bpf_helpers_mock::maps::MapId;
use bpf_helpers_mock::state::{PerfRecord, PerfRecordKind};
use bpf_vm_shim::btf::{Btf, Kind, TypeId};
use bpf_vm_shim::object::MapType;

use super::Bpf;
use super::backend::Item;
use super::buffers::Reader;
use crate::error::Error;
use crate::value::{Value, decode};

/// Pages of each CPU's ring: room for what a scenario lets happen.
const PAGES: u32 = 64;

/// What was collected of a map.
#[derive(Clone, Default, Debug)]
pub(super) struct Kept {
    records: Vec<Vec<u8>>,
    /// How many records the kernel has said to be lost, ever.
    lost: u64,
}

impl Bpf {
    /// Takes the records of a ring buffer or perf event array, oldest first, as they were sent: what
    /// [`Record::data`](super::Record::data) says of a kernel's perf event arrays holds here too. Records of a perf event
    /// array's CPUs come one CPU after another on a kernel, in the order of sending on the simulator.
    ///
    /// # Errors
    /// If there is no such map, it has no records, or it is a perf event array that nobody has opened
    /// ([`Bpf::keep_records`], [`Bpf::open_perf_buffer`]): nothing is kept then, and programs get `-ENOENT`.
    pub fn take_records(&mut self, map: &str) -> Result<Vec<Vec<u8>>, Error> {
        let mut records = self.take_as_they_came(map)?;
        if self.kernel.is_some() && !records.is_empty() {
            let types = self.record_types(map, None)?;
            records.iter_mut().for_each(|data| data.truncate(types.sent(data).len()));
        }
        Ok(records)
    }

    /// The records with what a kernel has padded them with.
    pub(super) fn take_as_they_came(&mut self, map: &str) -> Result<Vec<Vec<u8>>, Error> {
        let id = self.map(map)?.id();
        self.collect(id, map)?;
        Ok(self.host.kept.get_mut(&id).map(|kept| std::mem::take(&mut kept.records)).unwrap_or_default())
    }

    /// Takes what has been sent out of the map, to be taken by the test later.
    fn collect(&mut self, id: MapId, map: &str) -> Result<(), Error> {
        let map_type = self.machine.kernel.maps.get(id).map_or(MapType::Unspec, |m| m.def.map_type);
        if !matches!(map_type, MapType::Ringbuf | MapType::PerfEventArray) {
            let what = format!("map '{map}' is neither a ring buffer nor a perf event array");
            return Err(Error::Invalid(what));
        }
        let items: Vec<Item> = match (&mut self.kernel, map_type) {
            (Some(kernel), MapType::Ringbuf) => kernel.take_ring(id, Duration::ZERO)?.into(),
            (Some(kernel), _) => kernel.take_perf(id, Duration::ZERO)?.into(),
            (None, MapType::Ringbuf) => {
                let ring = self.machine.take_ringbuf(id).unwrap_or_default();
                ring.records.into_iter().map(|data| Item::Record(0, data)).collect()
            }
            (None, _) if self.machine.kernel.state.perf.is_open(id) => {
                self.machine.take_perf(id).into_iter().filter_map(Item::of).collect()
            }
            (None, _) => return Err(not_open()),
        };
        let kept = self.host.kept.entry(id).or_default();
        for item in items {
            match item {
                Item::Record(_, data) => kept.records.push(data),
                Item::Lost(count) => kept.lost += count,
            }
        }
        Ok(())
    }

    /// Opens a perf event array on all CPUs, with 64 pages for each, so that what programs send there is kept for
    /// [`Bpf::take_records`] and its like. Ring buffers keep everything anyway: for them there is nothing to do.
    ///
    /// # Errors
    /// If there is no such map.
    pub fn keep_records(&mut self, map: &str) -> Result<(), Error> {
        let id = self.map(map)?.id();
        let map = self.machine.kernel.maps.get(id);
        if map.is_some_and(|m| m.def.map_type == MapType::PerfEventArray) {
            self.open_rings(id, PAGES)?;
        }
        Ok(())
    }

    /// Opens the rings of all CPUs.
    pub(super) fn open_rings(&mut self, id: MapId, pages: u32) -> Result<(), Error> {
        match &mut self.kernel {
            Some(kernel) => kernel.open_perf(id, pages)?,
            None => {
                for cpu in 0..self.machine.kernel.state.cpus.count {
                    self.machine.open_perf_ring(id, cpu, pages, 1);
                }
            }
        }
        Ok(())
    }

    /// What a tool that reads all the time would do after something has happened: takes the records of these maps, so
    /// that they stay in the order in which things happened, whatever CPU they come from, and do not fill the rings.
    pub(crate) fn collect_records<'a>(&mut self, maps: impl Iterator<Item = &'a str>) {
        for map in maps {
            if let Some(id) = self.machine.map_by_name(map) {
                // What is wrong with a map is said when its records are shown.
                let _ = self.collect(id, map);
            }
        }
    }

    /// Takes the records of a ring buffer or perf event array as values of a structure of the object's (or kernel's)
    /// BTF; without a name, as bytes.
    ///
    /// # Errors
    /// If there is no such map or type, or a record is too short.
    pub fn records(&mut self, map: &str, type_name: Option<&str>) -> Result<Vec<Value>, Error> {
        let found = type_name.map(|name| self.find_type(name)).transpose()?;
        let Some((btf, ty)) = found else {
            return Ok(self.take_records(map)?.into_iter().map(Value::Bytes).collect());
        };
        let records = self.take_as_they_came(map)?;
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
            if self.machine.kernel.maps.get(id).is_some_and(|m| m.def.map_type == MapType::Ringbuf) {
                return Ok(None);
            }
            let read = self.host.perf_buffers.iter().filter(|r| r.is_of(map)).map(Reader::lost);
            let kept = self.host.kept.get(&id).map_or(0, |kept| kept.lost);
            return Ok(Some(read.sum::<u64>() + kept));
        }
        let perf = self.machine.perf_lost(id);
        let maps = &self.machine.kernel.maps;
        let ring =
            maps.get(id).and_then(|m| m.ops.as_any().downcast_ref::<bpf_helpers_mock::maps::RingBuf>());
        Ok(Some(perf + ring.map_or(0, |r| r.ring().lost())))
    }
}

impl Item {
    /// What a simulated ring has.
    pub(super) fn of(record: PerfRecord) -> Option<Self> {
        match record.kind {
            PerfRecordKind::Sample { data } => Some(Self::Record(record.cpu, data)),
            PerfRecordKind::Lost { count } => Some(Self::Lost(count)),
            _ => None,
        }
    }
}

/// Why there is nothing to take.
pub(crate) fn not_open() -> Error {
    Error::Invalid(
        "a perf event array keeps nothing until its buffer is open: call `keep_records()` or `open_perf_buffer()` before \
         the events"
            .to_owned(),
    )
}
