//! Perf events behind perf event arrays: per-CPU output rings and counters (`kernel/events/`).
//!
//! Nothing is open until somebody opens it, as libbpf's `perf_buffer__new` does: until then programs get `-ENOENT`
//! (`get_map_perf_counter`, `__bpf_perf_event_output`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::errno::Errno;
use crate::maps::MapId;

const PAGE: u64 = 4096;
/// Header of a record (`struct perf_event_header`).
const HEADER: u64 = 8;
/// Bytes of a `PERF_RECORD_LOST` record: header, id, count.
const LOST_RECORD: u64 = 24;

/// One record of a perf ring, as its reader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PerfRecord {
    /// The CPU whose ring it came from.
    pub cpu: u32,
    /// What it is.
    pub kind: PerfRecordKind,
}

/// The kinds of record.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PerfRecordKind {
    /// `PERF_RECORD_SAMPLE`: what the program wrote.
    Sample {
        /// The bytes, without the padding that brings size field and bytes to a multiple of 8.
        data: Vec<u8>,
    },
    /// `PERF_RECORD_LOST`: samples for which there was no room.
    Lost {
        /// How many.
        count: u64,
    },
}

/// A reading of a counter (`struct bpf_perf_event_value`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counter {
    /// The count.
    pub counter: u64,
    /// Nanoseconds enabled.
    pub enabled: u64,
    /// Nanoseconds running.
    pub running: u64,
    /// What each reading adds to the count.
    pub step: u64,
}

/// A ring of one CPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PerfRing {
    size: u64,
    head: u64,
    tail: u64,
    unreported: u64,
    lost: u64,
    events: u32,
    wakeup_events: u32,
    wakeups: u64,
    records: VecDeque<(u64, PerfRecordKind)>,
}

impl PerfRing {
    /// An empty ring of `pages` pages, a power of two, whose reader is woken at every `wakeup_events`-th sample.
    #[must_use]
    pub fn new(pages: u32, wakeup_events: u32) -> Self {
        Self {
            size: u64::from(pages.max(1).next_power_of_two()) * PAGE,
            head: 0,
            tail: 0,
            unreported: 0,
            lost: 0,
            events: 0,
            wakeup_events: wakeup_events.max(1),
            wakeups: 0,
            records: VecDeque::new(),
        }
    }

    /// Writes a sample (`perf_event_output`); `sequence` orders it among all rings.
    ///
    /// # Errors
    /// `-ENOSPC` without room; the sample then counts as lost, and the next that fits is preceded by a record of it.
    fn output(&mut self, sequence: u64, data: Vec<u8>) -> Result<(), Errno> {
        let sample = HEADER + (data.len() as u64 + 4).next_multiple_of(8);
        let total = sample + if self.unreported > 0 { LOST_RECORD } else { 0 };
        // CIRC_SPACE: a byte always stays free, so that a full ring differs from an empty one.
        if self.size - 1 - (self.head - self.tail) < total {
            self.unreported += 1;
            self.lost += 1;
            return Err(Errno::ENOSPC);
        }
        if self.unreported > 0 {
            let count = std::mem::take(&mut self.unreported);
            self.records.push_back((sequence, PerfRecordKind::Lost { count }));
        }
        self.records.push_back((sequence, PerfRecordKind::Sample { data }));
        self.head += total;
        self.events += 1;
        if self.events >= self.wakeup_events {
            self.events = 0;
            self.wakeups += 1;
        }
        Ok(())
    }

    /// Samples that did not fit, ever.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How often the reader has been woken.
    #[must_use]
    pub fn wakeups(&self) -> u64 {
        self.wakeups
    }

    /// Bytes of the ring.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// What is open at one index of a perf event array.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PerfEvent {
    /// Nothing.
    Closed,
    /// `PERF_COUNT_SW_BPF_OUTPUT` on the CPU of the same number.
    Output(PerfRing),
    /// A counter on the CPU of the same number.
    Counter(Counter),
}

/// All perf events.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PerfEvents {
    /// The counter of the event that a `perf_event` program is attached to.
    pub prog_counter: Counter,
    /// Shared with forks of the machine until one side changes it.
    events: Arc<BTreeMap<(MapId, u32), PerfEvent>>,
    sequence: u64,
}

impl PerfEvents {
    /// Puts an event at an index of an array.
    pub fn set(&mut self, map: MapId, index: u32, event: PerfEvent) {
        Arc::make_mut(&mut self.events).insert((map, index), event);
    }

    /// Whether anything is open in an array.
    #[must_use]
    pub fn is_open(&self, map: MapId) -> bool {
        self.events.range((map, 0)..=(map, u32::MAX)).any(|(_, e)| *e != PerfEvent::Closed)
    }

    /// The event at an index; `None` if nothing is open.
    pub fn get_mut(&mut self, map: MapId, index: u32) -> Option<&mut PerfEvent> {
        Arc::make_mut(&mut self.events).get_mut(&(map, index)).filter(|e| **e != PerfEvent::Closed)
    }

