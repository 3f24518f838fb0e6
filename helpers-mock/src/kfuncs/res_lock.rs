//! Resilient spin locks (`kernel/bpf/rqspinlock.c`): a deadlock is an error, not the end.

use bpf_vm_shim::env::{CallResult, Flow};

use super::KfuncDesc;
use crate::errno::Errno;
use crate::helpers::{Arg, Call, lock_fault};
use crate::kernel::Kernel;
use crate::run::ResLock;

macro_rules! row {
    ($name:literal, $args:expr, $func:ident) => {
        KfuncDesc { name: $name, args: $args, since: (6, 15), func: $func }
    };
}

pub(super) static TABLE: &[KfuncDesc] = &[
    row!("bpf_res_spin_lock", &[Arg::InMapValue], lock),
    row!("bpf_res_spin_unlock", &[Arg::InMapValue], unlock),
    row!("bpf_res_spin_lock_irqsave", &[Arg::InMapValue, Arg::FixedOut(8)], lock_irqsave),
    row!("bpf_res_spin_unlock_irqrestore", &[Arg::InMapValue, Arg::Any], unlock_irqrestore),
];

/// `bpf_res_spin_lock`: 0, or `-EDEADLK` if this CPU holds it already.
fn lock(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    take(kernel, call, 0)
}

/// `bpf_res_spin_lock_irqsave`.
fn lock_irqsave(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    take(kernel, call, call.args[1])
}

fn take(kernel: &mut Kernel, call: &mut Call<'_, '_>, flags_at: u64) -> CallResult {
    let (addr, at) = (call.args[0], call.cx.insn());
    if kernel.runs.iter().any(|run| run.res_locks.iter().any(|l| l.addr == addr)) {
        return Ok(Flow::Return(Errno::EDEADLK.ret()));
    }
    if let Some(run) = kernel.run_mut() {
        run.res_locks.push(ResLock { addr, at, flags_at });
    }
    if flags_at != 0 {
        let _ = call.cx.mem.store(flags_at, 8, 0x200);
    }
    Ok(Flow::Return(0))
}

/// `bpf_res_spin_unlock`: locks must be released in the reverse order of taking.
fn unlock(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    release(kernel, call, 0)
}

/// `bpf_res_spin_unlock_irqrestore`.
fn unlock_irqrestore(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    release(kernel, call, call.args[1])
}

fn release(kernel: &mut Kernel, call: &mut Call<'_, '_>, flags_at: u64) -> CallResult {
    let addr = call.args[0];
    let Some(run) = kernel.run_mut() else { return Ok(Flow::Return(0)) };
    let Some(place) = run.res_locks.iter().rposition(|l| l.addr == addr) else {
        return Err(lock_fault("bpf_res_spin_unlock without taking the lock"));
    };
    if place + 1 != run.res_locks.len() {
        return Err(lock_fault("bpf_res_spin_unlock cannot be out of order"));
    }
    if run.res_locks.get(place).is_some_and(|l| l.flags_at != flags_at) {
        return Err(lock_fault("bpf_res_spin_unlock: the irq flags are not those of the lock"));
    }
    run.res_locks.remove(place);
    Ok(Flow::Return(0))
}
