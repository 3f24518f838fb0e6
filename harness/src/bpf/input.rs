//! What a program is given: its context and its registers.

use bpf_helpers_mock::{Machine, RunInput};
use bpf_vm_shim::mem::{Alloc, Area, RegionKind};
use bpf_vm_shim::object::ProgType;

use crate::error::Error;

/// The input of one run, by hand.
#[derive(Clone, Default, Debug)]
pub struct Input {
    ctx: Option<Vec<u8>>,
    packet: Option<Vec<u8>>,
}

impl Input {
    /// A zeroed context of the program type's size, and 64 zero bytes of packet where there is one.
    #[must_use]
    pub fn default_for_type() -> Self {
        Self::default()
    }

    /// A context of these bytes.
    #[must_use]
    pub fn ctx(bytes: impl Into<Vec<u8>>) -> Self {
        Self { ctx: Some(bytes.into()), packet: None }
    }

    /// A packet of these bytes, beginning with its Ethernet header.
    #[must_use]
    pub fn packet(bytes: impl Into<Vec<u8>>) -> Self {
        Self { ctx: None, packet: Some(bytes.into()) }
    }

    /// The same input with another packet.
    #[must_use]
    pub fn with_packet(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.packet = Some(bytes.into());
        self
    }

    pub(super) fn prepare(self, machine: &mut Machine, prog_type: ProgType) -> Result<RunInput, Error> {
        let bytes = self.ctx.unwrap_or_else(|| vec![0; default_ctx_size(prog_type)]);
        let size =
            u32::try_from(bytes.len()).map_err(|_| Error::Invalid("the context is too large".into()))?;
        let alloc = Alloc::new(Area::Context, RegionKind::Context, size, prog_type.name());
        let addr = machine.mem.alloc(alloc).map_err(bpf_helpers_mock::MachineError::from)?;
        machine.mem.poke(addr, &bytes).map_err(|_| Error::Invalid("no memory for the context".into()))?;
        Ok(RunInput { args: [addr, 0, 0, 0, 0], ..RunInput::default() })
    }
}

/// The size of a program type's context in bytes (the `user` type in `include/linux/bpf_types.h`).
#[must_use]
pub fn default_ctx_size(prog_type: ProgType) -> usize {
    use ProgType as P;
    match prog_type {
        P::Kprobe => 168,
        P::SocketFilter | P::SchedCls | P::SchedAct | P::CgroupSkb | P::SkSkb | P::LwtIn | P::LwtOut => 192,
        P::LwtXmit | P::LwtSeg6local | P::FlowDissector => 192,
        P::Xdp => 24,
        P::PerfEvent => 184,
        P::CgroupSock => 80,
        P::CgroupSockAddr => 80,
        P::SockOps => 224,
        P::SkMsg => 88,
        P::SkReuseport => 72,
        P::SkLookup => 72,
        P::CgroupDevice => 12,
        P::CgroupSysctl => 8,
        P::CgroupSockopt => 40,
        P::LircMode2 => 4,
        P::Netfilter => 16,
        P::Syscall => 64,
        P::Tracepoint => 256,
        _ => 12 * 8,
    }
}
