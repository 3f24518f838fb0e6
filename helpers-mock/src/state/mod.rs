//! Everything a kernel has besides maps and programs: one file per subsystem.

mod clock;
mod cpus;
mod symbols;

use bpf_vm_shim::object::KernelProfile;

pub use clock::Clock;
pub use cpus::Cpus;
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
}

impl State {
    /// The state of a freshly booted kernel.
    #[must_use]
    pub fn new(profile: &KernelProfile) -> Self {
        Self { clock: Clock::default(), cpus: Cpus::new(profile.cpus), symbols: Symbols::default() }
    }
}
