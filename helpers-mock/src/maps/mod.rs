//! Maps: one file per type, all behind [`MapOps`].
//!
//! Values live in guest memory, because programs hold pointers to them; keys and order live here.

mod ring;
mod ringbuf;
mod stack_trace;
mod user_ringbuf;

use std::fmt;
use std::sync::Arc;

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::fault::{Unsupported, UnsupportedKind};
use bpf_vm_shim::mem::{MemError, Memory};
use bpf_vm_shim::object::{MapDef, MapType};

use crate::errno::Errno;

pub use ring::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, Ring};
pub use ringbuf::RingBuf;
pub use stack_trace::StackTrace;
pub use user_ringbuf::UserRingBuf;

/// What a map operation works with.
#[derive(Debug)]
pub struct MapCx<'a> {
    /// The guest's memory.
    pub mem: &'a mut Memory,
    /// The CPU that the caller runs on.
    pub cpu: u32,
    /// How many CPUs there are (`num_possible_cpus`).
    pub cpus: u32,
    /// Whether the caller is the host (a `bpf(2)` call) and not a program.
    pub host: bool,
}

/// A map type's operations. A type that lacks one keeps the default, which answers as the kernel does for such types
/// (source of each: the type's `struct bpf_map_ops` in `kernel/bpf/`).
pub trait MapOps: fmt::Debug + Send + Sync {
    /// A copy, for forks of the machine. Guest addresses in it stay valid in the forked memory.
    fn clone_box(&self) -> Box<dyn MapOps>;

