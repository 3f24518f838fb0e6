//! The iterator over tasks, `bpf_iter_task` (`kernel/bpf/task_iter.c`). Tasks come by thread id, the idle task first.
//!
//! Its 24 bytes hold the next task's id plus one, the flags, and the process whose threads are asked for.

use bpf_vm_shim::env::{CallResult, Flow};

use super::list::word;
use super::{KfuncDesc, iter};
use crate::errno::Errno;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc {
        name: "bpf_iter_task_new",
        args: &[Arg::FixedOut(24), Arg::KernelPtrOrNull, Arg::Any],
        since: (6, 7),
        func: new,
    },
    KfuncDesc { name: "bpf_iter_task_next", args: &[Arg::Any], since: (6, 7), func: next },
    KfuncDesc { name: "bpf_iter_task_destroy", args: &[Arg::Any], since: (6, 7), func: destroy },
];

/// `BPF_TASK_ITER_ALL_PROCS`.
const ALL_PROCS: u64 = 0;
/// `BPF_TASK_ITER_ALL_THREADS`.
const ALL_THREADS: u64 = 1;
/// `BPF_TASK_ITER_PROC_THREADS`.
const PROC_THREADS: u64 = 2;

/// `bpf_iter_task_new`: `-EINVAL` for unknown flags, or for the threads of a null task; the iterator is then empty.
fn new(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [at, task, flags, ..] = call.args;
    let flags = u64::from(flags as u32);
    let given = kernel.state.tasks.by_object(task).map(|t| (t.pid, t.tgid));
    let (first, tgid, ret) = match (flags, given) {
        (ALL_PROCS | ALL_THREADS, _) => (1, 0, 0),
        (PROC_THREADS, Some((pid, tgid))) => (u64::from(pid) + 1, tgid, 0),
        _ => (0, 0, Errno::EINVAL.ret()),
    };
    let _ = call.cx.mem.write(at, &[first, flags, tgid.into()].map(u64::to_le_bytes).concat());
    iter::begin(kernel, call, "task");
    Ok(Flow::Return(ret))
}

/// The first task from an id on that the flags ask for.
fn following(kernel: &Kernel, from: u64, flags: u64, tgid: u64) -> Option<u32> {
    let tasks = &kernel.state.tasks;
    let asked = |pid: u32, group: u32| match flags {
        ALL_PROCS => pid == group,
        PROC_THREADS => u64::from(group) == tgid,
        _ => true,
    };
    let all = tasks.get(0).into_iter().chain(tasks.iter());
    all.map(|t| (t.pid, t.tgid))
        .find(|(pid, group)| u64::from(*pid) >= from && asked(*pid, *group))
        .map(|t| t.0)
}

/// `bpf_iter_task_next`: the task's object, or null at the end.
fn next(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    iter::require(kernel, call)?;
    let at = call.args[0];
    let [from, flags, tgid] = [0, 8, 16].map(|offset| word(call.cx.mem, at + offset));
    let Some(from) = from.checked_sub(1) else { return Ok(Flow::Return(0)) };
    let found = following(kernel, from, flags, tgid);
    let next = found.map_or(0, |pid| u64::from(pid) + 2);
    let _ = call.cx.mem.poke(at, &next.to_le_bytes());
    let object = match found {
        Some(pid) => kernel.task_object(call.cx.mem, pid)?,
        None => 0,
    };
    Ok(Flow::Return(object))
}

/// `bpf_iter_task_destroy`.
fn destroy(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    iter::end(kernel, call, 24)
}
