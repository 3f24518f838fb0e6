//! What loaders fill in before they create a map, because the object leaves it open.

use bpf_vm_shim::object::{MapDef, MapType};

/// `max_entries` of maps whose size the object's own loader would set; what most tools take.
const ENTRIES: u32 = 10_240;
/// The same for arrays, where every element exists from the start.
const ARRAY_ENTRIES: u32 = 1_024;
/// The same for ring buffers, in bytes.
const RING_BYTES: u32 = 256 << 10;
/// The deepest stack that the kernel stores (`PERF_MAX_STACK_DEPTH`).
const STACK_DEPTH: u32 = 127;

/// Completes a definition and remarks on what was not the object's own word.
///
/// Sizes that only one value is right for are set silently, as cilium/ebpf's `MapSpec.fixupMagicFields` does. Sizes that
/// the object's own loader must set at run time (`bpf_map__set_max_entries`) get a default, with a remark: the kernel
/// itself would refuse the map.
pub(crate) fn complete(def: &mut MapDef, cpus: u32, notes: &mut Vec<String>) {
    use MapType as T;
    match def.map_type {
        T::ProgArray | T::PerfEventArray | T::CgroupArray | T::ArrayOfMaps => {
            def.key_size = 4;
            def.value_size = 4;
        }
        T::HashOfMaps => def.value_size = 4,
        // Some loaders let authors name a record's type here.
        T::Ringbuf | T::UserRingbuf => {
            def.key_size = 0;
            def.value_size = 0;
        }
        T::StackTrace => {
            def.key_size = 4;
            if def.value_size == 0 {
                def.value_size = STACK_DEPTH * 8;
                notes.push(remark(def, "value_size", def.value_size));
            }
        }
        _ => {}
    }
    if def.max_entries == 0 {
        let default = match def.map_type {
            T::PerfEventArray | T::Cpumap => Some((cpus, false)),
            T::Array | T::PercpuArray | T::ProgArray | T::CgroupArray | T::ArrayOfMaps => {
                Some((ARRAY_ENTRIES, true))
            }
            T::Hash | T::PercpuHash | T::LruHash | T::LruPercpuHash | T::HashOfMaps | T::LpmTrie => {
                Some((ENTRIES, true))
            }
            T::StackTrace | T::Queue | T::Stack | T::BloomFilter => Some((ENTRIES, true)),
            T::Ringbuf | T::UserRingbuf => Some((RING_BYTES, true)),
            _ => None,
        };
        if let Some((entries, remarkable)) = default {
            def.max_entries = entries;
            if remarkable {
                notes.push(remark(def, "max_entries", entries));
            }
        }
    }
    if let Some(inner) = &mut def.inner {
        complete(inner, cpus, notes);
    }
}

fn remark(def: &MapDef, what: &str, value: u32) -> String {
    format!("map '{}': the object leaves {what} to its loader; {value} is assumed", def.name)
}
