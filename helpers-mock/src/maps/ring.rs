//! The positions and records of a BPF ring buffer (`kernel/bpf/ringbuf.c`), without memory and without maps.
//!
//! Every record takes its size plus an 8-byte header, rounded up to 8. Reserving fails when the new producer position
//! would lie a whole ring or more ahead of the consumer, or of the oldest record that is still being written.

use std::collections::VecDeque;

/// Bytes of a record's header (`BPF_RINGBUF_HDR_SZ`).
const HDR: u64 = 8;
/// The longest record (`RINGBUF_MAX_RECORD_SZ`).
const MAX_RECORD: u64 = (u32::MAX / 4) as u64;

/// `BPF_RB_NO_WAKEUP`: committing must not wake the consumer.
pub const BPF_RB_NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`: committing must wake the consumer.
pub const BPF_RB_FORCE_WAKEUP: u64 = 2;

/// What has become of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Busy,
    Ready,
    Discarded,
}

/// A record between its reservation and its consumption.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Record {
    pos: u64,
    size: u32,
    stage: Stage,
    data: Vec<u8>,
}

impl Record {
    fn end(&self) -> u64 {
        self.pos + span(self.size.into())
    }
}

/// Bytes that a record of this size takes.
fn span(size: u64) -> u64 {
    (size + HDR).next_multiple_of(8)
}

/// One ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ring {
    size: u64,
    overwrite: bool,
    producer: u64,
    consumer: u64,
    pending: u64,
    overwritten: u64,
    records: VecDeque<Record>,
    lost: u64,
    wakeups: u64,
}

impl Ring {
    /// An empty ring of `size` bytes, a power of two. `overwrite`: old records make room for new ones
    /// (`BPF_F_RB_OVERWRITE`).
    #[must_use]
    pub fn new(size: u64, overwrite: bool) -> Self {
        Self {
            size,
            overwrite,
            producer: 0,
            consumer: 0,
            pending: 0,
            overwritten: 0,
            records: VecDeque::new(),
            lost: 0,
            wakeups: 0,
        }
    }

    /// Reserves a record and gives its position; `None`, and one more lost record, if there is no room.
    pub fn reserve(&mut self, size: u64) -> Option<u64> {
        let pos = self.try_reserve(size);
        if pos.is_none() {
            self.lost += 1;
        }
        pos
    }

    fn try_reserve(&mut self, size: u64) -> Option<u64> {
        if size > MAX_RECORD || span(size) > self.size {
            return None;
        }
        let mask = self.size - 1;
        let end = self.producer + span(size);
        self.pending = self.oldest_busy();
        if end - self.pending > mask || (!self.overwrite && end - self.consumer > mask) {
            return None;
        }
        if self.overwrite {
            while end - self.overwritten > mask {
                let over = self.overwritten;
                self.overwritten = self.records.get(self.index(over)).map_or(end, Record::end);
            }
            self.forget(self.overwritten);
        }
        let pos = self.producer;
        self.records.push_back(Record { pos, size: size as u32, stage: Stage::Busy, data: Vec::new() });
        self.producer = end;
        Some(pos)
    }

    /// Where the oldest record is that is still being written; the producer position without one.
    fn oldest_busy(&self) -> u64 {
        let from = self.index(self.pending);
        let busy = self.records.iter().skip(from).find(|r| r.stage == Stage::Busy);
        busy.map_or(self.producer, |r| r.pos)
    }

    /// The place among the records of the first one at or after a position.
    fn index(&self, pos: u64) -> usize {
        self.records.partition_point(|r| r.pos < pos)
    }

    /// Drops the records before a position.
    fn forget(&mut self, pos: u64) {
        while self.records.front().is_some_and(|r| r.pos < pos) {
            self.records.pop_front();
        }
    }

    fn busy_at(&mut self, pos: u64) -> Option<&mut Record> {
        let index = self.index(pos);
        self.records.get_mut(index).filter(|r| r.pos == pos && r.stage == Stage::Busy)
    }

    /// The size that was reserved at a position, while the record is being written.
    #[must_use]
    pub fn busy(&self, pos: u64) -> Option<u32> {
        let record = self.records.get(self.index(pos))?;
        (record.pos == pos && record.stage == Stage::Busy).then_some(record.size)
    }

    /// Commits or discards a reserved record. `false` if none is being written there.
    pub fn commit(&mut self, pos: u64, data: Option<Vec<u8>>, flags: u64) -> bool {
        let Some(record) = self.busy_at(pos) else { return false };
        match data {
            Some(data) => {
                record.stage = Stage::Ready;
                record.data = data;
            }
            None => record.stage = Stage::Discarded,
        }
        // The consumer is woken if it has read everything up to this very record.
        let caught_up = (self.consumer & (self.size - 1)) == (pos & (self.size - 1));
        if flags & BPF_RB_FORCE_WAKEUP != 0 || (caught_up && flags & BPF_RB_NO_WAKEUP == 0) {
            self.wakeups += 1;
        }
        true
    }

    /// Reads the next record as a consumer does: discarded ones are skipped, one that is being written stops it.
    pub fn consume(&mut self) -> Option<Vec<u8>> {
        if self.overwrite && self.consumer < self.overwritten {
            self.consumer = self.overwritten;
        }
        loop {
            let consumer = self.consumer;
            self.forget(consumer);
            let record = self.records.front_mut()?;
            if record.stage == Stage::Busy {
                return None;
            }
            let ready = record.stage == Stage::Ready;
            let data = std::mem::take(&mut record.data);
            self.consumer = record.end();
            self.records.pop_front();
            if ready {
                return Some(data);
            }
        }
    }

    /// Bytes not yet consumed (`BPF_RB_AVAIL_DATA`).
    #[must_use]
    pub fn available(&self) -> u64 {
        if self.overwrite {
            return self.producer - self.consumer.max(self.overwritten);
        }
        self.producer - self.consumer
    }

    /// Bytes of the ring (`BPF_RB_RING_SIZE`).
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// `BPF_RB_CONS_POS`.
    #[must_use]
    pub fn consumer(&self) -> u64 {
        self.consumer
    }

    /// `BPF_RB_PROD_POS`.
    #[must_use]
    pub fn producer(&self) -> u64 {
        self.producer
    }

    /// `BPF_RB_OVERWRITE_POS`.
    #[must_use]
    pub fn overwritten(&self) -> u64 {
        self.overwritten
    }

    /// Reservations that failed for want of room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How often the consumer has been woken.
    #[must_use]
    pub fn wakeups(&self) -> u64 {
        self.wakeups
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, Ring};

    #[test]
    fn a_full_ring_refuses_and_counts() {
        // 4096 bytes hold 255 records of 8 bytes: the ring can never be entirely full.
        let mut ring = Ring::new(4096, false);
        let fitting = (0..).take_while(|_| ring.reserve(8).is_some()).count();
        assert_eq!((fitting, ring.lost(), ring.producer()), (255, 1, 255 * 16));
        assert_eq!(ring.reserve(4096 - 8), None);
    }

    #[test]
    fn an_unfinished_record_blocks_consumer_and_producer() {
        let mut ring = Ring::new(4096, false);
        let first = ring.reserve(1000).unwrap();
        let second = ring.reserve(1000).unwrap();
        assert!(ring.commit(second, Some(vec![2]), 0));
        assert_eq!(ring.consume(), None);
        assert!(ring.commit(first, None, 0));
        assert!(!ring.commit(first, None, 0), "committed twice");
        assert_eq!(ring.consume(), Some(vec![2]));
        assert_eq!(ring.available(), 0);
    }

    #[test]
    fn the_consumer_is_woken_when_it_has_caught_up() {
        let mut ring = Ring::new(4096, false);
        let mut put = |flags| {
            let pos = ring.reserve(8).unwrap();
            ring.commit(pos, Some(Vec::new()), flags);
            ring.wakeups()
        };
        let seen = [0, 0, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP].map(&mut put);
        assert_eq!(seen, [1, 1, 2, 2]);
    }

    #[test]
    fn overwriting_keeps_the_newest() {
        let mut ring = Ring::new(4096, true);
        for n in 0..10u8 {
            let pos = ring.reserve(1000).unwrap();
            ring.commit(pos, Some(vec![n]), 0);
        }
        assert_eq!(std::iter::from_fn(|| ring.consume()).collect::<Vec<_>>(), [[6], [7], [8], [9]]);
    }

    proptest! {
        /// What comes out is what was committed, in the order of reservation, and never more than fits.
        #[test]
        fn records_come_out_in_order(ops in prop::collection::vec((0u64..900, 0u8..4), 1..200)) {
            let mut ring = Ring::new(4096, false);
            let mut open: Vec<(u64, u8)> = Vec::new();
            let mut order: Vec<(u64, Option<Option<u8>>)> = Vec::new();
            let mut seen = Vec::new();
            for (n, (size, op)) in ops.into_iter().enumerate() {
                let tag = n as u8;
                match op {
                    0 | 1 => if let Some(pos) = ring.reserve(size) {
                        open.push((pos, tag));
                        order.push((pos, None));
                    },
                    2 => if let Some((pos, tag)) = open.pop() {
                        let keep = size % 3 != 0;
                        prop_assert!(ring.commit(pos, keep.then(|| vec![tag]), 0));
                        let entry = order.iter_mut().find(|o| o.0 == pos).unwrap();
                        entry.1 = Some(keep.then_some(tag));
                    },
                    _ => if let Some(data) = ring.consume() { seen.push(data[0]) },
                }
                prop_assert!(ring.available() < 4096);
            }
            while let Some(data) = ring.consume() { seen.push(data[0]); }
            let expected: Vec<u8> =
                order.iter().map_while(|o| o.1).flatten().collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
