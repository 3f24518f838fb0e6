//! A machine with a map in it.

use bpf_helpers_mock::maps::{MapId, MapOpError};
use bpf_helpers_mock::{Errno, Machine};
use bpf_vm_shim::object::{KernelProfile, MapDef, MapType};

/// CPUs of the default machine.
pub(crate) const CPUS: u32 = 4;

pub(crate) fn machine() -> Machine {
    Machine::new(KernelProfile::default())
}

pub(crate) fn def(map_type: MapType, sizes: (u32, u32), max_entries: u32, flags: u32) -> MapDef {
    let mut def = MapDef::of_type("m", map_type, sizes, max_entries);
    def.map_flags = flags;
    def
}

/// A machine with one map.
pub(crate) fn with_map(
    map_type: MapType,
    sizes: (u32, u32),
    max_entries: u32,
    flags: u32,
) -> (Machine, MapId) {
    let mut machine = machine();
    let id = machine.create_map(def(map_type, sizes, max_entries, flags)).expect("the map is valid");
    (machine, id)
}

/// The kernel's error of a host operation.
pub(crate) fn errno<T>(result: Result<T, MapOpError>) -> Result<T, Errno> {
    result.map_err(|e| match e {
        MapOpError::Errno { errno, .. } => errno,
        other => panic!("{other}"),
    })
}
