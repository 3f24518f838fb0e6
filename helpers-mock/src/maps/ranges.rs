//! Sets of pages as ranges (`kernel/bpf/range_tree.c`).

use std::collections::BTreeMap;

/// How a place for new pages is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// The first that is large enough (a maple tree, before 6.13).
    First,
    /// The smallest that is large enough; of equals the one that changed last (a range tree).
    Best,
}

/// Disjoint ranges: first page to last page, and when the range took that shape.
#[derive(Clone, Default, Debug)]
pub(super) struct Ranges {
    ranges: BTreeMap<u32, (u32, u64)>,
    changes: u64,
}

impl Ranges {
    fn insert(&mut self, first: u32, last: u32) {
        self.changes += 1;
        self.ranges.insert(first, (last, self.changes));
    }

    /// The range that holds a page.
    fn around(&self, page: u32) -> Option<(u32, u32)> {
        let (first, (last, _)) = self.ranges.range(..=page).next_back()?;
        (*last >= page).then_some((*first, *last))
    }

    /// Whether all pages of a range are in the set.
    pub(super) fn contains(&self, page: u32, count: u32) -> bool {
        let Some(end) = count.checked_sub(1).and_then(|n| page.checked_add(n)) else { return false };
        self.around(page).is_some_and(|(_, last)| last >= end)
    }

    /// Takes pages out.
    pub(super) fn clear(&mut self, page: u32, count: u32) {
        let Some(end) = count.checked_sub(1).map(|n| page.saturating_add(n)) else { return };
        let start = self.around(page).map_or(page, |(first, _)| first);
        let hit: Vec<(u32, u32)> = self.ranges.range(start..=end).map(|(f, (l, _))| (*f, *l)).collect();
        for (first, last) in hit {
            self.ranges.remove(&first);
            if first < page {
                self.insert(first, page - 1);
            }
            if last > end {
                self.insert(end + 1, last);
            }
        }
    }

    /// Puts pages in; neighbours become one range.
    pub(super) fn set(&mut self, page: u32, count: u32) {
        if count == 0 || self.contains(page, count) {
            return;
        }
        self.clear(page, count);
        let (mut first, mut last) = (page, page.saturating_add(count - 1));
        if let Some((before, _)) = page.checked_sub(1).and_then(|p| self.around(p)) {
            self.ranges.remove(&before);
            first = before;
        }
        if let Some((after, end)) = last.checked_add(1).and_then(|p| self.around(p)) {
            self.ranges.remove(&after);
            last = end;
        }
        self.insert(first, last);
    }

    /// The first page of a range of at least `count`.
    pub(super) fn find(&self, count: u32, fit: Fit) -> Option<u32> {
        let size = |first: u32, last: u32| u64::from(last - first) + 1;
        let mut fitting = self.ranges.iter().filter(|(f, (l, _))| size(**f, *l) >= count.into());
        let found = match fit {
            Fit::First => fitting.next(),
            Fit::Best => fitting.min_by_key(|(f, (l, seq))| (size(**f, *l), std::cmp::Reverse(*seq))),
        };
        found.map(|(first, _)| *first)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{Fit, Ranges};

    #[test]
    fn a_gap_is_filled_before_the_rest_is_touched() {
        let mut free = Ranges::default();
        free.set(0, 100);
        free.clear(0, 10);
        free.set(4, 1);
        free.set(6, 2);
        assert_eq!(free.find(1, Fit::Best), Some(4));
        assert_eq!(free.find(2, Fit::Best), Some(6));
        assert_eq!(free.find(3, Fit::Best), Some(10));
        assert_eq!(free.find(91, Fit::Best), None);
        free.set(2, 1);
        assert_eq!(free.find(1, Fit::Best), Some(2), "of equals the last");
        free.clear(2, 1);
        assert_eq!(free.find(2, Fit::First), Some(6));
    }

    proptest! {
        #[test]
        fn ranges_are_a_set(changes in prop::collection::vec((any::<bool>(), 0u32..40, 1u32..12), 0..40)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (set, page, count) in changes {
                for p in page..page + count {
                    if set { model.insert(p); } else { model.remove(&p); }
                }
                if set { ranges.set(page, count) } else { ranges.clear(page, count) }
                for p in 0..60 {
                    prop_assert_eq!(ranges.contains(p, 1), model.contains(&p));
                    prop_assert_eq!(ranges.contains(p, 3), (p..p + 3).all(|p| model.contains(&p)));
                }
                let first = (0..60).find(|p| (*p..p + 4).all(|p| model.contains(&p)));
                prop_assert_eq!(ranges.find(4, Fit::First), first);
            }
        }
    }
}