    /// Writes a sample to the event at an index, as a program on `cpu` does.
    ///
    /// # Errors
    /// As `__bpf_perf_event_output` and `perf_event_output`.
    pub(crate) fn output(&mut self, map: MapId, index: u32, cpu: u32, data: Vec<u8>) -> Result<(), Errno> {
        let sequence = self.sequence;
        match self.get_mut(map, index) {
            None | Some(PerfEvent::Closed) => Err(Errno::ENOENT),
            Some(PerfEvent::Counter(_)) => Err(Errno::EINVAL),
            Some(PerfEvent::Output(_)) if index != cpu => Err(Errno::EOPNOTSUPP),
            Some(PerfEvent::Output(ring)) => {
                ring.output(sequence, data)?;
                self.sequence += 1;
                Ok(())
            }
        }
    }

    /// Reads a counter at an index.
    ///
    /// # Errors
    /// As `perf_event_read_local`: `-ENOENT` for no event, `-EINVAL` for one of another CPU.
    pub(crate) fn read(&mut self, map: MapId, index: u32, cpu: u32) -> Result<Counter, Errno> {
        match self.get_mut(map, index) {
            None | Some(PerfEvent::Closed) => Err(Errno::ENOENT),
            Some(_) if index != cpu => Err(Errno::EINVAL),
            Some(PerfEvent::Output(_)) => Ok(Counter::default()),
            Some(PerfEvent::Counter(counter)) => Ok(counter.reading()),
        }
    }

    /// Takes all records of an array's rings in the order of writing.
    pub fn take(&mut self, map: MapId) -> Vec<PerfRecord> {
        let mut taken = Vec::new();
        for ((_, index), event) in Arc::make_mut(&mut self.events).range_mut((map, 0)..=(map, u32::MAX)) {
            if let PerfEvent::Output(ring) = event {
                ring.tail = ring.head;
                let records = ring.records.drain(..);
                taken.extend(records.map(|(at, kind)| (at, PerfRecord { cpu: *index, kind })));
            }
        }
        taken.sort_by_key(|(at, _)| *at);
        taken.into_iter().map(|(_, record)| record).collect()
    }

    /// The ring of a CPU, if one is open.
    #[must_use]
    pub fn ring(&self, map: MapId, cpu: u32) -> Option<&PerfRing> {
        match self.events.get(&(map, cpu)) {
            Some(PerfEvent::Output(ring)) => Some(ring),
            _ => None,
        }
    }

    /// Samples of an array that did not fit, over all CPUs.
    #[must_use]
    pub fn lost(&self, map: MapId) -> u64 {
        let events = self.events.range((map, 0)..=(map, u32::MAX));
        events.map(|(_, e)| if let PerfEvent::Output(ring) = e { ring.lost } else { 0 }).sum()
    }
}

impl Counter {
    /// Reads it; it then moves by its step.
    pub(crate) fn reading(&mut self) -> Self {
        let now = *self;
        self.counter = self.counter.wrapping_add(self.step);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::{PerfEvent, PerfEvents, PerfRecord, PerfRecordKind, PerfRing};
    use crate::errno::Errno;
    use crate::maps::MapId;

    const MAP: MapId = MapId(0);

    fn open(pages: u32, cpus: u32) -> PerfEvents {
        let mut perf = PerfEvents::default();
        (0..cpus).for_each(|cpu| perf.set(MAP, cpu, PerfEvent::Output(PerfRing::new(pages, 1))));
        perf
    }

    #[test]
    fn a_full_ring_loses_and_says_so_later() {
        let mut perf = open(1, 2);
        // Each sample takes 8 + 8 bytes; 255 fit into 4096 with one byte to stay free.
        let results: Vec<_> = (0..257).map(|n: u32| perf.output(MAP, 1, 1, vec![n as u8; 4])).collect();
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 255);
        assert_eq!(results.last(), Some(&Err(Errno::ENOSPC)));
        assert_eq!((perf.take(MAP).len(), perf.lost(MAP)), (255, 2));
        perf.output(MAP, 1, 1, vec![7]).unwrap();
        let kinds = [PerfRecordKind::Lost { count: 2 }, PerfRecordKind::Sample { data: vec![7] }];
        assert_eq!(perf.take(MAP), kinds.map(|kind| PerfRecord { cpu: 1, kind }));
    }

    #[test]
    fn events_of_other_cpus_and_closed_ones_are_refused() {
        let mut perf = open(1, 2);
        assert_eq!(perf.output(MAP, 0, 1, Vec::new()), Err(Errno::EOPNOTSUPP));
        assert_eq!(perf.output(MAP, 2, 2, Vec::new()), Err(Errno::ENOENT));
        assert_eq!((perf.read(MAP, 0, 1), perf.read(MAP, 2, 2)), (Err(Errno::EINVAL), Err(Errno::ENOENT)));
        (0..2).for_each(|cpu| perf.set(MAP, cpu, PerfEvent::Closed));
        assert_eq!(perf.output(MAP, 1, 1, Vec::new()), Err(Errno::ENOENT));
        assert_eq!((perf.read(MAP, 1, 1), perf.is_open(MAP)), (Err(Errno::ENOENT), false));
    }

    #[test]
    fn records_of_all_cpus_come_in_the_order_of_writing() {
        let mut perf = open(1, 4);
        for (n, cpu) in [1, 0, 1, 3].into_iter().enumerate() {
            perf.output(MAP, cpu, cpu, vec![n as u8]).unwrap();
        }
        let order: Vec<u32> = perf.take(MAP).iter().map(|r| r.cpu).collect();
        assert_eq!(order, [1, 0, 1, 3]);
    }
}
