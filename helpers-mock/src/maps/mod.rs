//! Maps: one file per type, all behind [`MapOps`].
//!
//! Values live in guest memory, because programs hold pointers to them; keys and order live here.

mod arena;
mod array;
mod attr;
mod bloom;
mod compat;
mod create;
mod defaults;
mod entries;
mod fd_array;
mod fields;
mod hash;
mod host;
mod index;
mod insn_array;
mod jhash;
mod kernel_object;
mod local_storage;
mod lpm_trie;
mod lru;
mod map_in_map;
mod percpu_array;
mod percpu_hash;
mod queue_stack;
mod ranges;
mod ring;
mod ringbuf;
mod sockets;
mod stack_trace;
mod unsimulated;
mod user_ringbuf;
mod values;

use std::fmt;
use std::sync::Arc;

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::fault::Unsupported;
use bpf_vm_shim::mem::{MemError, Memory};
use bpf_vm_shim::object::MapDef;

use crate::errno::Errno;

pub use arena::Arena;
pub use attr::flag;
pub use compat::Uses;
pub use create::{create, is_simulated};
pub(crate) use defaults::complete;
pub use fd_array::FdArray;
pub use fields::{Field, FieldKind, Fields};
pub use host::{Entry, MapOpError};
pub use insn_array::InsnArray;
pub(crate) use kernel_object::load as load_object;
pub use local_storage::LocalStorage;
pub use ring::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, Ring};
pub use ringbuf::RingBuf;
pub use stack_trace::StackTraces;
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
    /// Values whose special fields (timers, kptrs) the operation has dropped, as `bpf_obj_free_fields` does, with the
    /// map's fields. Only maps that have such fields add to it.
    pub dropped: Vec<(u64, Arc<Fields>)>,
    /// Whether values that are deleted stay until the program has ended, as RCU keeps them.
    pub grace: bool,
    /// Values that are deleted but for their memory.
    pub freed: Vec<u64>,
}

impl<'a> MapCx<'a> {
    /// What the host works with.
    #[must_use]
    pub fn host(mem: &'a mut Memory, cpus: u32) -> Self {
        Self { mem, cpu: 0, cpus, host: true, dropped: Vec::new(), grace: false, freed: Vec::new() }
    }
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
    fn lookup(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<u64>, Errno>;

    /// Whether a program's lookup counts as use ([`MapOps::touch`]).
    fn counts_use(&self) -> bool {
        false
    }

    /// Notes that a program has looked `key` up.
    fn touch(&mut self, _key: &[u8]) {}

    /// Sets the value for `key`. For per-CPU types a value of one element's size sets this CPU's; one of `cpus` times
    /// the size rounded up to 8 (from the host) sets all.
    ///
    /// # Errors
    /// As `map_update_elem` of the type.
    fn update(&mut self, cx: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno>;

    /// Removes `key`.
    ///
    /// # Errors
    /// As `map_delete_elem` of the type.
    fn delete(&mut self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno>;

    /// The key after `key` in the type's own order; the first for `None` and for a key that is not there.
    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>>;

    /// The guest address of the value of another CPU (`bpf_map_lookup_percpu_elem`).
    ///
    /// # Errors
    /// `-EOPNOTSUPP` for types that are not per-CPU.
    fn lookup_percpu(&self, _cx: &mut MapCx<'_>, _key: &[u8], _cpu: u32) -> Result<Option<u64>, Errno> {
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

    /// `bpf_map_peek_elem`. `value` is what the caller passed, for types that test it, and holds the answer for others.
    ///
    /// # Errors
    /// `-EOPNOTSUPP` for types without it.
    fn peek(&self, _cx: &mut MapCx<'_>, _value: &mut Vec<u8>) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The element at or after a position, for `bpf_for_each_map_elem`; its key is put into `key`. `None` at the end.
    /// Elements may come and go between calls.
    ///
    /// # Errors
    /// `-EINVAL` for types that cannot be walked.
    fn walk(
        &self,
        _cx: &mut MapCx<'_>,
        _position: u64,
        _key: &mut Vec<u8>,
    ) -> Result<Option<Element>, Errno> {
        Err(Errno::EINVAL)
    }

    /// Reads the value for `key` as the host sees it (per CPU in order of CPU, one entry otherwise).
    ///
    /// # Errors
    /// As a `BPF_MAP_LOOKUP_ELEM` command.
    fn read(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno>;

    /// How many elements there are, for types that count them (`bpf_map_sum_elem_count`).
    fn count(&self) -> Option<u64> {
        None
    }

    /// The concrete type, for helpers that belong to one map type only.
    fn as_any(&self) -> &dyn std::any::Any;

    /// The concrete type, to be changed.
    fn as_any_mut(&mut self) -> &mut dyn std::any::Any;
}

/// One step of a walk over a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Element {
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

    /// The map whose `struct bpf_map` an address lies in, and how far from its start.
    #[must_use]
    pub const fn containing(addr: u64) -> Option<(Self, u64)> {
        match addr.checked_sub(MAP_BASE) {
            Some(d) if d / MAP_PITCH < 1 << 20 => Some((Self((d / MAP_PITCH) as u32), d % MAP_PITCH)),
            _ => None,
        }
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
    /// Where its values hold a spin lock, timer, kptr and the like.
    pub fields: Arc<Fields>,
    /// What programs may call with it.
    pub uses: Uses,
    /// A type that is not simulated: every use of the map is this gap.
    pub unsupported: Option<Unsupported>,
    /// The host may no longer write (`BPF_MAP_FREEZE`).
    pub frozen: bool,
    /// Its state.
    pub ops: Box<dyn MapOps>,
}

impl Clone for Map {
    fn clone(&self) -> Self {
        Self {
            def: Arc::clone(&self.def),
            btf: self.btf.clone(),
            fields: Arc::clone(&self.fields),
            uses: self.uses,
            unsupported: self.unsupported.clone(),
            frozen: self.frozen,
            ops: self.ops.clone_box(),
        }
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

    /// The number that the next map gets.
    #[must_use]
    pub fn next_id(&self) -> MapId {
        MapId(self.maps.len() as u32)
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

    /// The first map of this name, as libbpf or as the kernel cuts it.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<MapId> {
        let find = |f: &dyn Fn(&Map) -> bool| self.iter().find(|(_, m)| f(m)).map(|(id, _)| id);
        find(&|m| m.def.name == name)
            .or_else(|| find(&|m| m.def.section == name && m.def.is_internal()))
            .or_else(|| find(&|m| m.def.kernel_name() == name))
    }

    /// All maps in the order of their creation.
    pub fn iter(&self) -> impl Iterator<Item = (MapId, &Arc<Map>)> {
        self.maps.iter().enumerate().map(|(i, m)| (MapId(i as u32), m))
    }
}
