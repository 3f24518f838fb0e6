//! How a run ended.

use bpf_helpers_mock::contexts::PacketOutput;
use bpf_vm_shim::exec::Outcome;

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
}

impl RunReport {
    /// R0 at the end.
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
