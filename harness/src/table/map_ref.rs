//! One map of a machine, to be read and changed as user space does.

use bpf_helpers_mock::Errno;
use bpf_helpers_mock::maps::{Entry as Element, MapId, MapOpError};
use bpf_vm_shim::object::MapType;

use super::{Codec, Entry, Table};
use crate::bpf::Maps;
use crate::error::Error;
use crate::value::Value;

/// A map, as the `bpf` system call sees it. Keys and values go through its BTF types.
///
/// ```
/// use bpf_harness::Bpf;
/// # let object = bpf_fixtures::object("vfsreadlat").unwrap();
/// let mut bpf = Bpf::load(object)?;
/// let mut start = bpf.map("start")?;
/// start.update(7u32, 1000u64)?;
/// assert_eq!(start.get(7u32)?, Some(1000u64.into()));
/// start.delete(7u32)?;
/// assert!(start.table()?.is_empty());
/// assert!(start.update("seven", 1u64).unwrap_err().to_string().contains("does not fit"));
/// # Ok::<(), bpf_harness::Error>(())
/// ```
#[derive(Debug)]
pub struct MapRef<'a> {
    pub(super) maps: Maps<'a>,
    pub(super) id: MapId,
    pub(super) name: String,
    pub(super) codec: Codec,
}

impl<'a> MapRef<'a> {
    pub(crate) fn new(maps: Maps<'a>, name: &str) -> Result<Self, Error> {
        let all = &maps.machine.kernel.maps;
        let id = maps.machine.map_by_name(name);
        let found = id.and_then(|id| Some((id, all.get(id)?)));
        let names = || all.iter().map(|(_, m)| m.def.name.as_str());
        let (id, map) = found.ok_or_else(|| Error::not_found("map", name, names()))?;
        let codec = Codec::new(&map.def, map.btf.as_ref());
        Ok(Self { id, name: map.def.name.clone(), codec, maps })
    }

    /// The map's number in its machine.
    #[must_use]
    pub fn id(&self) -> MapId {
        self.id
    }

    /// A copy of its contents.
    ///
    /// # Errors
    /// If the type is not simulated or cannot be walked, or the contents do not fit their types.
    pub fn table(&mut self) -> Result<Table, Error> {
        let entries = self.maps.entries(self.id)?;
        Ok(Table::new(self.name.clone(), self.decode_all(entries)?))
    }

    pub(super) fn decode_all(&self, entries: Vec<Element>) -> Result<Vec<Entry>, Error> {
        let mut out = Vec::with_capacity(entries.len());
        for e in entries {
            let value = self.decode(e.values)?;
            out.push(Entry { key: self.codec.key(&e.key)?, value });
        }
        Ok(out)
    }

    /// The value of a key; `None` if it is not there.
    ///
    /// # Errors
    /// If the key does not fit its type, or the map has no keys.
    pub fn get(&mut self, key: impl Into<Value>) -> Result<Option<Value>, Error> {
        let key = self.codec.key_bytes(&key.into())?;
        self.maps.read(self.id, &key)?.map(|v| self.decode(v)).transpose()
    }

    /// Sets the value of a key, whether it is there or not.
    ///
    /// # Errors
    /// If key or value do not fit their types, or the kernel would refuse.
    pub fn update(&mut self, key: impl Into<Value>, value: impl Into<Value>) -> Result<(), Error> {
        self.update_flags(key, value, 0)
    }

    /// As [`MapRef::update`], with flags (`BPF_NOEXIST`, ...).
    ///
    /// # Errors
    /// As [`MapRef::update`].
    pub fn update_flags(
        &mut self,
        key: impl Into<Value>,
        value: impl Into<Value>,
        flags: u64,
    ) -> Result<(), Error> {
        let key = self.codec.key_bytes(&key.into())?;
        let value = self.codec.value_bytes(&value.into())?;
        Ok(self.maps.update(self.id, &key, &value, flags)?)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// If it is not there or does not fit its type.
    pub fn delete(&mut self, key: impl Into<Value>) -> Result<(), Error> {
        let key = self.codec.key_bytes(&key.into())?;
        Ok(self.maps.delete(self.id, &key)?)
    }

    /// Removes all keys; the elements of types that always have all of theirs (arrays, storage of control groups) are set to
    /// zero. What programs add meanwhile may be there afterwards.
    ///
    /// # Errors
    /// If the type is not simulated or cannot be changed.
    pub fn clear(&mut self) -> Result<(), Error> {
        use MapType as T;
        if matches!(self.map_type(), T::Array | T::PercpuArray | T::CgroupStorage | T::PercpuCgroupStorage) {
            return self.zero();
        }
        for e in self.maps.entries(self.id)? {
            unless_gone(self.maps.delete(self.id, &e.key))?;
        }
        Ok(())
    }

    /// Adds a value to a queue, stack or bloom filter.
    ///
    /// # Errors
    /// If it does not fit its type, or the map is full.
    pub fn push(&mut self, value: impl Into<Value>) -> Result<(), Error> {
        let value = self.codec.value_bytes(&value.into())?;
        Ok(self.maps.push(self.id, &value, 0)?)
    }

    /// Takes the next value out of a queue or stack; `None` if it is empty.
    ///
    /// # Errors
    /// If the map is neither.
    pub fn pop(&mut self) -> Result<Option<Value>, Error> {
        self.maps.pop(self.id)?.map(|v| self.codec.value(&v)).transpose()
    }

    pub(super) fn map_type(&self) -> MapType {
        self.maps.machine.kernel.maps.get(self.id).map_or(MapType::Unspec, |m| m.def.map_type)
    }

    /// One value, or one per CPU.
    pub(super) fn decode(&self, values: Vec<Vec<u8>>) -> Result<Value, Error> {
        use MapType as T;
        let percpu = matches!(
            self.map_type(),
            T::PercpuHash | T::LruPercpuHash | T::PercpuArray | T::PercpuCgroupStorage
        );
        match values.as_slice() {
            [one] if !percpu => self.codec.value(one),
            many => Ok(Value::PerCpu(many.iter().map(|v| self.codec.value(v)).collect::<Result<_, _>>()?)),
        }
    }
}

/// A program may have removed a key since it was listed.
pub(super) fn unless_gone(done: Result<(), MapOpError>) -> Result<(), MapOpError> {
    match done {
        Err(MapOpError::Errno { errno: Errno::ENOENT, .. }) => Ok(()),
        done => done,
    }
}

/// Bytes of one value, or of one per CPU, each padded as the kernel does.
pub(super) fn stored_size(values: &[Vec<u8>]) -> usize {
    match values {
        [one] => one.len(),
        many => many.iter().map(|v| v.len().next_multiple_of(8)).sum(),
    }
}
