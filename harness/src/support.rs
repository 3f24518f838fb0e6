//! What is simulated, asked of the tables.

use bpf_vm_shim::object::MapType;

/// Whether programs can use maps of this type.
#[must_use]
pub(crate) fn map_type(map_type: MapType) -> bool {
    use MapType as M;
    matches!(
        map_type,
        M::Hash
            | M::Array
            | M::ProgArray
            | M::PerfEventArray
            | M::PercpuHash
            | M::PercpuArray
            | M::StackTrace
            | M::CgroupArray
            | M::LruHash
            | M::LruPercpuHash
            | M::LpmTrie
            | M::ArrayOfMaps
            | M::HashOfMaps
            | M::CgroupStorage
            | M::PercpuCgroupStorage
            | M::Queue
            | M::Stack
            | M::Ringbuf
            | M::UserRingbuf
            | M::TaskStorage
            | M::CgrpStorage
            | M::BloomFilter
    )
}
