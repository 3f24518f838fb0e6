//! The simulated kernel: all state but memory, and the answers to what programs call.

use std::sync::Arc;

use bpf_vm_shim::env::{ArenaSpan, CallResult, Cx, Env, Resume};
use bpf_vm_shim::fault::{Site, Trap};
use bpf_vm_shim::mem::{AccessKind, Memory};
use bpf_vm_shim::object::KernelProfile;

use crate::helpers;
use crate::kfuncs;
use crate::maps::{Fields, MapCx, MapId, Maps};
use crate::progs::Progs;
use crate::run::Run;
use crate::state::State;

/// The simulated kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What the kernel claims to be.
    pub profile: KernelProfile,
    /// Clock, CPUs, tasks, symbols, output channels: everything that is no map and no program.
    pub state: State,
    /// Its maps.
    pub maps: Maps,
    /// Its programs.
    pub progs: Progs,
    /// The program runs in flight, the innermost last (a timer or another CPU may preempt one).
    pub runs: Vec<Run>,
    /// What a test has put in place of helpers and kernel functions, and the calls it has seen.
    pub overrides: helpers::Overrides,
    /// Where the last run that ended because of a gap did so.
    pub(crate) gap_at: Option<Site>,
}

impl Kernel {
    /// A kernel with this profile, freshly booted.
    #[must_use]
    pub fn new(profile: KernelProfile) -> Self {
        let state = State::new(&profile);
        Self {
            profile,
            state,
            maps: Maps::default(),
            progs: Progs::default(),
            runs: Vec::new(),
            overrides: helpers::Overrides::default(),
            gap_at: None,
        }
    }

    /// The program run that is calling.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        self.runs.last()
    }

    /// The program run that is calling, to be changed.
    pub fn run_mut(&mut self) -> Option<&mut Run> {
        self.runs.last_mut()
    }

    /// What map operations of the running program work with.
    pub fn map_cx<'a>(&self, cx: &'a mut Cx<'_>) -> MapCx<'a> {
        let (cpu, cpus) = (self.state.cpus.current, self.state.cpus.count);
        MapCx { cpu, cpus, mem: cx.mem, host: false, dropped: Vec::new(), grace: false, freed: Vec::new() }
    }

    /// What happens to timers, kptrs and the like in values that an operation has deleted or overwritten
    /// (`bpf_obj_free_fields`). The values' own bytes are already cleared or freed.
    pub(crate) fn drop_fields(&mut self, _: &mut Memory, _: MapId, dropped: Vec<(u64, Arc<Fields>)>) {
        for (_value, _fields) in dropped {}
    }
}

impl Env for Kernel {
    fn helper(&mut self, cx: &mut Cx<'_>, id: u32, args: &[u64; 5]) -> CallResult {
        helpers::dispatch(self, cx, id, *args)
    }

    fn kfunc(&mut self, cx: &mut Cx<'_>, index: u32, args: &[u64; 5]) -> CallResult {
        kfuncs::dispatch(self, cx, index, *args)
    }

    fn resume(&mut self, cx: &mut Cx<'_>, resume: Resume, ret: u64) -> CallResult {
        helpers::resume(self, cx, resume, ret)
    }

    fn packet(&mut self, cx: &mut Cx<'_>, offset: i32, size: u8) -> Result<Option<u64>, Trap> {
        helpers::legacy_packet_load(self, cx, offset, size)
    }

    fn load_typed(&mut self, cx: &mut Cx<'_>, addr: u64, size: u8) -> Result<Option<u64>, Trap> {
        helpers::load_typed(self, cx, addr, size)
    }

    fn arena(
        &mut self,
        cx: &mut Cx<'_>,
        offset: i64,
        size: u8,
        kind: AccessKind,
    ) -> Result<Option<ArenaSpan>, Trap> {
        kfuncs::arena::span(self, cx, offset, size, kind)
    }

    fn gave_up(&mut self, at: Site) {
        self.gap_at = Some(at);
    }

    fn exit(&mut self, _: &mut Cx<'_>, _: u64) -> Result<(), Trap> {
        match self.run() {
            Some(run) => run.check_exit(),
            None => Ok(()),
        }
    }
}
