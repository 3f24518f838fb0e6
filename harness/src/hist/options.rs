//! How a table is printed as histograms: bcc's parameters of `print_log2_hist` and `print_linear_hist`.

use std::fmt;

use super::linear::linear_rows;
use super::log2::log2_rows;
use super::{LINEAR_SLOTS, LOG2_SLOTS, Slot};
use crate::error::Error;
use crate::value::Value;

/// What is to be printed. A text is the unit of the values; a pair of texts is that and the heading of sections.
///
/// ```
/// use bpf_harness::hist::Hist;
/// let hist = Hist::new("usecs").section_header("disk").section_print_fn(|disk| format!("/dev/{}", disk.as_str().unwrap_or("?")));
/// # let _ = hist;
/// ```
pub struct Hist<'a> {
    val_type: String,
    section_header: String,
    section_print_fn: Option<Print<'a>>,
    bucket_fn: Option<Bucket<'a>>,
    bucket_sort_fn: Option<Sort<'a>>,
    strip_leading_zero: bool,
}

type Print<'a> = Box<dyn Fn(&Value) -> String + 'a>;
type Bucket<'a> = Box<dyn Fn(&Value) -> Value + 'a>;
type Sort<'a> = Box<dyn Fn(&mut Vec<Value>) + 'a>;

impl Default for Hist<'_> {
    /// bcc's defaults.
    fn default() -> Self {
        Self::new("value")
    }
}

impl fmt::Debug for Hist<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Hist");
        out.field("val_type", &self.val_type)
            .field("section_header", &self.section_header)
            .finish_non_exhaustive()
    }
}

impl From<&str> for Hist<'_> {
    fn from(val_type: &str) -> Self {
        Self::new(val_type)
    }
}

impl From<(&str, &str)> for Hist<'_> {
    fn from((val_type, section_header): (&str, &str)) -> Self {
        Self::new(val_type).section_header(section_header)
    }
}

impl<'a> Hist<'a> {
    /// Histograms of values of a unit.
    #[must_use]
    pub fn new(val_type: impl Into<String>) -> Self {
        Self {
            val_type: val_type.into(),
            section_header: "Bucket ptr".to_owned(),
            section_print_fn: None,
            bucket_fn: None,
            bucket_sort_fn: None,
            strip_leading_zero: false,
        }
    }

    /// What stands before the value of each section.
    #[must_use]
    pub fn section_header(mut self, header: impl Into<String>) -> Self {
        self.section_header = header.into();
        self
    }

    /// How the value of a section is written.
    #[must_use]
    pub fn section_print_fn(mut self, f: impl Fn(&Value) -> String + 'a) -> Self {
        self.section_print_fn = Some(Box::new(f));
        self
    }

    /// The section that a key's first member belongs to. As in bcc, of keys that come to the same section and slot the
    /// last one counts.
    #[must_use]
    pub fn bucket_fn(mut self, f: impl Fn(&Value) -> Value + 'a) -> Self {
        self.bucket_fn = Some(Box::new(f));
        self
    }

    /// Puts the sections in order, or takes some away; they come sorted.
    #[must_use]
    pub fn bucket_sort_fn(mut self, f: impl Fn(&mut Vec<Value>) + 'a) -> Self {
        self.bucket_sort_fn = Some(Box::new(f));
        self
    }

    /// Leaves out the rows in front of the first that counts something.
    #[must_use]
    pub fn strip_leading_zero(mut self, strip: bool) -> Self {
        self.strip_leading_zero = strip;
        self
    }

    pub(crate) fn log2(&self, entries: &[(Value, u64)]) -> Result<String, Error> {
        self.text(entries, LOG2_SLOTS, |slots| log2_rows(slots, &self.val_type, self.strip_leading_zero))
    }

    pub(crate) fn linear(&self, entries: &[(Value, u64)]) -> Result<String, Error> {
        self.text(entries, LINEAR_SLOTS, |slots| linear_rows(slots, &self.val_type, self.strip_leading_zero))
    }

