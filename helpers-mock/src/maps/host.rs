//! Maps as the host sees them: what `bpf(2)` commands do.

use bpf_vm_shim::fault::Unsupported;
use bpf_vm_shim::object::MapType;

use super::{Map, MapCx, MapId, Maps, flag, map_in_map};
use crate::errno::Errno;
use crate::machine::Machine;
use crate::progs::{ProgId, Progs};

/// A map operation of the host failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapOpError {
    /// There is no such map.
    #[error("there is no map number {}", .0.0)]
    NoMap(MapId),
    /// The kernel would return this error.
    #[error("map '{map}': {errno}: {why}")]
    Errno {
        /// The map.
        map: String,
        /// The error.
        errno: Errno,
        /// What was tried, or what is wrong.
        why: String,
    },
    /// The map's type is not simulated.
    #[error("map '{map}': {gap}")]
    Unsupported {
        /// The map.
        map: String,
        /// The gap.
        gap: Unsupported,
    },
}

/// An element as the host reads it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The value; of per-CPU types one for each CPU in order.
    pub values: Vec<Vec<u8>>,
}

impl Machine {
    /// The first map of this name: libbpf's, the section's for global data (`.bss`), or the kernel's, cut short.
    #[must_use]
    pub fn map_by_name(&self, name: &str) -> Option<MapId> {
        self.kernel.maps.by_name(name)
    }

