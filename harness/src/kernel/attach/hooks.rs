//! Programs that are loaded for one place of the kernel: functions, raw tracepoints with types, hooks of security modules.

use libbpf_rs::ProgramMut;

use super::raw_link::RawLink;
use super::{Held, Refused};
use crate::bpf::Attachment;

/// The security modules that are on, in order.
const ACTIVE: &str = "/sys/kernel/security/lsm";

/// Attaches to the hook that the program is of. Where the security module `bpf` is off, the kernel attaches it all the same
/// and never calls it, so that is an error here.
pub(super) fn hook(prog: &ProgramMut<'_>, a: &Attachment) -> Result<Held, Refused> {
    // Where nobody has mounted securityfs nothing is known.
    let active = std::fs::read_to_string(ACTIVE).ok();
    if let Some(active) = active.filter(|list| !list.trim().split(',').any(|name| name == "bpf")) {
        return Err(Refused::Here(format!(
            "the security module 'bpf' is off on this kernel, so the program would never run; on are: {}. Boot with \
             lsm=...,bpf on the kernel's command line (`bpf-vm run` does)",
            active.trim()
        )));
    }
    trace(prog, a)
}

/// Attaches to the place that the program was loaded for.
pub(super) fn trace(prog: &ProgramMut<'_>, a: &Attachment) -> Result<Held, Refused> {
    Ok(match a.cookie {
        0 => prog.attach()?.into(),
        cookie => RawLink::trace(prog, cookie)?.into(),
    })
}
