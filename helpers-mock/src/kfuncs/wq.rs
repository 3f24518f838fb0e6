//! Work queues in map values (`kernel/bpf/helpers.c`). Work runs when the clock is next advanced, if only by 0.

use bpf_vm_shim::env::{CallResult, Flow};

use super::{KfuncDesc, object};
use crate::errno::Errno;
use crate::helpers::timer as deferred;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;
use crate::state::DeferredKind;

macro_rules! row {
    ($name:literal, $args:expr, $func:ident) => {
        KfuncDesc { name: $name, args: $args, since: (6, 10), func: $func }
    };
}

pub(super) static TABLE: &[KfuncDesc] = &[
    row!("bpf_wq_init", &[Arg::FixedOut(16), Arg::Map, Arg::Any], init),
    row!("bpf_wq_set_callback_impl", &[Arg::FixedOut(16), Arg::Any, Arg::Any], set_callback),
    row!("bpf_wq_set_callback", &[Arg::FixedOut(16), Arg::Any, Arg::Any], set_callback),
    row!("bpf_wq_start", &[Arg::FixedOut(16), Arg::Any], start),
];

/// `bpf_wq_init`: `-EINVAL` for flags.
fn init(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    if call.args[2] != 0 {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    deferred::check_map(kernel, call)?;
    deferred::init_item(kernel, call, DeferredKind::Work)
}

/// `bpf_wq_set_callback`: `-EINVAL` for flags.
fn set_callback(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    if !call.cx.code().has_func_at(call.args[1]) {
        return Err(object::argument(call.name, 2, "is no function of the program", None));
    }
    if call.args[2] != 0 {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    deferred::set_item(kernel, call)
}

/// `bpf_wq_start`: `-EINVAL` for flags or an uninitialised item.
fn start(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [addr, flags, ..] = call.args;
    let number = deferred::number(call, addr);
    let cpu = kernel.state.cpus.current;
    let Some(item) = kernel.state.timers.get_mut(number, addr).filter(|_| flags == 0) else {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    };
    item.cpu = cpu;
    let now = kernel.state.clock.now();
    kernel.state.clock.set_alarm(now, number);
    Ok(Flow::Return(0))
}
