//! Timers in map values (`kernel/bpf/helpers.c`). Advancing the clock runs their callbacks.

use std::sync::Arc;

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{FaultKind, Trap};

use super::args::map_arg;
use super::desc::{Arg, Call, HelperDesc};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::state::{Deferred, DeferredKind};

/// `BPF_F_TIMER_ABS`: the time is absolute.
const ABS: u64 = 1;
/// `BPF_F_TIMER_CPU_PIN`: on the CPU that starts it.
const PIN: u64 = 2;

macro_rules! row {
    ($id:literal, $name:literal, $args:expr, $func:ident) => {
        HelperDesc {
            id: $id,
            name: $name,
            args: $args,
            since: (5, 15),
            gpl_only: false,
            func: $func,
            resume: None,
        }
    };
}

pub(super) static TABLE: &[HelperDesc] = &[
    row!(169, "bpf_timer_init", &[Arg::FixedOut(16), Arg::Map, Arg::Any], init),
    row!(170, "bpf_timer_set_callback", &[Arg::FixedOut(16), Arg::Func], set_callback),
    row!(171, "bpf_timer_start", &[Arg::FixedOut(16), Arg::Any, Arg::Any], start),
    row!(172, "bpf_timer_cancel", &[Arg::FixedOut(16)], cancel),
];

/// The number of the item whose structure is at an address; 0 if it is not initialised.
pub(crate) fn number(call: &mut Call<'_, '_>, addr: u64) -> u64 {
    let mut bytes = [0; 8];
    let _ = call.cx.mem.peek(addr, &mut bytes);
    u64::from_le_bytes(bytes)
}

/// Initialises a timer or work item; `-EBUSY` if it is already.
pub(crate) fn init_item(kernel: &mut Kernel, call: &mut Call<'_, '_>, kind: DeferredKind) -> CallResult {
    let [addr, map, ..] = call.args;
    let map = map_arg(kernel, map)?;
    let known = number(call, addr);
    if known != 0 && kernel.state.timers.get_mut(known, addr).is_some() {
        return Ok(Flow::Return(Errno::EBUSY.ret()));
    }
    let cpu = kernel.state.cpus.current;
    let number = kernel.state.timers.add(Deferred { kind, addr, map, callback: None, cpu });
    let _ = call.cx.mem.poke(addr, &number.to_le_bytes());
    Ok(Flow::Return(0))
}

/// Sets what to call; `-EINVAL` if the item is not initialised.
pub(crate) fn set_item(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [addr, func, ..] = call.args;
    let number = number(call, addr);
    let prog = kernel.run().map(|run| Arc::clone(&run.prog));
    let Some((item, prog)) = kernel.state.timers.get_mut(number, addr).zip(prog) else {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    };
    item.callback = Some((func, Arc::clone(call.cx.code()), prog));
    Ok(Flow::Return(0))
}

/// `bpf_timer_init`: flags are the clock; `-EINVAL` for others than monotonic, real-time and boot-time.
fn init(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    // CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME.
    if !matches!(call.args[2], 0 | 1 | 7) {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    check_map(kernel, call)?;
    init_item(kernel, call, DeferredKind::Timer)
}

/// The map must be the one whose value holds the structure.
pub(crate) fn check_map(kernel: &Kernel, call: &Call<'_, '_>) -> Result<(), Trap> {
    let id = map_arg(kernel, call.args[1])?;
    let name = kernel.maps.get(id).map(|m| m.def.name.clone()).unwrap_or_default();
    let wanted = format!("map '{name}'");
    let region = call.cx.mem.region(call.args[0]);
    if region.is_none_or(|r| *r.alloc().name == *wanted) {
        return Ok(());
    }
    let why = format!("is in another map's value than argument 2, {wanted}");
    Err(FaultKind::Argument { callee: call.name.to_owned(), arg: 1, why, problem: None }.into())
}

/// `bpf_timer_set_callback`.
fn set_callback(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    set_item(kernel, call)
}

/// `bpf_timer_start`: `-EINVAL` for unknown flags, an uninitialised timer or one without a callback.
fn start(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [addr, nsecs, flags, ..] = call.args;
    let number = number(call, addr);
    let cpu = kernel.state.cpus.current;
    let item = kernel.state.timers.get_mut(number, addr).filter(|i| i.callback.is_some());
    let Some(item) = item.filter(|_| flags & !(ABS | PIN) == 0) else {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    };
    item.cpu = cpu;
    let now = kernel.state.clock.now();
    let due = if flags & ABS != 0 { nsecs } else { now.saturating_add(nsecs) };
    kernel.state.clock.set_alarm(due, number);
    Ok(Flow::Return(0))
}

/// `bpf_timer_cancel`: 1 if it was waiting, 0 if not; `-EINVAL` if it is not initialised, `-EDEADLK` from its own
/// callback.
fn cancel(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = call.args[0];
    let number = number(call, addr);
    let own = kernel.state.timers.running == Some(number);
    if kernel.state.timers.get_mut(number, addr).is_none() {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    if own {
        return Ok(Flow::Return(Errno::EDEADLK.ret()));
    }
    Ok(Flow::Return(u64::from(kernel.state.clock.cancel_alarm(number))))
}
