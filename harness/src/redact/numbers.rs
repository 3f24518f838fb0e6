//! Numbers for what is replaced, in order of appearance.

use std::collections::BTreeMap;

/// What has been replaced so far, by kind.
#[derive(Clone, Default, Debug)]
pub(super) struct Numbers {
    given: BTreeMap<String, BTreeMap<String, usize>>,
}

impl Numbers {
    /// `[kind N]` for something, the same whenever it comes again. What is a label already stays as it is.
    pub(super) fn label(&mut self, kind: &str, key: &str) -> String {
        if is_label(key) {
            return key.to_owned();
        }
        let given = self.given.entry(kind.to_owned()).or_default();
        let next = given.len() + 1;
        let number = given.entry(key.to_owned()).or_insert(next);
        format!("[{kind} {number}]")
    }
}

/// Whether something has been replaced before: `[time]`, `[pid 3]`.
pub(super) fn is_label(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) else { return false };
    let word = inner.split_once(' ').map_or(inner, |(word, number)| {
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) { "" } else { word }
    });
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase())
}
