//! How a run ended.

use bpf_helpers_mock::contexts::PacketOutput;
use bpf_vm_shim::exec::Outcome;

use super::backend::KernelRun;
use crate::error::Error;
use crate::report::{Diagnostic, SourceLine};

/// How one run of a program ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// The program.
    pub program: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Instructions executed.
    pub insns: u64,
    /// What became of the packet, if there was one.
    pub packet: Option<PacketOutput>,
    /// The C line that needed something unsupported.
    pub gap_at: Option<SourceLine>,
    /// The fault, ready to be shown.
    pub diagnostic: Option<Box<Diagnostic>>,
    /// Whether R0 is known. A kernel does not tell what most probes return.
    pub ret_known: bool,
}

impl RunReport {
    /// What a kernel tells of a run. It ran to its end: the verifier has proved that it does nothing else.
    pub(super) fn of_kernel(program: &str, run: KernelRun) -> Self {
        Self {
            program: program.to_owned(),
            outcome: Outcome::Returned(run.ret.unwrap_or(0)),
            insns: 0,
            packet: run.packet.map(|packet| PacketOutput { packet, ..PacketOutput::default() }),
            gap_at: None,
            diagnostic: None,
            ret_known: run.ret.is_some(),
        }
    }

    /// R0 at the end; 0 where a kernel does not tell ([`RunReport::ret_known`]).
    ///
    /// # Errors
    /// If the program faulted or needed something unsupported.
    pub fn ret(&self) -> Result<u64, Error> {
        match &self.outcome {
            Outcome::Returned(v) => Ok(*v),
            Outcome::Unsupported(gap) => {
                Err(Error::Unsupported { program: self.program.clone(), source: gap.clone() })
            }
            Outcome::Fault(fault) => Err(match &self.diagnostic {
                Some(d) => Error::Fault(d.clone()),
                None => Error::Invalid(fault.to_string()),
            }),
        }
    }

    /// The low half of R0 as a signed number: what the kernel takes for the result of most program types.
    ///
    /// # Errors
    /// As [`RunReport::ret`].
    pub fn ret32(&self) -> Result<i32, Error> {
        Ok(self.ret()? as u32 as i32)
    }
}
