//! Program contexts from meaningful inputs: one file per kind.
//!
//! Each builder gives a [`RunInput`]: the context in guest memory as the kernel would lay it out, and what helpers know
//! about the event (`bpf_get_func_ip`, `bpf_get_func_arg`, ...). [`default_input`] has one for every program type.

mod args;
mod error;
mod flow;
mod infer;
mod iter;
mod net;
mod netfilter;
mod perf_event;
mod probe;
mod regs;
mod sizes;
mod syscall;
#[cfg(test)]
mod tests;
mod tracepoint;
mod typed;

use bpf_vm_shim::mem::{Alloc, Area, Perm, RegionKind};
use bpf_vm_shim::object::{AttachKind, ProgType};

pub use args::TypedArgs;
pub use error::ContextError;
pub use flow::flow_dissector_input;
pub use iter::Iter;
pub use net::{DEFAULT_PACKET, PacketOutput, SkbInput, XdpInput, has_packet, packet, skb, xdp};
pub(crate) use net::{finish, protocol};
pub use perf_event::PerfEvent;
pub use probe::{Probe, Syscall};
pub(crate) use regs::return_register;
pub use regs::{PtRegs, pt_regs_size};
pub use sizes::context_size;
pub use syscall::syscall_input;
pub use tracepoint::{Field, Tracepoint, TracepointLayout};

use crate::machine::Machine;
use crate::progs::ProgId;
use crate::run::RunInput;

/// An input for one run of a program on which nothing is known: a packet of 64 zero bytes, a zeroed context or zeroed
/// arguments, by the program's type.
///
/// # Errors
/// If there is no such program, or no memory.
pub fn default_input(machine: &mut Machine, prog: ProgId) -> Result<RunInput, ContextError> {
    let loaded = machine.kernel.progs.get(prog).cloned().ok_or(ContextError::NoProgram(prog))?;
    if let Some(input) = net::default_input(machine, &loaded)? {
        return Ok(input);
    }
    match (loaded.prog_type, loaded.linked.attach.kind) {
        (ProgType::Kprobe, _) => Probe::default_for(&loaded).build(machine),
        (ProgType::Tracepoint, _) => Tracepoint::default_for(machine, &loaded)?.build(machine),
        (ProgType::PerfEvent, _) => PerfEvent::default().build(machine),
        (ProgType::Tracing, AttachKind::Iter) => Iter::default().build(machine),
        (
            ProgType::Tracing
            | ProgType::Lsm
            | ProgType::StructOps
            | ProgType::RawTracepoint
            | ProgType::RawTracepointWritable,
            _,
        ) => typed::default_input(machine, &loaded),
        (ProgType::Netfilter, _) => netfilter::netfilter_default(machine, &loaded),
        (ProgType::FlowDissector, _) => flow_dissector_input(machine, &[0; 64]),
        (ProgType::Syscall, _) => syscall::default_input(machine, &loaded),
        (prog_type, _) => {
            let bytes = vec![0; sizes::context_size(prog_type, machine.kernel.profile.arch) as usize];
            raw_input(machine, &bytes)
        }
    }
}

/// A context with this packet, which begins with its Ethernet header; `None` for programs that have no packet.
///
/// # Errors
/// [`ContextError`].
pub fn packet_input(
    machine: &mut Machine,
    prog: ProgId,
    packet: &[u8],
) -> Result<Option<RunInput>, ContextError> {
    let loaded = machine.kernel.progs.get(prog).cloned().ok_or(ContextError::NoProgram(prog))?;
    match loaded.prog_type {
        ProgType::Netfilter => netfilter::netfilter_input(machine, &loaded, packet),
        ProgType::FlowDissector => flow_dissector_input(machine, packet),
        prog_type if has_packet(prog_type) => net::packet(machine, prog_type, packet),
        _ => return Ok(None),
    }
    .map(Some)
}

/// A context of these bytes, which the program may read and write.
///
/// # Errors
/// If there is no memory.
pub fn raw_input(machine: &mut Machine, bytes: &[u8]) -> Result<RunInput, ContextError> {
    place(machine, bytes, Perm::ReadWrite)
}

/// Puts a context into memory; it is freed when the run ends.
pub(crate) fn place(machine: &mut Machine, bytes: &[u8], perm: Perm) -> Result<RunInput, ContextError> {
    let size = u32::try_from(bytes.len()).map_err(|_| ContextError::TooLarge(bytes.len()))?;
    let addr = machine.mem.alloc(Alloc::new(Area::Context, RegionKind::Context, size, "").perm(perm))?;
    // Just allocated: it is inside.
    let _ = machine.mem.poke(addr, bytes);
    Ok(RunInput { args: [addr, 0, 0, 0, 0], scratch: vec![addr], ..RunInput::default() })
}

/// Puts memory that only probing helpers may read beside a context; it is freed when the run ends.
pub(crate) fn place_kernel(
    machine: &mut Machine,
    input_scratch: &mut Vec<u64>,
    bytes: &[u8],
    name: &str,
) -> Result<u64, ContextError> {
    let size = u32::try_from(bytes.len()).map_err(|_| ContextError::TooLarge(bytes.len()))?;
    let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, size, name).perm(Perm::ProbeOnly);
    let addr = machine.mem.alloc(alloc)?;
    let _ = machine.mem.poke(addr, bytes);
    input_scratch.push(addr);
    Ok(addr)
}
