//! A task that computes (`perf_swevent_hrtimer` in `kernel/events/core.c`).

use std::time::Duration;

use super::simulation::{Occasion, Simulation};
use super::{Action, Real, Stimulated, real};
use crate::bpf::Point;
use crate::error::Error;

/// The CPU is used; see [`Stimulus::busy`](super::Stimulus::busy).
#[derive(Clone, Debug)]
pub struct Busy {
    time: Duration,
}

impl Busy {
    pub(super) fn new(time: Duration) -> Self {
        Self { time }
    }
}

impl Action for Busy {
    /// Perf events that are clocks sample the task once in each of their periods.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let start = sim.bpf.now();
        let total = u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX);
        let clocks = sim.bpf.sampling_clocks();
        let mut samples: Vec<(u64, (u32, u64))> = Vec::new();
        for (event, period) in clocks {
            let count = total.checked_div(period).unwrap_or(0).min(MOST);
            samples.extend((1..=count).map(|n| (n * period, event)));
        }
        samples.sort_unstable();
        for (when, event) in samples {
            let left = start.saturating_add(when).saturating_sub(sim.bpf.now());
            sim.advance(left)?;
            sim.happen(Point::PerfEvent, &Occasion { sampling: Some(event), ..Occasion::default() })?;
        }
        let left = start.saturating_add(total).saturating_sub(sim.bpf.now());
        sim.advance(left)?;
        Ok(Stimulated::default())
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::busy(self.time)
    }
}

/// The most samples of one event: whoever wants a day of them waits for the simulator otherwise.
const MOST: u64 = 1_000_000;
