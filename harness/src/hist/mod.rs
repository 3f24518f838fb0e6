//! Histograms in bcc's formats, byte for byte.
//!
//! ```
//! let text = bpf_harness::hist::log2([(1, 3), (3, 211), (7, 1), (8, 800)], "usecs");
//! assert_eq!(text.lines().nth(3), Some(
//!     "         4 -> 7          : 211      |**********                              |"
//! ));
//! ```

mod linear;
mod log2;
mod options;

pub use linear::linear;
pub use log2::log2;
pub use options::Hist;
pub(crate) use options::heading;

use std::collections::BTreeMap;

/// A slot's number and its count.
pub type Slot = (u64, u64);

/// The highest slot that a table can have: bcc's `log2_index_max`.
const LOG2_SLOTS: u64 = 65;
/// bcc's `linear_index_max`.
const LINEAR_SLOTS: u64 = 1025;

/// One histogram per section, for keys of two members: `HEADER = VALUE` above each, in order of first appearance.
///
/// ```
/// use bpf_harness::hist::{linear, sections};
/// let text = sections([("sda", 1, 2), ("sdb", 1, 1)], "disk", |slots| linear(slots, "kbytes"));
/// assert!(text.starts_with("\ndisk = sda\n     kbytes"));
/// ```
pub fn sections<K: ToString>(
    items: impl IntoIterator<Item = (K, u64, u64)>,
    header: &str,
    print: impl Fn(Vec<Slot>) -> String,
) -> String {
    let mut found: Vec<(String, Vec<Slot>)> = Vec::new();
    for (section, slot, count) in items {
        let section = section.to_string();
        match found.iter_mut().find(|(name, _)| *name == section) {
            Some((_, slots)) => slots.push((slot, count)),
            None => found.push((section, vec![(slot, count)])),
        }
    }
    let mut out = String::new();
    for (section, slots) in found {
        out.push_str(&format!("\n{header} = {section}\n"));
        out.push_str(&print(slots));
    }
    out
}

/// Counts by slot; slots beyond the limit are dropped, as bcc's fixed tables have no room for them.
fn dense(slots: impl IntoIterator<Item = Slot>, limit: u64) -> Counts {
    let mut counts = BTreeMap::new();
    for (slot, count) in slots {
        if slot < limit {
            counts.insert(slot, count);
        }
    }
    Counts(counts)
}

struct Counts(BTreeMap<u64, u64>);

impl Counts {
    fn get(&self, slot: u64) -> u64 {
        self.0.get(&slot).copied().unwrap_or(0)
    }

    /// The last slot that is not zero.
    fn last(&self) -> Option<u64> {
        self.0.iter().rev().find(|(_, c)| **c > 0).map(|(s, _)| *s)
    }

    fn max(&self) -> u64 {
        self.0.values().copied().max().unwrap_or(0)
    }
}

/// `count` of `max` as stars in a field of `width`; more than the maximum cannot be.
fn stars(count: u64, max: u64, width: u64) -> String {
    let full = match max {
        0 => 0,
        max => (u128::from(width) * u128::from(count) / u128::from(max)) as usize,
    };
    format!("{:<width$}", "*".repeat(full), width = width as usize)
}