    /// The guest address of the value for `key` (this CPU's, for per-CPU types), or none.
    ///
    /// # Errors
    /// As `map_lookup_elem` of the type.
    fn lookup(&mut self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<u64>, Errno>;

    /// Sets the value for `key`. For per-CPU types a value of one element's size sets this CPU's; one of `cpus` times
    /// the rounded-up size (from the host) sets all.
    ///
    /// # Errors
    /// As `map_update_elem` of the type.
    fn update(&mut self, cx: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno>;

    /// Removes `key`.
    ///
    /// # Errors
    /// As `map_delete_elem` of the type.
    fn delete(&mut self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno>;

    /// The key after `key` in the type's own order; the first for `None`.
    fn next_key(&mut self, cx: &mut MapCx<'_>, key: Option<&[u8]>) -> Option<Vec<u8>>;

    /// The guest address of the value of another CPU (`bpf_map_lookup_percpu_elem`).
    ///
    /// # Errors
    /// `-EOPNOTSUPP` for types that are not per-CPU.
    fn lookup_percpu(&mut self, _cx: &mut MapCx<'_>, _key: &[u8], _cpu: u32) -> Result<Option<u64>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// `bpf_map_push_elem`.
    ///
    /// # Errors
    /// `-EOPNOTSUPP` for types without it.
    fn push(&mut self, _cx: &mut MapCx<'_>, _value: &[u8], _flags: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// `bpf_map_pop_elem`.
    ///
    /// # Errors
    /// `-EOPNOTSUPP` for types without it.
    fn pop(&mut self, _cx: &mut MapCx<'_>) -> Result<Vec<u8>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// `bpf_map_peek_elem`.
    ///
    /// # Errors
    /// `-EOPNOTSUPP` for types without it.
    fn peek(&mut self, _cx: &mut MapCx<'_>, _value: &mut Vec<u8>) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The element at or after a position, for `bpf_for_each_map_elem`: the addresses of key and value, and the next
    /// position. `None` at the end. Elements may come and go between calls.
    ///
    /// # Errors
    /// `-EINVAL` for types that cannot be walked.
    fn element_at(&mut self, _cx: &mut MapCx<'_>, _position: u64) -> Result<Option<Element>, Errno> {
        Err(Errno::EINVAL)
    }

    /// Reads the value for `key` as the host sees it (per CPU in order of CPU, one entry otherwise).
    ///
    /// # Errors
    /// As a `BPF_MAP_LOOKUP_ELEM` command.
    fn read(&mut self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno>;

    /// Gives the concrete type, for helpers that belong to one map type only.
    fn as_any(&mut self) -> &mut dyn std::any::Any;
}

/// One step of a walk over a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Element {
    /// The key's guest address.
    pub key: u64,
    /// The value's guest address.
    pub value: u64,
    /// Where to go on.
    pub next: u64,
}

/// A map's number: its place among the machine's maps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MapId(pub u32);

/// Guest addresses of `struct bpf_map` objects: what `ld_imm64` of a map gives.
const MAP_BASE: u64 = 0xffff_8883_0000_0000;
const MAP_PITCH: u64 = 0x400;

impl MapId {
    /// The guest address that stands for the map.
    #[must_use]
    pub const fn addr(self) -> u64 {
        MAP_BASE + self.0 as u64 * MAP_PITCH
    }

    /// The map that an address stands for.
    #[must_use]
    pub const fn from_addr(addr: u64) -> Option<Self> {
        match addr.checked_sub(MAP_BASE) {
            Some(d) if d % MAP_PITCH == 0 && d / MAP_PITCH < 1 << 20 => Some(Self((d / MAP_PITCH) as u32)),
            _ => None,
        }
    }
}

/// A map: its definition and its state.
#[derive(Debug)]
pub struct Map {
    /// Its definition.
    pub def: Arc<MapDef>,
    /// The types of its key and value are from here.
    pub btf: Option<Btf>,
    /// Its state.
    pub ops: Box<dyn MapOps>,
}

impl Clone for Map {
    fn clone(&self) -> Self {
        Self { def: Arc::clone(&self.def), btf: self.btf.clone(), ops: self.ops.clone_box() }
    }
}

/// A map could not be created.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The kernel refuses such a definition.
    #[error("map '{name}': {errno}: {why}")]
    Refused {
        /// The map.
        name: String,
        /// What `BPF_MAP_CREATE` returns.
        errno: Errno,
        /// Why.
        why: String,
    },
    /// No memory.
    #[error("map '{name}': {source}")]
    Memory {
        /// The map.
        name: String,
        /// Why.
        source: MemError,
    },
    /// A type that is not simulated.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// All maps of a machine.
#[derive(Clone, Default, Debug)]
pub struct Maps {
    maps: Vec<Arc<Map>>,
}

impl Maps {
    /// Adds a map.
    pub fn push(&mut self, map: Map) -> MapId {
        self.maps.push(Arc::new(map));
        MapId(self.maps.len() as u32 - 1)
    }

    /// A map by its number.
    #[must_use]
    pub fn get(&self, id: MapId) -> Option<&Arc<Map>> {
        self.maps.get(id.0 as usize)
    }

    /// A map to be changed; copied first if a fork of the machine still shares it.
    pub fn get_mut(&mut self, id: MapId) -> Option<&mut Map> {
        self.maps.get_mut(id.0 as usize).map(Arc::make_mut)
    }

    /// The map that a guest address stands for.
    #[must_use]
    pub fn by_addr(&self, addr: u64) -> Option<MapId> {
        MapId::from_addr(addr).filter(|id| self.get(*id).is_some())
    }

    /// All maps in the order of their creation.
    pub fn iter(&self) -> impl Iterator<Item = (MapId, &Arc<Map>)> {
        self.maps.iter().enumerate().map(|(i, m)| (MapId(i as u32), m))
    }
}

/// Creates a map's state as `BPF_MAP_CREATE` does. `inner` is the template of a map of maps.
///
/// # Errors
/// [`MapError`]; a type that is not simulated is created as one whose every use is unsupported, so that an object with
/// it still loads.
pub fn create(def: Arc<MapDef>, btf: Option<Btf>, cx: &mut MapCx<'_>) -> Result<Map, MapError> {
    let _ = cx;
    let ops: Box<dyn MapOps> = match def.map_type {
        MapType::Ringbuf => Box::new(RingBuf::create(&def)?),
        MapType::UserRingbuf => Box::new(UserRingBuf::create(&def)?),
        MapType::StackTrace => Box::new(StackTrace::create(&def)?),
        _ => return Err(Unsupported::new(UnsupportedKind::MapType, def.map_type.to_string()).into()),
    };
    Ok(Map { def, btf, ops })
}
