//! Who runs, and where (`kernel/bpf/helpers.c`, `kernel/trace/bpf_trace.c`).

use bpf_vm_shim::env::{CallResult, Flow};

use super::desc::{Arg, Call, HelperDesc};
use super::map_arg;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::maps::FdArray;

pub(super) static TABLE: &[HelperDesc] = &[
    HelperDesc::plain(7, "bpf_get_prandom_u32", &[], (4, 1), get_prandom_u32),
    HelperDesc::plain(8, "bpf_get_smp_processor_id", &[], (4, 1), get_smp_processor_id),
    HelperDesc::plain(14, "bpf_get_current_pid_tgid", &[], (4, 2), get_current_pid_tgid),
    HelperDesc::plain(15, "bpf_get_current_uid_gid", &[], (4, 2), get_current_uid_gid),
    HelperDesc::plain(16, "bpf_get_current_comm", &[Arg::MemOut, Arg::Size], (4, 2), get_current_comm),
    HelperDesc::gpl(35, "bpf_get_current_task", &[], (4, 8), get_current_task),
    HelperDesc::plain(
        37,
        "bpf_current_task_under_cgroup",
        &[Arg::Map, Arg::Any],
        (4, 9),
        current_task_under_cgroup,
    ),
    HelperDesc::plain(42, "bpf_get_numa_node_id", &[], (4, 10), get_numa_node_id),
    HelperDesc::plain(80, "bpf_get_current_cgroup_id", &[], (4, 18), get_current_cgroup_id),
    HelperDesc::plain(
        120,
        "bpf_get_ns_current_pid_tgid",
        &[Arg::Any, Arg::Any, Arg::MemOut, Arg::Size],
        (5, 7),
        get_ns_current_pid_tgid,
    ),
    HelperDesc::plain(
        123,
        "bpf_get_current_ancestor_cgroup_id",
        &[Arg::Any],
        (5, 7),
        get_current_ancestor_cgroup_id,
    ),
    HelperDesc::gpl(158, "bpf_get_current_task_btf", &[], (5, 11), get_current_task),
    HelperDesc::gpl(175, "bpf_task_pt_regs", &[Arg::KernelPtr], (5, 15), task_pt_regs),
];

/// `bpf_get_prandom_u32`: the machine's seeded generator.
fn get_prandom_u32(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(kernel.state.rng.next_u32().into()))
}

/// `bpf_get_smp_processor_id`.
fn get_smp_processor_id(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(kernel.state.cpus.current.into()))
}

/// `bpf_get_numa_node_id`.
fn get_numa_node_id(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    let cpus = &kernel.state.cpus;
    Ok(Flow::Return(cpus.node(cpus.current).into()))
}

/// `bpf_get_current_pid_tgid`: process id above, thread id below.
fn get_current_pid_tgid(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    let task = kernel.state.current();
    Ok(Flow::Return(u64::from(task.tgid) << 32 | u64::from(task.pid)))
}

/// `bpf_get_current_uid_gid`: group above, user below.
fn get_current_uid_gid(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    let task = kernel.state.current();
    Ok(Flow::Return(u64::from(task.gid) << 32 | u64::from(task.uid)))
}

/// `bpf_get_current_comm`: the name, cut to the buffer, always ended, the rest of the buffer zeroed.
fn get_current_comm(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [buf, size, ..] = call.args;
    let comm = kernel.state.current().comm_bytes();
    let mut out = vec![0; size as u32 as usize];
    let room = out.len().saturating_sub(1);
    for (to, from) in out.iter_mut().take(room).zip(comm) {
        *to = from;
    }
    call.put(0, buf, &out)?;
    Ok(Flow::Return(0))
}

/// `bpf_get_current_task`, `bpf_get_current_task_btf`: the address of the running task's `struct task_struct`.
fn get_current_task(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let pid = kernel.state.current().pid;
    Ok(Flow::Return(kernel.task_object(call.cx.mem, pid)?))
}

/// `bpf_task_pt_regs`: the registers that the task had in user space.
fn task_pt_regs(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let pid = kernel.state.tasks.by_object(call.args[0]).map(|t| t.pid);
    match pid {
        Some(pid) => Ok(Flow::Return(kernel.task_user_regs(call.cx.mem, pid)?)),
        None => Ok(Flow::Return(0)),
    }
}

/// `bpf_get_current_cgroup_id`: the id in the unified hierarchy.
fn get_current_cgroup_id(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(kernel.state.current().cgroup))
}

/// `bpf_get_current_ancestor_cgroup_id`: 0 if the task's group is not that deep.
fn get_current_ancestor_cgroup_id(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let level = call.args[0] as u32;
    let id = kernel.state.cgroups.ancestor(kernel.state.current().cgroup, level);
    Ok(Flow::Return(id.unwrap_or_default()))
}

/// `bpf_current_task_under_cgroup(map, index)`: 1 or 0; `-EINVAL` for another kind of map, `-E2BIG` outside it,
/// `-EAGAIN` for an empty slot.
fn current_task_under_cgroup(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let index = call.args[1] as u32;
    let id = map_arg(kernel, call.args[0])?;
    let array = kernel.maps.get(id).and_then(|m| m.ops.as_any().downcast_ref::<FdArray>());
    let cgroup = match array {
        None => Err(Errno::EINVAL),
        Some(array) if index >= array.len() => Err(Errno::E2BIG),
        Some(array) => array.get(index).ok_or(Errno::EAGAIN),
    };
    let current = kernel.state.current().cgroup;
    let under = cgroup.map(|of| kernel.state.cgroups.is_descendant(current, of.into()).into());
    Ok(Flow::Return(under.unwrap_or_else(Errno::ret)))
}

/// `bpf_get_ns_current_pid_tgid(dev, ino, nsdata, size)`: the ids as seen in the task's own PID namespace, which must
/// be the one named; `-EINVAL` and a zeroed buffer otherwise.
fn get_ns_current_pid_tgid(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [dev, ino, buf, size, _] = call.args;
    let task = kernel.state.current();
    let matches = size as u32 == 8 && dev == task.ns.dev && ino == u64::from(task.ns.pid);
    let mut out = vec![0; size as u32 as usize];
    if matches {
        let (pid, tgid) = task.ns_ids.unwrap_or((task.pid, task.tgid));
        let ids = [pid.to_le_bytes(), tgid.to_le_bytes()].concat();
        out.copy_from_slice(&ids);
    }
    call.put(2, buf, &out)?;
    Ok(Flow::Return(if matches { 0 } else { Errno::EINVAL.ret() }))
}
