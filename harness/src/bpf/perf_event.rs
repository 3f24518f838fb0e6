//! Sampling: programs that run at every so many events (bcc's `attach_perf_event`).

use bpf_vm_shim::object::AttachKind;

use super::links::Link;
use super::{Bpf, Point};
use crate::error::Error;

/// Types and configurations of perf events (`include/uapi/linux/perf_event.h`).
pub mod perf {
    /// Counted by the processor.
    pub const TYPE_HARDWARE: u32 = 0;
    /// Counted by the kernel.
    pub const TYPE_SOFTWARE: u32 = 1;
    /// Processor cycles.
    pub const COUNT_HW_CPU_CYCLES: u64 = 0;
    /// Instructions.
    pub const COUNT_HW_INSTRUCTIONS: u64 = 1;
    /// References of the last-level cache.
    pub const COUNT_HW_CACHE_REFERENCES: u64 = 2;
    /// Misses of the last-level cache.
    pub const COUNT_HW_CACHE_MISSES: u64 = 3;
    /// Time on a CPU.
    pub const COUNT_SW_CPU_CLOCK: u64 = 0;
    /// Time of a task.
    pub const COUNT_SW_TASK_CLOCK: u64 = 1;
    /// Page faults.
    pub const COUNT_SW_PAGE_FAULTS: u64 = 2;
    /// Context switches.
    pub const COUNT_SW_CONTEXT_SWITCHES: u64 = 3;
    /// What programs write.
    pub const COUNT_SW_BPF_OUTPUT: u64 = 10;
    /// There is no software event of this number or above.
    pub(super) const COUNT_SW_MAX: u64 = 12;
    /// There is no hardware event of this number or above.
    pub(super) const COUNT_HW_MAX: u64 = 10;
}

/// How often a program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rate {
    Unset,
    Period(u64),
    Frequency(u64),
}

/// A perf event that a program samples.
///
/// ```
/// use bpf_harness::{Bpf, PerfEventSpec, perf};
/// # let object = bpf_fixtures::object("hostapi").unwrap();
/// let mut bpf = Bpf::load(object)?;
/// let clock = PerfEventSpec::new(perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK).sample_freq(99);
/// bpf.attach_perf_event(&clock, "sampled")?;
/// bpf.perf_event().fire()?;
/// # Ok::<(), bpf_harness::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PerfEventSpec {
    ev_type: u32,
    ev_config: u64,
    rate: Rate,
    pid: Option<u32>,
    cpu: Option<u32>,
}

impl PerfEventSpec {
    /// An event, on all CPUs and in all processes.
    #[must_use]
    pub fn new(ev_type: u32, ev_config: u64) -> Self {
        Self { ev_type, ev_config, rate: Rate::Unset, pid: None, cpu: None }
    }

    /// The program runs after every so many events.
    #[must_use]
    pub fn sample_period(self, events: u64) -> Self {
        Self { rate: Rate::Period(events), ..self }
    }

    /// The program runs so many times a second.
    #[must_use]
    pub fn sample_freq(self, hertz: u64) -> Self {
        Self { rate: Rate::Frequency(hertz), ..self }
    }

    /// Only in this process.
    #[must_use]
    pub fn pid(self, pid: u32) -> Self {
        Self { pid: Some(pid), ..self }
    }

    /// Only on this CPU.
    #[must_use]
    pub fn cpu(self, cpu: u32) -> Self {
        Self { cpu: Some(cpu), ..self }
    }

    pub(super) fn is(&self, ev_type: u32, ev_config: u64) -> bool {
        (self.ev_type, self.ev_config) == (ev_type, ev_config)
    }

    /// Type, configuration, period or frequency, and whether it is the latter.
    #[cfg(feature = "kernel")]
    pub(crate) fn parts(&self) -> (u32, u64, u64, bool) {
        let (sample, is_frequency) = match self.rate {
            Rate::Unset => (0, false),
            Rate::Period(n) => (n, false),
            Rate::Frequency(n) => (n, true),
        };
        (self.ev_type, self.ev_config, sample, is_frequency)
    }

    /// What `sample_period` is in the program's context. With a frequency the kernel adapts it: for the clocks, which
    /// tick in nanoseconds, it is known.
    pub(super) fn period(&self) -> u64 {
        let clock = self.ev_type == perf::TYPE_SOFTWARE && self.ev_config <= perf::COUNT_SW_TASK_CLOCK;
        match self.rate {
            Rate::Period(n) => n,
            Rate::Frequency(hertz) if clock => 1_000_000_000u64.checked_div(hertz).unwrap_or(0),
            _ => 1,
        }
    }

    fn check(&self, cpus: u32) -> Result<(), Error> {
        let wrong =
            |why: &str| Err(Error::Invalid(format!("perf event {}:{}: {why}", self.ev_type, self.ev_config)));
        match self.rate {
            Rate::Unset | Rate::Period(0) | Rate::Frequency(0) => {
                return wrong("give `sample_period()` or `sample_freq()`, above 0");
            }
            _ => {}
        }
        if self.cpu.is_some_and(|c| c >= cpus) {
            return wrong(&format!("there are only {cpus} CPUs"));
        }
        match (self.ev_type, self.ev_config) {
            (perf::TYPE_SOFTWARE, perf::COUNT_SW_MAX..) => wrong("there is no such software event"),
            (perf::TYPE_HARDWARE, perf::COUNT_HW_MAX..) => wrong("there is no such hardware event"),
            _ => Ok(()),
        }
    }
}

impl Bpf {
    /// Lets a program run at samples of a perf event.
    ///
    /// # Errors
    /// If neither period nor frequency are given, there is no such event, CPU or program, or it is of another type.
    pub fn attach_perf_event(&mut self, event: &PerfEventSpec, fn_name: &str) -> Result<(), Error> {
        event.check(self.machine.kernel.state.cpus.count)?;
        let link = Link { pid: event.pid, cpu: event.cpu, perf: Some(event.clone()), ..Link::default() };
        self.link(fn_name, &Point::PerfEvent, link)
    }

    /// The clocks among the perf events that programs are attached to: type and configuration, and how many nanoseconds
    /// lie between samples.
    pub(crate) fn sampling_clocks(&self) -> Vec<((u32, u64), u64)> {
        let specs = self.attached.iter().filter_map(|a| a.link.perf.as_ref());
        let clocks =
            specs.filter(|p| p.ev_type == perf::TYPE_SOFTWARE && p.ev_config <= perf::COUNT_SW_TASK_CLOCK);
        let mut clocks: Vec<_> = clocks.map(|p| ((p.ev_type, p.ev_config), p.period().max(1))).collect();
        clocks.sort_unstable();
        clocks.dedup();
        clocks
    }

    /// Takes all programs away from a perf event.
    ///
    /// # Errors
    /// If there are none.
    pub fn detach_perf_event(&mut self, ev_type: u32, ev_config: u64) -> Result<(), Error> {
        self.unlink(&format!("perf_event/{ev_type}:{ev_config}"), None, |a| {
            a.target.kind == AttachKind::PerfEvent
                && a.link.perf.as_ref().is_some_and(|p| p.is(ev_type, ev_config))
        })
    }
}
