//! What is simulated, asked of the tables.

use bpf_helpers_mock::maps;
use bpf_vm_shim::object::MapType;

/// Whether programs can use maps of this type.
#[must_use]
pub(crate) fn map_type(map_type: MapType) -> bool {
    maps::is_simulated(map_type)
}
