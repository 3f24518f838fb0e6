//! `BPF_MAP_CREATE`: from a definition to a map.

use std::sync::Arc;

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::fault::{Unsupported, UnsupportedKind};
use bpf_vm_shim::mem::MemError;
use bpf_vm_shim::object::{MapDef, MapOrigin, MapType};

use super::arena::Arena;
use super::array::Array;
use super::bloom::Bloom;
use super::compat::Uses;
use super::fd_array::{FdArray, FdKind};
use super::fields::Fields;
use super::hash::Hash;
use super::insn_array::InsnArray;
use super::local_storage::LocalStorage;
use super::lpm_trie::LpmTrie;
use super::map_in_map::{HashOfMaps, may_be_inside};
use super::percpu_array::PercpuArray;
use super::percpu_hash::PercpuHash;
use super::queue_stack::QueueStack;
use super::ringbuf::RingBuf;
use super::sockets::Sockets;
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
    let full = |source| MapError::Memory { name: name.clone(), source };
    let construct = find(def.map_type);
    let ops = construct.map(|new| new(&def, &fields, cx)).transpose().map_err(full)?;
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

/// The state of a new map of one type.
type Construct = fn(&MapDef, &Arc<Fields>, &mut MapCx<'_>) -> Result<Box<dyn MapOps>, MemError>;

macro_rules! row {
    ($($map_type:ident)|+ => |$def:ident, $values:ident, $cx:ident| $new:expr) => {
        (&[$(MapType::$map_type),+], |$def, fields, $cx| {
            let $values = Values::new($def, Arc::clone(fields));
            Ok(Box::new($new))
        })
    };
}

/// The simulated types. To add one, add a row.
#[rustfmt::skip] // One line each, so that additions do not collide.
static TABLE: &[(&[MapType], Construct)] = &[
    row!(Array => |def, values, cx| Array::new(values, def.max_entries, cx)?),
    row!(PercpuArray => |def, values, cx| PercpuArray::new(values, def.max_entries, cx)?),
    row!(Sockmap | Sockhash | Xskmap | ReuseportSockarray => |def, _values, _cx| Sockets::new(def)),
    row!(SkStorage | TaskStorage | CgrpStorage | CgroupStorage => |def, values, _cx| LocalStorage::new(values, def, false)),
    row!(PercpuCgroupStorage => |def, values, _cx| LocalStorage::new(values, def, true)),
    row!(Ringbuf => |def, _values, _cx| RingBuf::new(def)),
    row!(UserRingbuf => |def, _values, _cx| UserRingBuf::new(def)),
    row!(Hash | LruHash => |def, values, cx| Hash::new(values, def, cx.cpus)),
    row!(PercpuHash | LruPercpuHash => |def, values, cx| PercpuHash::new(values, def, cx.cpus)),
    row!(LpmTrie => |def, values, _cx| LpmTrie::new(values, def.key_size, def.max_entries)),
    row!(ProgArray => |def, _values, _cx| FdArray::new(FdKind::Program, def.max_entries)),
    row!(PerfEventArray => |def, _values, _cx| FdArray::new(FdKind::PerfEvent, def.max_entries)),
    row!(CgroupArray => |def, _values, _cx| FdArray::new(FdKind::Cgroup, def.max_entries)),
    row!(ArrayOfMaps => |def, _values, _cx| FdArray::new(FdKind::Map, def.max_entries)),
    row!(HashOfMaps => |def, _values, _cx| HashOfMaps::new(def.key_size, def.max_entries)),
    row!(Queue => |def, _values, _cx| QueueStack::new(def.value_size, def.max_entries, false)),
    row!(Stack => |def, _values, _cx| QueueStack::new(def.value_size, def.max_entries, true)),
    row!(InsnArray => |def, _values, cx| InsnArray::new(def, cx)?),
    row!(Arena => |def, _values, _cx| Arena::new(def)),
    row!(BloomFilter => |def, _values, _cx| Bloom::new(def.max_entries, def.map_extra)),
    row!(StackTrace => |def, _values, _cx| StackTraces::new(def.value_size, def.max_entries, def.map_flags)),
];

fn find(map_type: MapType) -> Option<Construct> {
    TABLE.iter().find(|(types, _)| types.contains(&map_type)).map(|(_, construct)| *construct)
}

/// Whether programs can use maps of this type.
#[must_use]
pub fn is_simulated(map_type: MapType) -> bool {
    find(map_type).is_some()
}