    fn text(
        &self,
        entries: &[(Value, u64)],
        limit: u64,
        print: impl Fn(Vec<Slot>) -> String,
    ) -> Result<String, Error> {
        if !entries.iter().any(|(key, _)| matches!(key, Value::Struct(_))) {
            let slots = entries.iter().map(|(key, count)| Ok((slot(key, limit)?, *count)));
            return Ok(print(slots.collect::<Result<_, Error>>()?));
        }
        let mut sections: Vec<(Value, Vec<Slot>)> = Vec::new();
        for (key, count) in entries {
            let (section, slot_of) = members(key)?;
            let section = self.bucket_fn.as_ref().map_or_else(|| section.clone(), |f| f(section));
            let slot = (slot(slot_of, limit)?, *count);
            match sections.iter_mut().find(|(s, _)| s.total_cmp(&section).is_eq()) {
                Some((_, slots)) => slots.push(slot),
                None => sections.push((section, vec![slot])),
            }
        }
        let mut order: Vec<Value> = sections.iter().map(|(s, _)| s.clone()).collect();
        if let Some(f) = &self.bucket_sort_fn {
            f(&mut order);
        }
        let mut out = String::new();
        for section in &order {
            let Some((_, slots)) = sections.iter().find(|(s, _)| s.total_cmp(section).is_eq()) else {
                continue;
            };
            let name = self.section_print_fn.as_ref().map_or_else(|| heading(section), |f| f(section));
            out.push_str(&format!("\n{} = {name}\n", self.section_header));
            out.push_str(&print(slots.clone()));
        }
        Ok(out)
    }
}

/// Section and slot of a structure: its first two members, without the padding that bcc names `__pad_1`.
fn members(key: &Value) -> Result<(&Value, &Value), Error> {
    let Value::Struct(members) = key else {
        return Err(Error::Invalid("keys are partly structures, partly not".to_owned()));
    };
    let mut named = members.iter().filter(|(name, _)| name != "__pad_1").map(|(_, v)| v);
    match (named.next(), named.next()) {
        (Some(section), Some(slot)) => Ok((section, slot)),
        _ => Err(Error::Invalid("a histogram's structure needs two members: section and slot".to_owned())),
    }
}

/// A slot's number. A negative one counts from the end of bcc's table, as Python's lists do.
fn slot(key: &Value, limit: u64) -> Result<u64, Error> {
    let number = match key.as_i64() {
        Some(n) if n < 0 => limit.checked_add_signed(n),
        _ => key.as_u64(),
    };
    number.filter(|n| *n < limit).ok_or_else(|| {
        let key = serde_json::to_string(key).unwrap_or_default();
        Error::Invalid(format!("{key} is no slot of a histogram: these are numbers below {limit}"))
    })
}

/// A value as the heading of a section.
pub(crate) fn heading(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(value).unwrap_or_default().trim_matches('"').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Hist;
    use crate::value::Value;

    fn key(disk: &str, slot: u64) -> Value {
        Value::from([("disk", Value::from(disk)), ("slot", slot.into())])
    }

    #[test]
    fn sections_are_named_merged_and_sorted() {
        let entries = [(key("sda1", 1), 1), (key("sda2", 1), 5), (key("sdb1", 2), 4)];
        let hist = Hist::from(("kbytes", "disk"))
            .bucket_fn(|d| {
                d.as_str().map_or(Value::Null, |d| Value::from(d.trim_end_matches(char::is_numeric)))
            })
            .section_print_fn(|d| format!("<{}>", d.as_str().unwrap_or_default()))
            .bucket_sort_fn(|sections| sections.reverse());
        let text = hist.linear(&entries).unwrap();
        let headings: Vec<_> = text.lines().filter(|l| l.starts_with("disk")).collect();
        assert_eq!(headings, ["disk = <sdb>", "disk = <sda>"]);
        // The last of two keys with the same section and slot counts.
        assert!(text.contains("        1          : 5        |"), "{text}");
    }

    #[test]
    fn leading_rows_without_counts_can_be_left_out() {
        let entries = [(Value::from(5u32), 3)];
        let stripped = Hist::new("x").strip_leading_zero(true);
        assert_eq!(stripped.linear(&entries).unwrap().lines().count(), 2);
        assert_eq!(stripped.log2(&entries).unwrap().lines().count(), 2);
        assert_eq!(Hist::new("x").log2(&entries).unwrap().lines().count(), 6);
    }

    #[test]
    fn slots_that_are_none_are_refused() {
        for (key, linear) in [
            (Value::from(65u32), true),
            (Value::from(1025u32), false),
            (Value::from(-66), true),
            (Value::from("x"), false),
        ] {
            assert!(Hist::new("x").log2(&[(key.clone(), 1)]).is_err(), "{key:?}");
            assert_eq!(Hist::new("x").linear(&[(key, 1)]).is_ok(), linear);
        }
        assert!(Hist::new("x").log2(&[(Value::from([("one", 1u32)]), 1)]).is_err());
    }

    #[test]
    fn a_negative_slot_counts_from_the_end() {
        let text = Hist::new("x").log2(&[(Value::from(-1), 1)]).unwrap();
        assert_eq!(text.lines().count(), 65);
    }

    #[test]
    fn nothing_prints_nothing() {
        assert_eq!(Hist::default().log2(&[]).unwrap(), "");
        assert_eq!(Hist::default().linear(&[]).unwrap(), "");
    }
}
