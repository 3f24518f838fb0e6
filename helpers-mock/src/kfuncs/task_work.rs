//! Work for a task, in map values (`kernel/bpf/helpers.c`). It runs when the clock is next advanced, if only by 0: the
//! task has then returned to user space.

use std::sync::Arc;

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{Unsupported, UnsupportedKind};

use super::KfuncDesc;
use crate::errno::Errno;
use crate::helpers::timer as deferred;
use crate::helpers::{Arg, Call, map_arg};
use crate::kernel::Kernel;
use crate::state::{Deferred, DeferredKind};

const ARGS: &[Arg] = &[Arg::KernelPtr, Arg::FixedOut(8), Arg::Any, Arg::Func];

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc { name: "bpf_task_work_schedule_signal", args: ARGS, since: (6, 18), func: schedule },
    KfuncDesc { name: "bpf_task_work_schedule_resume", args: ARGS, since: (6, 18), func: schedule },
    KfuncDesc { name: "bpf_task_work_schedule_signal_impl", args: ARGS, since: (6, 18), func: schedule },
    KfuncDesc { name: "bpf_task_work_schedule_resume_impl", args: ARGS, since: (6, 18), func: schedule },
];

/// `bpf_task_work_schedule`: `-EBUSY` if the structure's work has not run yet. Only the current task gets work here.
fn schedule(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [task, addr, map, func, _] = call.args;
    let pid = kernel.state.tasks.by_object(task).map(|t| t.pid);
    if pid != Some(kernel.state.current().pid) {
        return Err(
            Unsupported::new(UnsupportedKind::Feature, "work for another task than the current one").into()
        );
    }
    let map = map_arg(kernel, map)?;
    let known = deferred::number(call, addr);
    let known = Some(known).filter(|n| *n != 0 && kernel.state.timers.get_mut(*n, addr).is_some());
    if known.is_some_and(|n| kernel.state.clock.alarms().any(|(_, id)| id == n)) {
        return Ok(Flow::Return(Errno::EBUSY.ret()));
    }
    let prog = kernel.run().map(|run| Arc::clone(&run.prog));
    let callback = prog.map(|prog| (func, Arc::clone(call.cx.code()), prog));
    let cpu = kernel.state.cpus.current;
    let number = match known {
        Some(number) => {
            if let Some(item) = kernel.state.timers.get_mut(number, addr) {
                (item.callback, item.cpu) = (callback, cpu);
            }
            number
        }
        None => {
            let item = Deferred { kind: DeferredKind::TaskWork, addr, map, callback, cpu };
            let number = kernel.state.timers.add(item);
            let _ = call.cx.mem.poke(addr, &number.to_le_bytes());
            number
        }
    };
    let now = kernel.state.clock.now();
    kernel.state.clock.set_alarm(now, number);
    Ok(Flow::Return(0))
}
