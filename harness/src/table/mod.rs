//! Tables: the contents of maps as typed values, sorted by key.
//!
//! A [`Table`] is a copy of a map's contents; it serialises as a list of `{key, value}`, so that
//! `insta::assert_yaml_snapshot!(table)` works as it is. A [`MapRef`] is the map itself, to be changed.

mod codec;
mod live;
mod map_ref;
mod special;
mod typed;

pub(crate) use codec::Codec;
pub use map_ref::MapRef;
pub use typed::TypedTable;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::hist::{self, Hist, heading};
use crate::value::Value;

/// One element of a table.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: Value,
    /// The value; of per-CPU maps a list, in order of CPU.
    pub value: Value,
}

/// The contents of a map at one moment.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Table {
    /// The map's name.
    pub name: String,
    entries: Vec<Entry>,
}

impl Table {
    pub(crate) fn new(name: String, mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| a.key.total_cmp(&b.key));
        Self { name, entries }
    }

    /// The elements, sorted by key.
    #[must_use]
    pub fn items(&self) -> &[Entry] {
        &self.entries
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &Value> {
        self.entries.iter().map(|e| &e.key)
    }

    /// The values, in order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.entries.iter().map(|e| &e.value)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: impl Into<Value>) -> Option<&Value> {
        let key = key.into();
        self.entries.iter().find(|e| e.key.total_cmp(&key).is_eq()).map(|e| &e.value)
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The table without the elements whose values are zero all over: what an array of counters has counted.
    #[must_use]
    pub fn nonzero(mut self) -> Self {
        self.entries.retain(|e| !is_zero(&e.value));
        self
    }

    /// bcc's `print_log2_hist`: numbers by slot. Keys of two members give one histogram for each value of the first.
    #[must_use]
    pub fn log2_hist(&self, val_type: &str, section_header: &str) -> String {
        self.histogram(section_header, |slots| hist::log2(slots, val_type))
    }

    /// bcc's `print_linear_hist`, as [`Table::log2_hist`].
    #[must_use]
    pub fn linear_hist(&self, val_type: &str, section_header: &str) -> String {
        self.histogram(section_header, |slots| hist::linear(slots, val_type))
    }

    /// bcc's `print_log2_hist` as text, with all of its parameters.
    ///
    /// # Errors
    /// If a key is no slot: bcc's table has slots 0 to 64.
    pub fn log2_hist_with<'a>(&self, hist: impl Into<Hist<'a>>) -> Result<String, Error> {
        hist.into().log2(&self.counts())
    }

    /// bcc's `print_linear_hist` as text, with all of its parameters.
    ///
    /// # Errors
    /// If a key is no slot: bcc's table has slots 0 to 1024.
    pub fn linear_hist_with<'a>(&self, hist: impl Into<Hist<'a>>) -> Result<String, Error> {
        hist.into().linear(&self.counts())
    }

    /// Prints the table as [`Table::log2_hist_with`] gives it.
    ///
    /// # Errors
    /// As there.
    pub fn print_log2_hist<'a>(&self, hist: impl Into<Hist<'a>>) -> Result<(), Error> {
        print!("{}", self.log2_hist_with(hist)?);
        Ok(())
    }

    /// Prints the table as [`Table::linear_hist_with`] gives it.
    ///
    /// # Errors
    /// As there.
    pub fn print_linear_hist<'a>(&self, hist: impl Into<Hist<'a>>) -> Result<(), Error> {
        print!("{}", self.linear_hist_with(hist)?);
        Ok(())
    }

    /// The elements as Rust types, sorted by key; see [`Value::to`]. Of per-CPU maps the value is a list.
    ///
    /// # Errors
    /// If a key or value does not fit.
    pub fn typed<K: DeserializeOwned, V: DeserializeOwned>(&self) -> Result<Vec<(K, V)>, Error> {
        let fit = |source| Error::value(format!("an element of table '{}'", self.name), source);
        let typed = self.entries.iter().map(|e| Ok((e.key.to().map_err(fit)?, e.value.to().map_err(fit)?)));
        typed.collect()
    }

    fn counts(&self) -> Vec<(Value, u64)> {
        self.entries.iter().map(|e| (e.key.clone(), e.value.sum().unwrap_or(0))).collect()
    }

    fn histogram(&self, header: &str, print: impl Fn(Vec<hist::Slot>) -> String) -> String {
        let count = |e: &Entry| e.value.sum().unwrap_or(0);
        let sectioned = |e: &Entry| match &e.key {
            Value::Struct(members) => match members.as_slice() {
                [(_, section), (_, slot), ..] => Some((heading(section), slot.as_u64()?, count(e))),
                _ => None,
            },
            _ => None,
        };
        let sections: Vec<_> = self.entries.iter().filter_map(sectioned).collect();
        if !sections.is_empty() {
            return hist::sections(sections, header, print);
        }
        print(self.entries.iter().filter_map(|e| Some((e.key.as_u64()?, count(e)))).collect())
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Opaque(_) => true,
        Value::List(v) | Value::PerCpu(v) => v.iter().all(is_zero),
        Value::Struct(v) => v.iter().all(|(_, v)| is_zero(v)),
        Value::Text(t) => t.is_empty(),
        Value::Bytes(b) => b.iter().all(|b| *b == 0),
        Value::Float(f) => *f == 0.0,
        Value::Wide(v) => *v == 0,
        Value::Enum(_) => false,
        other => other.as_i64() == Some(0),
    }
}

impl Serialize for Table {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(&self.entries)
    }
}

impl<'a> IntoIterator for &'a Table {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Table};
    use crate::value::Value;

    fn table(entries: &[(Value, Value)]) -> Table {
        let entries = entries.iter().map(|(k, v)| Entry { key: k.clone(), value: v.clone() });
        Table::new("t".to_owned(), entries.collect())
    }

    #[test]
    fn keys_are_sorted_by_value_and_not_by_bytes() {
        let t =
            table(&[(256u32.into(), 1u32.into()), (2u32.into(), 2u32.into()), ((-1).into(), 0u32.into())]);
        assert_eq!(t.keys().cloned().collect::<Vec<_>>(), [Value::from(-1), 2u32.into(), 256u32.into()]);
        assert_eq!(t.get(256u32), Some(&Value::Uint(1)));
        assert_eq!(t.nonzero().len(), 2);
    }

    #[test]
    fn struct_keys_give_a_histogram_each() {
        let key = |disk: &str, slot: u32| Value::from([("disk", Value::from(disk)), ("slot", slot.into())]);
        let t = table(&[(key("sda", 2), 4u32.into()), (key("sdb", 1), 1u32.into())]);
        let text = t.log2_hist("usecs", "disk");
        assert!(text.starts_with("\ndisk = sda\n     usecs"), "{text}");
        assert!(text.contains("\ndisk = sdb\n"), "{text}");
    }

    #[test]
    fn a_table_is_a_list_for_serde() {
        let t = table(&[(1u32.into(), Value::PerCpu(vec![1u32.into(), 2u32.into()]))]);
        assert_eq!(serde_json::to_string(&t).unwrap(), r#"[{"key":1,"value":[1,2]}]"#);
    }
}
