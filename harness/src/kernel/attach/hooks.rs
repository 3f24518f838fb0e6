//! Hooks of security modules.

use libbpf_rs::{Link, ProgramMut};

use super::Refused;

/// The security modules that are on, in order.
const ACTIVE: &str = "/sys/kernel/security/lsm";

/// Attaches to the hook that the program is of. Where the security module `bpf` is off, the kernel attaches it all the same
/// and never calls it, so that is an error here.
pub(super) fn hook(prog: &ProgramMut<'_>) -> Result<Link, Refused> {
    // Where nobody has mounted securityfs nothing is known.
    let active = std::fs::read_to_string(ACTIVE).ok();
    if let Some(active) = active.filter(|list| !list.trim().split(',').any(|name| name == "bpf")) {
        return Err(Refused::Here(format!(
            "the security module 'bpf' is off on this kernel, so the program would never run; on are: {}. Boot with \
             lsm=...,bpf on the kernel's command line (`bpf-vm run` does)",
            active.trim()
        )));
    }
    Ok(prog.attach()?)
}
