//! Signals.

use super::call::{acted, call, failed, ptr};
use crate::error::Error;
use crate::stimulus::Stimulated;

/// The kernel's `struct sigaction` on 64 bits: handler, flags, restorer, mask. (arm64 has no restorer, and reads less.)
type Action = [usize; 4];
/// The size of its mask.
const MASK: libc::c_long = 8;

fn action(signal: u32, new: *const Action, old: *mut Action) -> Result<(), Error> {
    // SAFETY: both are null or of the kernel's size; a signal that is ignored runs no code.
    let ret = unsafe { call(libc::SYS_rt_sigaction, [signal.into(), ptr(new), ptr(old), MASK, 0, 0]) };
    if ret < 0 { Err(failed("rt_sigaction", ret)) } else { Ok(()) }
}

pub(crate) fn kill(target: Option<u32>, signal: u32, ignore: bool) -> Result<Stimulated, Error> {
    let mut done = acted();
    let target = target.unwrap_or(done.tgid);
    let ignored: Action = [libc::SIG_IGN, 0, 0, 0];
    let mut before: Action = [0; 4];
    if ignore {
        action(signal, &raw const ignored, &raw mut before)?;
    }
    // SAFETY: takes numbers; the signal is none, goes to nobody, or is ignored.
    done.ret = unsafe { call(libc::SYS_kill, [target.into(), signal.into(), 0, 0, 0, 0]) };
    if ignore {
        action(signal, &raw const before, std::ptr::null_mut())?;
    }
    Ok(done.with("target", target.into()))
}
