//! Timers and work items that programs set up in map values (`bpf_timer`, `bpf_wq`; `kernel/bpf/helpers.c`).
//!
//! The map value holds the item's number, so whatever zeroes or frees the value cancels it. When items are due is the
//! clock's business: its alarms have the same numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bpf_vm_shim::exec::Code;

use crate::maps::MapId;
use crate::progs::LoadedProg;

/// What a deferred call belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeferredKind {
    /// A `struct bpf_timer` on one of the clocks.
    Timer,
    /// A `struct bpf_wq`.
    Work,
    /// A `struct bpf_task_work`.
    TaskWork,
}

/// A timer or work item.
#[derive(Clone, Debug)]
pub struct Deferred {
    /// What it is.
    pub kind: DeferredKind,
    /// Where its structure is in guest memory.
    pub addr: u64,
    /// The map whose value holds it.
    pub map: MapId,
    /// The function to call, in which code, on behalf of which program.
    pub callback: Option<(u64, Arc<Code>, Arc<LoadedProg>)>,
    /// The CPU that it was started on.
    pub cpu: u32,
}

/// All timers and work items, by number.
#[derive(Clone, Default, Debug)]
pub struct Timers {
    items: BTreeMap<u64, Deferred>,
    last: u64,
    /// The item whose callback runs now.
    pub(crate) running: Option<u64>,
}

impl Timers {
    /// Adds an item and gives its number, never 0.
    pub(crate) fn add(&mut self, item: Deferred) -> u64 {
        self.last += 1;
        self.items.insert(self.last, item);
        self.last
    }

    /// An item by its number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Deferred> {
        self.items.get(&number)
    }

    /// An item by the number that its structure at an address holds.
    pub(crate) fn get_mut(&mut self, number: u64, addr: u64) -> Option<&mut Deferred> {
        self.items.get_mut(&number).filter(|i| i.addr == addr)
    }

    /// Forgets an item whose structure is gone.
    pub(crate) fn remove(&mut self, number: u64) {
        self.items.remove(&number);
    }
}
