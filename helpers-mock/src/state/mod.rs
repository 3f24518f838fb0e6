//! Everything a kernel has besides maps and programs: one file per subsystem.

mod allocated;
mod build_ids;
mod cgroups;
mod clock;
mod cpus;
pub mod device;
mod effects;
mod files;
mod packets;
mod perf;
mod rng;
mod seq_files;
mod streams;
mod symbols;
mod tasks;
mod timers;
mod trace_pipe;
mod user_memory;

use std::sync::Arc;

use bpf_vm_shim::object::KernelProfile;

use crate::objects::Objects;

pub use allocated::Allocated;
pub use build_ids::{BuildIdMapping, BuildIds, PERF_MAX_STACK_DEPTH};
pub use cgroups::{Cgroup, Cgroups, ROOT_CGROUP};
pub use clock::Clock;
pub use cpus::Cpus;
pub use effects::{Effects, Override, Signal};
pub use files::Files;
pub use packets::{
    ETH_HLEN, Packet, PacketKind, Packets, Redirect, SKB_HEADROOM, SKB_MAX_LEN, XDP_HEADROOM, XDP_MAX_LEN,
};
pub use perf::{Counter, PerfEvent, PerfEvents, PerfRecord, PerfRecordKind, PerfRing};
pub use rng::Rng;
pub use seq_files::{SEQ_SIZE, SeqFile, SeqFiles};
pub use streams::{Stream, Streams};
pub use symbols::{Symbol, Symbols};
pub use tasks::{DEFAULT_PID, Namespaces, Task, Tasks};
pub use timers::{Deferred, DeferredKind, Timers};
pub use trace_pipe::{TraceLine, TracePipe};
pub use user_memory::{TASK_SIZE, UserFault, UserMemory};

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
    /// The tasks.
    pub tasks: Tasks,
    /// The control groups.
    pub cgroups: Cgroups,
    /// Random numbers.
    pub rng: Rng,
    /// What programs have done to the rest of the system.
    pub effects: Effects,
    /// Kernel objects that stand for tasks and control groups.
    pub objects: Objects,
    /// Objects that programs have allocated.
    pub allocated: Allocated,
    /// Perf events: output rings and counters.
    pub perf: PerfEvents,
    /// The files that user addresses belong to.
    pub build_ids: BuildIds,
    /// Timers and work items that programs have set up.
    pub timers: Timers,
    /// Output streams of programs.
    pub streams: Streams,
    /// Paths of files.
    pub files: Files,
}

impl State {
    /// The state of a freshly booted kernel.
    #[must_use]
    pub fn new(profile: &KernelProfile) -> Self {
        Self {
            clock: Clock::default(),
            cpus: Cpus::new(profile.cpus),
            symbols: Symbols::listed(profile.symbols.clone()),
            trace_pipe: TracePipe::default(),
            seq_files: SeqFiles::default(),
            packets: Packets::default(),
            tasks: Tasks::default(),
            cgroups: Cgroups::default(),
            rng: Rng::default(),
            effects: Effects::default(),
            objects: Objects::default(),
            allocated: Allocated::default(),
            perf: PerfEvents::default(),
            build_ids: BuildIds::default(),
            timers: Timers::default(),
            streams: Streams::default(),
            files: Files::default(),
        }
    }

    /// The task that runs on the current CPU.
    #[must_use]
    pub fn current(&self) -> &Arc<Task> {
        self.tasks.running(self.cpus.current)
    }

    /// The user memory that the current task sees.
    #[must_use]
    pub fn current_user(&self) -> Option<&UserMemory> {
        self.tasks.user(self.current().pid)
    }

    /// The user memory that the current task sees, to be changed.
    pub fn current_user_mut(&mut self) -> Option<&mut UserMemory> {
        let pid = self.current().pid;
        self.tasks.user_mut(pid)
    }
}