    /// The value for a key (`BPF_MAP_LOOKUP_ELEM`); of per-CPU types one for each CPU, else one. Of queues and stacks
    /// the next value, whatever the key. Of arrays of programs and maps their numbers.
    ///
    /// # Errors
    /// [`MapOpError`]; a key that is not there is `None`.
    pub fn map_read(&mut self, id: MapId, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, MapOpError> {
        let map = usable(&self.kernel.maps, id)?;
        key_size(map, key)?;
        let mut cx = MapCx::host(&mut self.mem, self.kernel.state.cpus.count);
        map.ops.read(&mut cx, key).map_err(|errno| failed(map, errno, "lookup"))
    }

    /// Sets the value for a key (`BPF_MAP_UPDATE_ELEM`). Of per-CPU types a value of `value_size` bytes sets CPU 0's
    /// only, one of as many 8-byte-rounded values as there are CPUs sets all. Programs and maps are given by number,
    /// 4 bytes little-endian.
    ///
    /// # Errors
    /// [`MapOpError`].
    pub fn map_update(&mut self, id: MapId, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapOpError> {
        let map = usable(&self.kernel.maps, id)?;
        writable(map)?;
        key_size(map, key)?;
        value_size(map, value, self.kernel.state.cpus.count)?;
        check_object(&self.kernel.maps, &self.kernel.progs, map, value)?;
        if flags & flag::LOCK != 0 && !map.fields.has_lock() {
            return Err(error(map, Errno::EINVAL, "BPF_F_LOCK, but its values have no bpf_spin_lock"));
        }
        self.map_change(id, "update", |map, cx| map.ops.update(cx, key, value, flags))
    }

    /// Removes a key (`BPF_MAP_DELETE_ELEM`).
    ///
    /// # Errors
    /// [`MapOpError`], `-ENOENT` if it is not there.
    pub fn map_delete(&mut self, id: MapId, key: &[u8]) -> Result<(), MapOpError> {
        let map = usable(&self.kernel.maps, id)?;
        writable(map)?;
        key_size(map, key)?;
        self.map_change(id, "delete", |map, cx| map.ops.delete(cx, key))
    }

    /// The key after a key in the map's own order, the first for `None` (`BPF_MAP_GET_NEXT_KEY`).
    ///
    /// # Errors
    /// [`MapOpError`].
    pub fn map_next_key(&self, id: MapId, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, MapOpError> {
        Ok(usable(&self.kernel.maps, id)?.ops.next_key(key))
    }

    /// All elements, sorted by the bytes of their keys. Slots that hold nothing are left out, and so are the elements
    /// of types whose values the kernel does not show (perf events, cgroups).
    ///
    /// # Errors
    /// [`MapOpError`].
    pub fn map_entries(&mut self, id: MapId) -> Result<Vec<Entry>, MapOpError> {
        let map = usable(&self.kernel.maps, id)?;
        let mut cx = MapCx::host(&mut self.mem, self.kernel.state.cpus.count);
        let mut entries = Vec::new();
        let mut key = map.ops.next_key(None);
        while let Some(k) = key {
            key = map.ops.next_key(Some(&k));
            match map.ops.read(&mut cx, &k) {
                Ok(Some(values)) => entries.push(Entry { key: k, values }),
                Ok(None) => {}
                Err(Errno::ENOTSUPP) => break,
                Err(errno) => return Err(failed(map, errno, "lookup")),
            }
        }
        entries.sort();
        Ok(entries)
    }

    /// Adds a value to a queue, stack or bloom filter.
    ///
    /// # Errors
    /// [`MapOpError`].
    pub fn map_push(&mut self, id: MapId, value: &[u8], flags: u64) -> Result<(), MapOpError> {
        let map = usable(&self.kernel.maps, id)?;
        writable(map)?;
        value_size(map, value, self.kernel.state.cpus.count)?;
        self.map_change(id, "push", |map, cx| map.ops.push(cx, value, flags))
    }

    /// Takes the next value out of a queue or stack (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`); `None` if it is empty.
    ///
    /// # Errors
    /// [`MapOpError`].
    pub fn map_pop(&mut self, id: MapId) -> Result<Option<Vec<u8>>, MapOpError> {
        writable(usable(&self.kernel.maps, id)?)?;
        self.map_change(id, "pop", |map, cx| match map.ops.pop(cx) {
            Ok(value) => Ok(Some(value)),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e),
        })
    }

    /// Whether a queue's, stack's or bloom filter's next value is there: it is put into `value`, or, of a bloom filter,
    /// `value` is what is asked for.
    ///
    /// # Errors
    /// [`MapOpError`].
    pub fn map_peek(&mut self, id: MapId, value: &mut Vec<u8>) -> Result<bool, MapOpError> {
        let map = usable(&self.kernel.maps, id)?;
        let mut cx = MapCx::host(&mut self.mem, self.kernel.state.cpus.count);
        match map.ops.peek(&mut cx, value) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(failed(map, errno, "peek")),
        }
    }

    /// Forbids the host to write a map from now on (`BPF_MAP_FREEZE`).
    ///
    /// # Errors
    /// If there is no such map.
    pub fn map_freeze(&mut self, id: MapId) -> Result<(), MapOpError> {
        self.kernel.maps.get_mut(id).map(|m| m.frozen = true).ok_or(MapOpError::NoMap(id))
    }

    /// Runs an operation that changes a map; what its elements held is dropped afterwards.
    fn map_change<R>(
        &mut self,
        id: MapId,
        what: &str,
        f: impl FnOnce(&mut Map, &mut MapCx<'_>) -> Result<R, Errno>,
    ) -> Result<R, MapOpError> {
        let map = self.kernel.maps.get_mut(id).ok_or(MapOpError::NoMap(id))?;
        let mut cx = MapCx::host(&mut self.mem, self.kernel.state.cpus.count);
        let result = f(map, &mut cx).map_err(|errno| failed(map, errno, what));
        let dropped = cx.dropped;
        self.kernel.drop_fields(&mut self.mem, id, dropped);
        result
    }
}

fn error(map: &Map, errno: Errno, why: impl Into<String>) -> MapOpError {
    MapOpError::Errno { map: map.def.name.clone(), errno, why: why.into() }
}

fn failed(map: &Map, errno: Errno, what: &str) -> MapOpError {
    error(
        map,
        errno,
        format!("{what} failed (type {}, max_entries {})", map.def.map_type, map.def.max_entries),
    )
}

fn usable(maps: &Maps, id: MapId) -> Result<&Map, MapOpError> {
    let map = maps.get(id).ok_or(MapOpError::NoMap(id))?;
    match &map.unsupported {
        Some(gap) => Err(MapOpError::Unsupported { map: map.def.name.clone(), gap: gap.clone() }),
        None => Ok(map),
    }
}

/// `map_get_sys_perms`.
fn writable(map: &Map) -> Result<(), MapOpError> {
    if map.frozen {
        return Err(error(map, Errno::EPERM, "it is frozen"));
    }
    if map.def.map_flags & flag::RDONLY != 0 {
        return Err(error(map, Errno::EPERM, "the host may only read it (BPF_F_RDONLY)"));
    }
    Ok(())
}

fn key_size(map: &Map, key: &[u8]) -> Result<(), MapOpError> {
    if key.len() == map.def.key_size as usize {
        return Ok(());
    }
    let why = format!("a key of {} bytes, key_size is {}", key.len(), map.def.key_size);
    Err(error(map, Errno::EINVAL, why))
}

fn value_size(map: &Map, value: &[u8], cpus: u32) -> Result<(), MapOpError> {
    use MapType as T;
    let size = map.def.value_size as usize;
    let percpu = matches!(map.def.map_type, T::PercpuHash | T::LruPercpuHash | T::PercpuArray);
    let all = size.next_multiple_of(8) * cpus as usize;
    if value.len() == size || percpu && value.len() == all {
        return Ok(());
    }
    let per_cpu = if percpu { format!(" (or {all} for all CPUs)") } else { String::new() };
    let why = format!("a value of {} bytes, value_size is {size}{per_cpu}", value.len());
    Err(error(map, Errno::EINVAL, why))
}

/// Whether a program or map may be put into the map (`map_fd_get_ptr` of the type).
fn check_object(maps: &Maps, progs: &Progs, map: &Map, value: &[u8]) -> Result<(), MapOpError> {
    let number = value.first_chunk::<4>().map_or(0, |n| u32::from_le_bytes(*n));
    match map.def.map_type {
        MapType::ProgArray => {
            let Some(prog) = progs.get(ProgId(number)) else {
                return Err(error(map, Errno::EBADF, format!("there is no program number {number}")));
            };
            // `bpf_prog_map_compatible`: all programs of one array are of one type.
            let array = map.ops.as_any().downcast_ref::<super::FdArray>();
            let other = array.and_then(|a| a.iter().find_map(|(_, n)| progs.get(ProgId(n))));
            match other.filter(|o| o.prog_type != prog.prog_type) {
                Some(o) => {
                    let (name, own, theirs) = (&prog.linked.name, prog.prog_type, o.prog_type);
                    let why = format!("program '{name}' is of type {own}, those in the array of {theirs}");
                    Err(error(map, Errno::EINVAL, why))
                }
                None => Ok(()),
            }
        }
        MapType::ArrayOfMaps | MapType::HashOfMaps => {
            let Some(inner) = maps.get(MapId(number)) else {
                return Err(error(map, Errno::EBADF, format!("there is no map number {number}")));
            };
            let why = map.def.inner.as_ref().and_then(|t| map_in_map::mismatch(t, inner));
            why.map_or(Ok(()), |why| Err(error(map, Errno::EINVAL, format!("'{}': {why}", inner.def.name))))
        }
        _ => Ok(()),
    }
}
