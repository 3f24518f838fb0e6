//! `BPF_MAP_CREATE`: from a definition to a map.

use std::sync::Arc;

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::fault::{Unsupported, UnsupportedKind};
use bpf_vm_shim::mem::MemError;
use bpf_vm_shim::object::{MapDef, MapOrigin, MapType};

use super::array::Array;
use super::bloom::Bloom;
use super::compat::Uses;
use super::fd_array::{FdArray, FdKind};
use super::fields::Fields;
use super::hash::Hash;
use super::local_storage::LocalStorage;
use super::lpm_trie::LpmTrie;
use super::map_in_map::{HashOfMaps, may_be_inside};
use super::percpu_array::PercpuArray;
use super::percpu_hash::PercpuHash;
use super::queue_stack::QueueStack;
use super::ringbuf::RingBuf;
use super::stack_trace::StackTraces;
use super::unsimulated::Unsimulated;
use super::user_ringbuf::UserRingBuf;
use super::values::Values;
use super::{Map, MapCx, MapError, MapOps, attr};
use crate::errno::Errno;

/// Creates a map as `BPF_MAP_CREATE` does and libbpf then fills it: data sections get their bytes, and constant ones
/// are frozen. Initial `values` need the other maps and programs: the machine puts them in.
///
/// A type that is not simulated is created as one whose every use is unsupported, so that an object with it still
/// loads.
///
/// # Errors
/// [`MapError`]: the kernel would refuse the definition, or there is no memory.
pub fn create(def: Arc<MapDef>, btf: Option<Btf>, cx: &mut MapCx<'_>) -> Result<Map, MapError> {
    let name = def.name.clone();
    let refused = |(errno, why)| MapError::Refused { name: name.clone(), errno, why };
    attr::check(&def).map_err(refused)?;
    if let Some(inner) = &def.inner {
        check_inner(inner).map_err(refused)?;
    }
    let fields = Arc::new(btf.as_ref().map(|btf| Fields::of_map(btf, &def)).unwrap_or_default());
    let ops =
        construct(&def, &fields, cx).map_err(|source| MapError::Memory { name: name.clone(), source })?;
    let unsupported = ops.is_none().then(|| Unsupported::new(UnsupportedKind::MapType, def.map_type.name()));
    let ops = ops.unwrap_or_else(|| Box::new(Unsimulated));
    let frozen = matches!(def.origin, MapOrigin::Rodata | MapOrigin::Kconfig);
    let uses = Uses::of(def.map_type);
    let map = Map { def, btf, fields, uses, unsupported, frozen, ops };
    if let Some(data) = map.def.data.as_ref().filter(|d| !d.bytes().is_empty()) {
        let full = |_| MapError::Memory {
            name: name.clone(),
            source: MemError::Limit { what: format!("map '{name}'"), bytes: data.size().into(), limit: 0 },
        };
        if let Ok(Some(addr)) = map.ops.lookup(cx, &[0; 4]) {
            cx.mem.poke(addr, data.bytes()).map_err(full)?;
        }
    }
    Ok(map)
}

/// What a map of maps asks of its template (`bpf_map_meta_alloc`), which libbpf creates as a map.
fn check_inner(inner: &MapDef) -> Result<(), (Errno, String)> {
    if !may_be_inside(inner.map_type) {
        let errno = if inner.map_type.is_map_in_map() { Errno::EINVAL } else { Errno::ENOTSUPP };
        return Err((errno, format!("maps of type {} cannot be inside another map", inner.map_type)));
    }
    attr::check(inner).map_err(|(errno, why)| (errno, format!("its inner map: {why}")))
}

/// The state of a map; `None` for a type that is not simulated.
fn construct(
    def: &MapDef,
    fields: &Arc<Fields>,
    cx: &mut MapCx<'_>,
) -> Result<Option<Box<dyn MapOps>>, MemError> {
    use MapType as T;
    let values = Values::new(def, Arc::clone(fields));
    Ok(Some(match def.map_type {
        T::Array => Box::new(Array::new(values, def.max_entries, cx)?),
        T::PercpuArray => Box::new(PercpuArray::new(values, def.max_entries, cx)?),
        T::TaskStorage | T::CgrpStorage | T::CgroupStorage => Box::new(LocalStorage::new(values, def, false)),
        T::PercpuCgroupStorage => Box::new(LocalStorage::new(values, def, true)),
        T::Ringbuf => Box::new(RingBuf::new(def)),
        T::UserRingbuf => Box::new(UserRingBuf::new(def)),
        T::Hash | T::LruHash => Box::new(Hash::new(values, def, cx.cpus)),
        T::PercpuHash | T::LruPercpuHash => Box::new(PercpuHash::new(values, def, cx.cpus)),
        T::LpmTrie => Box::new(LpmTrie::new(values, def.key_size, def.max_entries)),
        T::ProgArray => Box::new(FdArray::new(FdKind::Program, def.max_entries)),
        T::PerfEventArray => Box::new(FdArray::new(FdKind::PerfEvent, def.max_entries)),
        T::CgroupArray => Box::new(FdArray::new(FdKind::Cgroup, def.max_entries)),
        T::ArrayOfMaps => Box::new(FdArray::new(FdKind::Map, def.max_entries)),
        T::HashOfMaps => Box::new(HashOfMaps::new(def.key_size, def.max_entries)),
        T::Queue | T::Stack => {
            Box::new(QueueStack::new(def.value_size, def.max_entries, def.map_type == T::Stack))
        }
        T::BloomFilter => Box::new(Bloom::new(def.max_entries, def.map_extra)),
        T::StackTrace => Box::new(StackTraces::new(def.value_size, def.max_entries, def.map_flags)),
        _ => return Ok(None),
    }))
}
