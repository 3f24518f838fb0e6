//! A task that sleeps (`kernel/time/hrtimer.c`).

use std::time::Duration;

use bpf_helpers_mock::objects::Value;

use super::sched::{IDLE, SLEEPS};
use super::simulation::Simulation;
use super::{Action, Real, Stimulated, real};
use crate::error::Error;

/// `CLOCK_MONOTONIC`
const CLOCK_MONOTONIC: u64 = 1;
/// `HRTIMER_MODE_REL`
const RELATIVE: u64 = 1;

/// The task sleeps; see [`Stimulus::sleep`](super::Stimulus::sleep).
#[derive(Clone, Debug)]
pub struct Sleep {
    time: Duration,
}

impl Sleep {
    pub(super) fn new(time: Duration) -> Self {
        Self { time }
    }
}

impl Action for Sleep {
    /// The idle task runs meanwhile, and the timer wakes the sleeper out of it when the time is over.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let (secs, nanos) = (self.time.as_secs(), u64::from(self.time.subsec_nanos()));
        let ns = u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX);
        let request = sim.user_bytes(&[secs.to_le_bytes(), nanos.to_le_bytes()].concat())?;
        let ret = sim.syscall("nanosleep", &[request, 0], |sim| {
            sim.function("hrtimer_nanosleep", &[ns, RELATIVE, CLOCK_MONOTONIC], |sim| {
                let me = sim.pid();
                let task = sim.task(me)?;
                let sleeper = sim.object("hrtimer_sleeper", &[("task", task.into())])?;
                let setup = if sim.has_tracepoint("timer", "hrtimer_setup") {
                    "hrtimer_setup"
                } else {
                    "hrtimer_init"
                };
                let fields: &[(&str, Value)] = &[
                    ("hrtimer", sleeper.into()),
                    ("clockid", CLOCK_MONOTONIC.into()),
                    ("mode", RELATIVE.into()),
                ];
                sim.tracepoint("timer", setup, fields, &[sleeper, CLOCK_MONOTONIC, RELATIVE])?;
                sim.function("do_nanosleep", &[sleeper, RELATIVE], |sim| asleep(sim, sleeper, ns))
            })
        })?;
        Ok(Stimulated { ret, ..Stimulated::default() })
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::sleep(self.time)
    }
}

fn asleep(sim: &mut Simulation<'_>, timer: u64, ns: u64) -> Result<i64, Error> {
    let me = sim.pid();
    let wakeup = sim.bpf.symbol("hrtimer_wakeup");
    let end = sim.bpf.now().saturating_add(ns);
    let fields: &[(&str, Value)] = &[
        ("hrtimer", timer.into()),
        ("function", wakeup.into()),
        ("expires", end.into()),
        ("softexpires", end.into()),
        ("mode", RELATIVE.into()),
    ];
    sim.tracepoint("timer", "hrtimer_start", fields, &[timer, RELATIVE, 0])?;
    sim.function("schedule", &[], |sim| {
        sim.switch_away_idle()?;
        let left = end.saturating_sub(sim.bpf.now());
        sim.advance(left)?;
        let now = sim.bpf.now();
        let fields: &[(&str, Value)] =
            &[("hrtimer", timer.into()), ("now", now.into()), ("function", wakeup.into())];
        let now = sim.kernel_bytes(&now.to_le_bytes())?;
        sim.tracepoint("timer", "hrtimer_expire_entry", fields, &[timer, now])?;
        sim.function("hrtimer_wakeup", &[timer], |sim| {
            sim.wake_up(me)?;
            Ok(0)
        })?;
        sim.switch_to(me, 0)?;
        Ok(0)
    })?;
    Ok(0)
}

impl Simulation<'_> {
    /// Nobody else wants the CPU.
    fn switch_away_idle(&mut self) -> Result<(), Error> {
        self.switch_to(IDLE, SLEEPS)
    }
}
