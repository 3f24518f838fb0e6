//! Tables: the contents of maps as typed values, sorted by key.
//!
//! A [`Table`] is a copy of a map's contents; it serialises as a list of `{key, value}`, so that
//! `insta::assert_yaml_snapshot!(table)` works as it is. A [`MapRef`] is the map itself, to be changed.

mod codec;
mod map_ref;

pub(crate) use codec::Codec;
pub use map_ref::MapRef;

use serde::Serialize;

use crate::hist;
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

    fn histogram(&self, header: &str, print: impl Fn(Vec<hist::Slot>) -> String) -> String {
        let count = |e: &Entry| e.value.sum().unwrap_or(0);
        let sectioned = |e: &Entry| match &e.key {
            Value::Struct(members) => match members.as_slice() {
                [(_, section), (_, slot), ..] => Some((text(section), slot.as_u64()?, count(e))),
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

/// A value as the heading of a section.
fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(value).unwrap_or_default().trim_matches('"').to_owned(),
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
