//! Tasks and control groups as counted kernel objects (`kernel/bpf/helpers.c`).

use std::sync::Arc;

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{FaultKind, Trap};

use super::KfuncDesc;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;
use crate::run::HeldKind;
use crate::state::Task;

const OBJECT: &[Arg] = &[Arg::KernelPtr];

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc { name: "bpf_task_from_pid", args: &[Arg::Any], since: (6, 2), func: task_from_pid },
    KfuncDesc { name: "bpf_task_from_vpid", args: &[Arg::Any], since: (6, 14), func: task_from_vpid },
    KfuncDesc { name: "bpf_task_acquire", args: OBJECT, since: (6, 2), func: acquire },
    KfuncDesc { name: "bpf_task_release", args: OBJECT, since: (6, 2), func: release },
    KfuncDesc {
        name: "bpf_task_under_cgroup",
        args: &[Arg::KernelPtr, Arg::KernelPtr],
        since: (6, 5),
        func: task_under_cgroup,
    },
    KfuncDesc { name: "bpf_cgroup_from_id", args: &[Arg::Any], since: (6, 4), func: cgroup_from_id },
    KfuncDesc {
        name: "bpf_cgroup_ancestor",
        args: &[Arg::KernelPtr, Arg::Any],
        since: (6, 2),
        func: cgroup_ancestor,
    },
    KfuncDesc { name: "bpf_cgroup_acquire", args: OBJECT, since: (6, 2), func: acquire },
    KfuncDesc { name: "bpf_cgroup_release", args: OBJECT, since: (6, 2), func: release },
];

/// Gives an object, or null, to the program, which must release it if it is not null.
pub(super) fn give(kernel: &mut Kernel, call: &Call<'_, '_>, addr: u64, what: &str) -> CallResult {
    if let (Some(run), true) = (kernel.run_mut(), addr != 0) {
        run.hold(call.cx, HeldKind::Reference, addr, what, call.name);
    }
    Ok(Flow::Return(addr))
}

/// `bpf_task_from_pid`: by the pid of the first PID namespace; null if there is none.
fn task_from_pid(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let pid = call.args[0] as u32;
    let known = pid != 0 && kernel.state.tasks.get(pid).is_some();
    let addr = if known { kernel.task_object(call.cx.mem, pid)? } else { 0 };
    give(kernel, call, addr, "struct task_struct")
}

/// `bpf_task_from_vpid`: by the pid of the current task's PID namespace.
fn task_from_vpid(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let vpid = call.args[0] as u32;
    let namespace = kernel.state.current().ns.pid;
    let is = |t: &&Arc<Task>| t.ns.pid == namespace && t.ns_ids.map_or(t.pid, |(pid, _)| pid) == vpid;
    let pid = kernel.state.tasks.iter().find(is).map(|t| t.pid);
    let addr = match pid {
        Some(pid) => kernel.task_object(call.cx.mem, pid)?,
        None => 0,
    };
    give(kernel, call, addr, "struct task_struct")
}

/// `bpf_task_acquire`, `bpf_cgroup_acquire`: one more reference.
fn acquire(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = object(call, 0)?;
    let what = if call.name.starts_with("bpf_cgroup") { "struct cgroup" } else { "struct task_struct" };
    give(kernel, call, addr, what)
}

/// `bpf_task_release`, `bpf_cgroup_release`: gives a reference back that the program must hold.
fn release(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = object(call, 0)?;
    match kernel.run_mut().map(|r| r.release(HeldKind::Reference, addr)) {
        Some(None) => Err(argument(call, 0, "is not a reference that the program holds")),
        _ => Ok(Flow::Return(0)),
    }
}

/// `bpf_task_under_cgroup(task, ancestor)`: 1 or 0.
fn task_under_cgroup(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let (task, above) = (object(call, 0)?, object(call, 1)?);
    let state = &kernel.state;
    let of = state.cgroups.by_object(above).map(|c| c.id);
    let task = state.tasks.by_object(task).map(|t| t.cgroup);
    let under = task.zip(of).is_some_and(|(id, of)| state.cgroups.is_descendant(id, of));
    Ok(Flow::Return(under.into()))
}

/// `bpf_cgroup_from_id`: null if there is none.
fn cgroup_from_id(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = kernel.cgroup_object(call.cx.mem, call.args[0])?.unwrap_or_default();
    give(kernel, call, addr, "struct cgroup")
}

/// `bpf_cgroup_ancestor(cgrp, level)`: null if the group is not that deep.
fn cgroup_ancestor(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = object(call, 0)?;
    let level = call.args[1] as u32;
    let cgroups = &kernel.state.cgroups;
    let id = cgroups.by_object(addr).and_then(|c| cgroups.ancestor(c.id, level));
    let addr = match id {
        Some(id) => kernel.cgroup_object(call.cx.mem, id)?.unwrap_or_default(),
        None => 0,
    };
    give(kernel, call, addr, "struct cgroup")
}

/// An argument that must not be null ("Possibly NULL pointer passed to trusted arg").
fn object(call: &Call<'_, '_>, i: usize) -> Result<u64, Trap> {
    match call.args[i] {
        0 => Err(argument(call, i, "is a null pointer, expected a kernel object")),
        addr => Ok(addr),
    }
}

pub(super) fn argument(call: &Call<'_, '_>, i: usize, why: &str) -> Trap {
    let callee = call.name.to_owned();
    FaultKind::Argument { callee, arg: i as u8 + 1, why: why.to_owned(), problem: None }.into()
}
