//! Keys as counted kernel objects (`kernel/bpf/helpers.c`, `kernel/trace/bpf_trace.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{Unsupported, UnsupportedKind};
use bpf_vm_shim::mem::{Alloc, Area, Perm, RegionKind};

use super::KfuncDesc;
use super::task::{argument, give};
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;
use crate::run::HeldKind;

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc { name: "bpf_lookup_system_key", args: &[Arg::Any], since: (6, 1), func: lookup_system },
    KfuncDesc { name: "bpf_lookup_user_key", args: &[Arg::Any, Arg::Any], since: (6, 1), func: lookup_user },
    KfuncDesc { name: "bpf_key_put", args: &[Arg::KernelPtr], since: (6, 1), func: put },
];

/// `sizeof(struct bpf_key)`: a pointer and whether it is counted.
const SIZE: u32 = 16;

/// `bpf_lookup_system_key`: one of the system's keyrings, by the numbers 0 to 2; null for others.
fn lookup_system(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    /// `VERIFY_USE_PLATFORM_KEYRING`.
    const LAST: u64 = 2;
    let id = call.args[0];
    if id > LAST {
        return Ok(Flow::Return(0));
    }
    let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, SIZE, "struct bpf_key").perm(Perm::ProbeOnly);
    let Ok(addr) = call.cx.mem.alloc(alloc) else { return Ok(Flow::Return(0)) };
    // The pointer is the keyring's number.
    let _ = call.cx.mem.poke(addr, &id.to_le_bytes());
    give(kernel, call, addr, "struct bpf_key")
}

/// `bpf_lookup_user_key`: null for a serial number that no key has, as none has here, and for unknown flags. The
/// keyrings that every task has are not simulated.
fn lookup_user(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    /// `KEY_LOOKUP_ALL`.
    const FLAGS: u64 = 3;
    let [serial, flags, ..] = call.args;
    if flags & !FLAGS == 0 && (serial as i32) < 0 {
        return Err(Unsupported::new(UnsupportedKind::Feature, "a task's keyrings").into());
    }
    Ok(Flow::Return(0))
}

/// `bpf_key_put`: gives back what a lookup gave.
fn put(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = call.args[0];
    if kernel.run_mut().and_then(|r| r.release(HeldKind::Reference, addr)).is_none() {
        return Err(argument(call, 0, "is not a reference that the program holds"));
    }
    let _ = call.cx.mem.free(addr);
    Ok(Flow::Return(0))
}
