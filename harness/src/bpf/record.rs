//! One record of a perf buffer or ring buffer, and how it becomes a value.

use std::ops::Deref;
use std::sync::Arc;

use bpf_vm_shim::btf::{Btf, Kind, Type, TypeId};
use serde::de::DeserializeOwned;

use super::Bpf;
use crate::error::Error;
use crate::value::{Value, decode};

/// A record as a program has sent it. It is its bytes, and can be decoded through BTF.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    data: &'a [u8],
    types: &'a RecordTypes,
}

/// How the records of a map are decoded.
#[derive(Clone, Debug)]
pub(super) struct RecordTypes {
    pub(super) map: String,
    /// The type that was chosen, or that the map names.
    pub(super) chosen: Option<(Btf, TypeId)>,
    /// Structures that programs may send, of the object's own types.
    pub(super) structs: Arc<[(Btf, TypeId, String, u64)]>,
}

impl<'a> Record<'a> {
    pub(super) fn new(data: &'a [u8], types: &'a RecordTypes) -> Self {
        Self { data, types }
    }

    /// Its bytes.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data.len()
    }

    /// The record as a value: of the type that was named when the buffer was opened, else of the only structure of the
    /// object that has its size.
    ///
    /// # Errors
    /// If no structure, or more than one, has its size; if it does not fit.
    pub fn value(&self) -> Result<Value, Error> {
        let (btf, ty) = self.types.type_of(self.data.len() as u64)?;
        let what = || format!("a record of map '{}'", self.types.map);
        decode(btf, ty, self.data).map_err(|source| Error::value(what(), source))
    }

    /// The record as a value of the caller's (bcc's `b["events"].event(data)`): members go by their names. Characters
    /// fit `String`, byte arrays fit `Vec<u8>`, enumerators fit `String` and enumerations.
    ///
    /// # Errors
    /// As [`Record::value`], and if it does not fit the caller's type.
    pub fn event<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let value = self.value()?;
        value.to().map_err(|source| Error::value(format!("a record of map '{}'", self.types.map), source))
    }
}

impl Deref for Record<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.data
    }
}

impl RecordTypes {
    fn type_of(&self, size: u64) -> Result<(&Btf, TypeId), Error> {
        if let Some((btf, ty)) = &self.chosen {
            return Ok((btf, *ty));
        }
        let fits: Vec<_> = self.structs.iter().filter(|s| s.3 == size).collect();
        match fits.as_slice() {
            [(btf, ty, ..)] => Ok((btf, *ty)),
            [] => Err(Error::Invalid(format!(
                "a record of map '{}' has {size} bytes, and no structure of the object has; name its type with \
                 `record_type()`, and see that the object has it in its BTF",
                self.map
            ))),
            many => {
                let names: Vec<_> = many.iter().map(|s| s.2.as_str()).collect();
                Err(Error::Invalid(format!(
                    "a record of map '{}' may be one of {}: name its type with `record_type()`",
                    self.map,
                    names.join(", ")
                )))
            }
        }
    }
}

impl Bpf {
    /// How a map's records are decoded: by a type's name, by the map's own value type, or by size.
    pub(super) fn record_types(&self, map: &str, type_name: Option<&str>) -> Result<RecordTypes, Error> {
        let named = type_name.map(|name| self.find_type(name)).transpose()?;
        let own = || {
            let id = self.machine.map_by_name(map)?;
            let map = self.machine.kernel.maps.get(id)?;
            let (btf, ty) = (map.btf.clone()?, map.def.value_type?);
            let is_struct = matches!(btf.resolve(ty).ok()?.1, Type::Struct(_));
            is_struct.then_some((btf, ty))
        };
        let chosen = named.or_else(own);
        Ok(RecordTypes { map: map.to_owned(), chosen, structs: self.event_structs().into() })
    }

    /// Structures of the objects that may be records: those that are named, are none of the kernel's and no map's
    /// definition, key or value.
    fn event_structs(&self) -> Vec<(Btf, TypeId, String, u64)> {
        let kernel = self.machine.kernel.profile.btf.as_ref();
        let maps = self.machine.kernel.maps.iter();
        let used: Vec<_> = maps.flat_map(|(_, m)| [m.def.key_type, m.def.value_type]).flatten().collect();
        let mut found = Vec::new();
        for btf in self.objects.iter().filter_map(|o| o.object.btf.as_ref()) {
            for (id, ty) in btf.iter_own() {
                let Type::Struct(s) = ty else { continue };
                let theirs = kernel.is_some_and(|k| k.find(Kind::Struct, s.name).is_some());
                if !s.name.is_empty() && s.size > 0 && !theirs && !used.contains(&id) {
                    found.push((btf.clone(), id, format!("struct {}", s.name), u64::from(s.size)));
                }
            }
        }
        found
    }
}
