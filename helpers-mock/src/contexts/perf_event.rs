//! Samples of perf events (`struct bpf_perf_event_data`, `include/uapi/linux/bpf_perf_event.h`).

use bpf_vm_shim::mem::Perm;

use super::error::ContextError;
use super::place;
use super::regs::{PtRegs, user_regs_size};
use crate::machine::Machine;
use crate::run::RunInput;

/// A sample.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PerfEvent {
    /// The interrupted registers.
    pub regs: PtRegs,
    /// The sampling period.
    pub sample_period: u64,
    /// The data address of the sample, if the event has one.
    pub addr: u64,
    /// The value given at attaching.
    pub cookie: u64,
}

impl PerfEvent {
    /// The context, readable to the program.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn build(&self, machine: &mut Machine) -> Result<RunInput, ContextError> {
        let arch = machine.kernel.profile.arch;
        let mut bytes = self.regs.encode(arch);
        bytes.truncate(user_regs_size(arch) as usize);
        bytes.extend(self.sample_period.to_le_bytes());
        bytes.extend(self.addr.to_le_bytes());
        let mut input = place(machine, &bytes, Perm::ReadOnly)?;
        input.cookie = self.cookie;
        Ok(input)
    }
}
