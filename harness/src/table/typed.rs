//! A map whose keys and values are Rust types.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::MapRef;
use crate::error::Error;
use crate::value::Value;

/// A map as a table of Rust types; see [`Value::to`] for what fits what.
///
/// ```
/// use bpf_harness::Bpf;
/// # let object = bpf_fixtures::object("hostapi").unwrap();
/// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
/// struct Key { disk: String, slot: u64 }
///
/// let mut bpf = Bpf::load(object)?;
/// let mut disks = bpf.get_table("disks")?.typed::<Key, u64>();
/// disks.update(&Key { disk: "sda".into(), slot: 2 }, &7)?;
/// assert_eq!(disks.items()?, [(Key { disk: "sda".into(), slot: 2 }, 7)]);
/// # Ok::<(), bpf_harness::Error>(())
/// ```
#[derive(Debug)]
pub struct TypedTable<'a, K, V> {
    map: MapRef<'a>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<'a> MapRef<'a> {
    /// The map as a table of Rust types. Values of per-CPU maps are lists.
    #[must_use]
    pub fn typed<K, V>(self) -> TypedTable<'a, K, V> {
        TypedTable { map: self, types: PhantomData }
    }
}

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned> TypedTable<'_, K, V> {
    /// The value of a key; `None` if it is not there.
    ///
    /// # Errors
    /// If key or value do not fit.
    pub fn get(&mut self, key: &K) -> Result<Option<V>, Error> {
        let key = self.value("the key", key)?;
        match self.map.get(key)? {
            Some(value) => self.typed("a value", &value).map(Some),
            None => Ok(None),
        }
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// If they do not fit, or the kernel would refuse.
    pub fn update(&mut self, key: &K, value: &V) -> Result<(), Error> {
        let (key, value) = (self.value("the key", key)?, self.value("the value", value)?);
        self.map.update(key, value)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// If it is not there or does not fit.
    pub fn delete(&mut self, key: &K) -> Result<(), Error> {
        let key = self.value("the key", key)?;
        self.map.delete(key)
    }

    /// Keys and values, sorted by key.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn items(&mut self) -> Result<Vec<(K, V)>, Error> {
        self.map.table()?.typed()
    }

    fn value(&self, what: &str, from: &impl Serialize) -> Result<Value, Error> {
        let wrong = |e: serde_json::Error| {
            Error::Invalid(format!("{what} of map '{}' cannot be taken apart: {e}", self.map.name))
        };
        Value::deserialize(serde_json::to_value(from).map_err(wrong)?).map_err(wrong)
    }

    fn typed<T: DeserializeOwned>(&self, what: &str, value: &Value) -> Result<T, Error> {
        value.to().map_err(|source| Error::value(format!("{what} of map '{}'", self.map.name), source))
    }
}
