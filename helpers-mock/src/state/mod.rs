//! Everything a kernel has besides maps and programs: one file per subsystem.

mod clock;
mod cpus;
mod packets;
mod seq_files;
mod symbols;
mod trace_pipe;

use bpf_vm_shim::object::KernelProfile;

pub use clock::Clock;
pub use cpus::Cpus;
pub use packets::{
    ETH_HLEN, Packet, PacketKind, Packets, Redirect, SKB_HEADROOM, SKB_MAX_LEN, XDP_HEADROOM, XDP_MAX_LEN,
};
pub use seq_files::{SEQ_SIZE, SeqFile, SeqFiles};
pub use symbols::Symbols;
pub use trace_pipe::{TraceLine, TracePipe};

/// The state of the simulated kernel's subsystems.
#[derive(Clone, Debug)]
pub struct State {
    /// The virtual clock.
    pub clock: Clock,
    /// The CPUs.
    pub cpus: Cpus,
    /// Kernel symbols.
    pub symbols: Symbols,
    /// The trace.
    pub trace_pipe: TracePipe,
    /// What iterator programs write to.
    pub seq_files: SeqFiles,
    /// Packets in flight.
    pub packets: Packets,
}

impl State {
    /// The state of a freshly booted kernel.
    #[must_use]
    pub fn new(profile: &KernelProfile) -> Self {
        Self {
            clock: Clock::default(),
            cpus: Cpus::new(profile.cpus),
            symbols: Symbols::default(),
            trace_pipe: TracePipe::default(),
            seq_files: SeqFiles::default(),
            packets: Packets::default(),
        }
    }
}
