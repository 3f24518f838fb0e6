//! Sections that a program enters and must leave: RCU, preemption, interrupts (`kernel/bpf/helpers.c`; the rules are
//! `check_kfunc_call`'s in `kernel/bpf/verifier.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{FaultKind, Trap};

use super::KfuncDesc;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;
use crate::run::HeldKind;

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc { name: "bpf_rcu_read_lock", args: &[], since: (6, 2), func: rcu_read_lock },
    KfuncDesc { name: "bpf_rcu_read_unlock", args: &[], since: (6, 2), func: rcu_read_unlock },
    KfuncDesc { name: "bpf_preempt_disable", args: &[], since: (6, 10), func: preempt_disable },
    KfuncDesc { name: "bpf_preempt_enable", args: &[], since: (6, 10), func: preempt_enable },
    KfuncDesc { name: "bpf_local_irq_save", args: &[Arg::FixedOut(8)], since: (6, 14), func: irq_save },
    KfuncDesc { name: "bpf_local_irq_restore", args: &[Arg::Fixed(8)], since: (6, 14), func: irq_restore },
];

/// Flags with interrupts enabled, as x86-64 has them.
const IRQ_FLAGS: u64 = 0x246;

fn enter(kernel: &mut Kernel, call: &Call<'_, '_>, kind: HeldKind, key: u64, what: &str) -> CallResult {
    if let Some(run) = kernel.run_mut() {
        run.hold(call.cx, kind, key, what, call.name);
    }
    Ok(Flow::Return(0))
}

fn leave(kernel: &mut Kernel, kind: HeldKind, key: u64, otherwise: &str) -> CallResult {
    match kernel.run_mut().map(|r| r.release(kind, key)) {
        Some(None) => Err(lock(otherwise)),
        _ => Ok(Flow::Return(0)),
    }
}

fn lock(why: &str) -> Trap {
    FaultKind::Lock { why: why.to_owned() }.into()
}

/// `bpf_rcu_read_lock`; sections nest.
fn rcu_read_lock(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    enter(kernel, call, HeldKind::RcuLock, 0, "RCU read lock")
}

/// `bpf_rcu_read_unlock`.
fn rcu_read_unlock(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    leave(kernel, HeldKind::RcuLock, 0, "unmatched bpf_rcu_read_unlock: no RCU read lock is held")
}

/// `bpf_preempt_disable`; sections nest.
fn preempt_disable(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    enter(kernel, call, HeldKind::PreemptDisabled, 0, "disabled preemption")
}

/// `bpf_preempt_enable`.
fn preempt_enable(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    leave(kernel, HeldKind::PreemptDisabled, 0, "unmatched bpf_preempt_enable: preemption is not disabled")
}

/// `bpf_local_irq_save(flags)`: the flags' place on the stack is what must be given back.
fn irq_save(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let place = call.args[0];
    call.put(0, place, &IRQ_FLAGS.to_le_bytes())?;
    enter(kernel, call, HeldKind::IrqDisabled, place, "saved interrupt flags")
}

/// `bpf_local_irq_restore(flags)`: the last saved are restored first.
fn irq_restore(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let place = call.args[0];
    let last = kernel.run().and_then(|r| r.held.iter().rfind(|h| h.kind == HeldKind::IrqDisabled));
    if last.is_some_and(|h| h.key != place) {
        return Err(lock("interrupt flags are restored out of order: others were saved later"));
    }
    leave(kernel, HeldKind::IrqDisabled, place, "bpf_local_irq_restore of flags that were not saved there")
}
