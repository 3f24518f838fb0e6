//! Which element of an LRU map goes first.
//!
//! The kernel's order (`kernel/bpf/bpf_lru_list.c`) is approximate and depends on batches and timing. Here it is exact:
//! when the map is full, the element goes whose last use is the longest ago. Use is its insertion, an update, and a
//! program's lookup; the host's lookups do not count, as in the kernel. With `BPF_F_NO_COMMON_LRU` each CPU has a list
//! of its own with its share of the entries, and makes room in its own list only.

use super::index::SlotId;

/// No neighbour.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    older: u32,
    newer: u32,
    list: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    oldest: u32,
    newest: u32,
    len: u32,
}

/// Elements in order of use.
#[derive(Clone, Debug)]
pub(super) struct Lru {
    links: Vec<Link>,
    lists: Vec<List>,
    quota: u32,
}

impl Lru {
    /// One list of `max_entries`, or one for each CPU with its share.
    pub(super) fn new(max_entries: u32, per_cpu: Option<u32>) -> Self {
        let count = per_cpu.unwrap_or(1).max(1);
        let list = List { oldest: NONE, newest: NONE, len: 0 };
        Self { links: Vec::new(), lists: vec![list; count as usize], quota: max_entries.div_ceil(count) }
    }

    fn list_of(&self, cpu: u32) -> u32 {
        if self.lists.len() > 1 { cpu % self.lists.len() as u32 } else { 0 }
    }

    /// The element that must go before `cpu` may add one.
    pub(super) fn victim(&self, cpu: u32) -> Option<SlotId> {
        let list = self.lists.get(self.list_of(cpu) as usize)?;
        (list.len >= self.quota && list.oldest != NONE).then_some(SlotId(list.oldest.into()))
    }

    /// A new element, added by `cpu`.
    pub(super) fn insert(&mut self, slot: SlotId, cpu: u32) {
        let list = self.list_of(cpu);
        let at = slot.0 as usize;
        if self.links.len() <= at {
            self.links.resize(at + 1, Link { older: NONE, newer: NONE, list: NONE });
        }
        self.append(at, list);
    }

    /// The element is used.
    pub(super) fn touch(&mut self, slot: SlotId) {
        let at = slot.0 as usize;
        if let Some(list) = self.unlink(at) {
            self.append(at, list);
        }
    }

    /// The element is gone.
    pub(super) fn remove(&mut self, slot: SlotId) {
        self.unlink(slot.0 as usize);
    }

    fn append(&mut self, at: usize, list: u32) {
        let Some(head) = self.lists.get_mut(list as usize) else { return };
        let older = std::mem::replace(&mut head.newest, at as u32);
        head.len += 1;
        if older == NONE {
            head.oldest = at as u32;
        } else if let Some(l) = self.links.get_mut(older as usize) {
            l.newer = at as u32;
        }
        if let Some(link) = self.links.get_mut(at) {
            *link = Link { older, newer: NONE, list };
        }
    }

    /// Takes an element out and tells its list.
    fn unlink(&mut self, at: usize) -> Option<u32> {
        let Link { older, newer, list } = *self.links.get(at)?;
        let head = self.lists.get_mut(list as usize)?;
        head.len -= 1;
        match self.links.get_mut(older as usize) {
            Some(l) => l.newer = newer,
            None => head.oldest = newer,
        }
        match self.links.get_mut(newer as usize) {
            Some(l) => l.older = older,
            None => head.newest = older,
        }
        self.links.get_mut(at)?.list = NONE;
        Some(list)
    }
}
