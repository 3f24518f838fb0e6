//! What a program is given: its context and its registers.

use bpf_helpers_mock::contexts::{self, ContextError};
use bpf_helpers_mock::{Machine, ProgId, RunInput};
use bpf_vm_shim::object::ProgType;

use crate::error::Error;

/// The input of one run, by hand.
#[derive(Clone, Default, Debug)]
pub struct Input {
    ctx: Option<Vec<u8>>,
    packet: Option<Vec<u8>>,
    test_run: bool,
    linear: Option<usize>,
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
        Self { ctx: Some(bytes.into()), ..Self::default() }
    }

    /// A packet of these bytes, beginning with its Ethernet header. Programs without a packet run as without this.
    #[must_use]
    pub fn packet(bytes: impl Into<Vec<u8>>) -> Self {
        Self { packet: Some(bytes.into()), ..Self::default() }
    }

    /// The same input with another packet.
    #[must_use]
    pub fn with_packet(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.packet = Some(bytes.into());
        self
    }

    /// Whether there is a context or a packet in it.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.ctx.is_some() || self.packet.is_some()
    }

    /// What the kernel's selftests give to `BPF_PROG_TEST_RUN`: as the default, but no context for programs that the
    /// `bpf` system call runs.
    #[must_use]
    pub fn as_test_run(mut self) -> Self {
        self.test_run = true;
        self
    }

    /// The same input, with only this many bytes of the packet in the linear part of its socket buffer.
    #[must_use]
    pub fn with_linear_size(mut self, bytes: usize) -> Self {
        self.linear = Some(bytes);
        self
    }

    /// The context, if one is given.
    pub(super) fn given_ctx(&self) -> Option<&[u8]> {
        self.ctx.as_deref()
    }

    /// The packet for a kernel's test run, which makes the rest of the context itself.
    pub(super) fn kernel_packet(&self, prog_type: ProgType) -> Result<Option<&[u8]>, Error> {
        if self.linear.is_some() {
            let why = "a kernel's test run has the whole packet in the linear part of its socket buffer: a test that sets \
                       its size is for the simulator";
            return Err(Error::Invalid(why.to_owned()));
        }
        let default = contexts::has_packet(prog_type).then_some(&contexts::DEFAULT_PACKET[..]);
        Ok(self.packet.as_deref().or(default))
    }

    pub(super) fn prepare(
        &self,
        machine: &mut Machine,
        prog: ProgId,
        prog_type: ProgType,
    ) -> Result<RunInput, ContextError> {
        if let Some(linear) = self.linear.filter(|_| prog_type != ProgType::Xdp && self.ctx.is_none()) {
            let packet = self.packet.clone().unwrap_or_else(|| contexts::DEFAULT_PACKET.to_vec());
            let skb = contexts::SkbInput { packet, linear: Some(linear), ..contexts::SkbInput::default() };
            return contexts::skb(machine, prog_type, &skb);
        }
        match (&self.packet, &self.ctx) {
            (_, Some(ctx)) if prog_type == ProgType::Syscall => contexts::syscall_input(machine, ctx),
            (_, Some(ctx)) => contexts::raw_input(machine, ctx),
            (Some(packet), None) => match contexts::packet_input(machine, prog, packet)? {
                Some(input) => Ok(input),
                None => contexts::default_input(machine, prog),
            },
            (None, None) if self.test_run && prog_type == ProgType::Syscall => {
                contexts::syscall_input(machine, &[])
            }
            _ => contexts::default_input(machine, prog),
        }
    }
}
