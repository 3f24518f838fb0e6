//! The timer's kernel functions (`kernel/bpf/helpers.c`); the rest are helpers.

use bpf_vm_shim::env::{CallResult, Flow};

use super::KfuncDesc;
use crate::errno::Errno;
use crate::helpers::timer as deferred;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;

pub(super) static TABLE: &[KfuncDesc] = &[KfuncDesc {
    name: "bpf_timer_cancel_async",
    args: &[Arg::FixedOut(16)],
    since: (6, 19),
    func: cancel_async,
}];

/// `bpf_timer_cancel_async`: 1 if it was waiting, 0 if not, -1 from its own callback (`hrtimer_try_to_cancel`);
/// `-EINVAL` if it is not initialised.
fn cancel_async(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = call.args[0];
    let number = deferred::number(call, addr);
    if kernel.state.timers.get_mut(number, addr).is_none() {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    if kernel.state.timers.running == Some(number) {
        return Ok(Flow::Return(-1i64 as u64));
    }
    Ok(Flow::Return(u64::from(kernel.state.clock.cancel_alarm(number))))
}
