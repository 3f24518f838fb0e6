//! Everything a kernel has besides maps and programs: one file per subsystem.

mod clock;
mod cpus;
mod objects;
mod perf;
mod stacks;
mod symbols;

use bpf_vm_shim::object::KernelProfile;

pub use clock::Clock;
pub use cpus::Cpus;
pub use objects::Objects;
pub use perf::{Counter, PerfEvent, PerfEvents, PerfRecord, PerfRecordKind, PerfRing};
pub use stacks::{BuildIdMapping, PERF_MAX_STACK_DEPTH, Stacks, TaskStacks};
pub use symbols::Symbols;

/// The state of the simulated kernel's subsystems.
#[derive(Clone, Debug)]
pub struct State {
    /// The virtual clock.
    pub clock: Clock,
    /// The CPUs.
    pub cpus: Cpus,
    /// Kernel symbols.
    pub symbols: Symbols,
    /// Perf events: output rings and counters.
    pub perf: PerfEvents,
    /// Objects that programs have allocated.
    pub objects: Objects,
    /// Call stacks of tasks.
    pub stacks: Stacks,
}

impl State {
    /// The state of a freshly booted kernel.
    #[must_use]
    pub fn new(profile: &KernelProfile) -> Self {
        Self {
            clock: Clock::default(),
            cpus: Cpus::new(profile.cpus),
            symbols: Symbols::default(),
            perf: PerfEvents::default(),
            objects: Objects::default(),
            stacks: Stacks::default(),
        }
    }
}
