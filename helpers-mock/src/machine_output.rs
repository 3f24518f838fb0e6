//! What programs have sent to user space, and what user space sends to programs.

use crate::errno::Errno;
use crate::machine::Machine;
use crate::maps::{BPF_RB_NO_WAKEUP, MapId, RingBuf, UserRingBuf};
use crate::run::Run;
use crate::state::{Counter, PerfEvent, PerfRecord, PerfRing};

/// What a consumer finds in a ring buffer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RingRecords {
    /// The records that are ready, oldest first.
    pub records: Vec<Vec<u8>>,
    /// Records that did not fit, since the map was created.
    pub lost: u64,
    /// How often the consumer has been woken, since the map was created.
    pub wakeups: u64,
}

impl Machine {
    /// Consumes what is ready in a ring buffer; `None` if the map is none.
    pub fn take_ringbuf(&mut self, map: MapId) -> Option<RingRecords> {
        let ring = self.kernel.maps.get_mut(map)?.ops.as_any_mut().downcast_mut::<RingBuf>()?;
        let records = ring.drain();
        Some(RingRecords { records, lost: ring.ring().lost(), wakeups: ring.ring().wakeups() })
    }

    /// Discards the records that a run has reserved and not committed.
    pub(crate) fn discard_records(&mut self, run: Run) {
        for (addr, (map, pos)) in run.records {
            let ops = self.kernel.maps.get_mut(map).map(|m| m.ops.as_any_mut());
            if let Some(ring) = ops.and_then(|ops| ops.downcast_mut::<RingBuf>()) {
                ring.commit(&mut self.mem, addr, pos, false, BPF_RB_NO_WAKEUP);
            }
        }
    }

    /// Writes a sample into a user ring buffer.
    ///
    /// # Errors
    /// `-EINVAL` if the map is none, `-ENOSPC` if it is full.
    pub fn put_user_ringbuf(&mut self, map: MapId, sample: &[u8]) -> Result<(), Errno> {
        let map = self.kernel.maps.get_mut(map).ok_or(Errno::EINVAL)?;
        let ring = map.ops.as_any_mut().downcast_mut::<UserRingBuf>().ok_or(Errno::EINVAL)?;
        ring.produce(sample)
    }

    /// Consumes the records of a perf event array, of all CPUs in the order of writing.
    pub fn take_perf(&mut self, map: MapId) -> Vec<PerfRecord> {
        self.kernel.state.perf.take(map)
    }

    /// Samples of a perf event array that did not fit.
    #[must_use]
    pub fn perf_lost(&self, map: MapId) -> u64 {
        self.kernel.state.perf.lost(map)
    }

    /// Opens an output ring of `pages` pages at an index of a perf event array.
    pub fn open_perf_ring(&mut self, map: MapId, index: u32, pages: u32, wakeup_events: u32) {
        let ring = PerfRing::new(pages, wakeup_events);
        self.kernel.state.perf.set(map, index, PerfEvent::Output(ring));
    }

    /// Closes what is at an index of a perf event array: programs then get `-ENOENT`.
    pub fn close_perf(&mut self, map: MapId, index: u32) {
        self.kernel.state.perf.set(map, index, PerfEvent::Closed);
    }

    /// Puts a counter at an index of a perf event array.
    pub fn set_perf_counter(&mut self, map: MapId, index: u32, counter: Counter) {
        self.kernel.state.perf.set(map, index, PerfEvent::Counter(counter));
    }
}
