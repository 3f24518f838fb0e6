//! Values that belong to tasks and control groups (`kernel/bpf/bpf_task_storage.c`, `bpf_cgrp_storage.c`,
//! `local_storage.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::Trap;
use bpf_vm_shim::mem::AccessKind;

use super::args::require;
use super::desc::{Arg, Call, HelperDesc};
use super::ringbuf::map_as;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::maps::LocalStorage;

/// `BPF_LOCAL_STORAGE_GET_F_CREATE`.
const CREATE: u64 = 1;

macro_rules! row {
    ($id:literal, $name:literal, $args:expr, $since:expr, $func:ident) => {
        HelperDesc {
            id: $id,
            name: $name,
            args: $args,
            since: $since,
            gpl_only: false,
            func: $func,
            resume: None,
        }
    };
}

static GET: &[Arg] = &[Arg::Map, Arg::KernelPtrOrNull, Arg::Any, Arg::Any];
static DELETE: &[Arg] = &[Arg::Map, Arg::KernelPtrOrNull];

pub(super) static TABLE: &[HelperDesc] = &[
    row!(81, "bpf_get_local_storage", &[Arg::Map, Arg::Any], (4, 19), cgroup_storage),
    row!(156, "bpf_task_storage_get", GET, (5, 11), task_get),
    row!(157, "bpf_task_storage_delete", DELETE, (5, 11), task_delete),
    row!(210, "bpf_cgrp_storage_get", GET, (6, 2), cgrp_get),
    row!(211, "bpf_cgrp_storage_delete", DELETE, (6, 2), cgrp_delete),
];

/// The thread id behind a `struct task_struct` pointer.
fn task(kernel: &Kernel, addr: u64) -> Option<u64> {
    kernel.state.tasks.by_object(addr).map(|t| t.pid.into())
}

/// The id behind a `struct cgroup` pointer.
fn cgroup(kernel: &Kernel, addr: u64) -> Option<u64> {
    kernel.state.cgroups.by_object(addr).map(|c| c.id)
}

/// `bpf_task_storage_get`: the address of the task's value; null if there is none and flags do not ask to create it,
/// for other flags, and for a null task.
fn task_get(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let owner = task(kernel, call.args[1]);
    get(kernel, call, owner)
}

/// `bpf_cgrp_storage_get`: the same for a control group.
fn cgrp_get(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let owner = cgroup(kernel, call.args[1]);
    get(kernel, call, owner)
}

pub(super) fn get(kernel: &mut Kernel, call: &mut Call<'_, '_>, owner: Option<u64>) -> CallResult {
    let [map, _, initial, flags, _] = call.args;
    let size = u64::from(value_size(kernel, call)?);
    if initial != 0 {
        require(call.cx, call.name, 2, AccessKind::Read, initial, size, "is not a readable value")?;
    }
    let Some(owner) = owner.filter(|_| flags & !CREATE == 0) else { return Ok(Flow::Return(0)) };
    let mut first = vec![0; size as usize];
    if initial != 0 {
        let _ = call.cx.mem.read(initial, &mut first);
    }
    let mut cx = kernel.map_cx(call.cx);
    let (_, storage) = map_as::<LocalStorage>(kernel, map, call.name)?;
    let found = match storage.get(owner, 0) {
        Some(addr) => Some(addr),
        None if flags & CREATE != 0 => storage.create(&mut cx, owner, &first).ok(),
        None => None,
    };
    Ok(Flow::Return(found.unwrap_or(0)))
}

fn value_size(kernel: &mut Kernel, call: &Call<'_, '_>) -> Result<u32, Trap> {
    let (id, _) = map_as::<LocalStorage>(kernel, call.args[0], call.name)?;
    Ok(kernel.maps.get(id).map_or(0, |m| m.def.value_size))
}

/// `bpf_task_storage_delete`: `-ENOENT` if there is none, `-EINVAL` for a null task.
fn task_delete(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let owner = task(kernel, call.args[1]);
    delete(kernel, call, owner)
}

/// `bpf_cgrp_storage_delete`.
fn cgrp_delete(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let owner = cgroup(kernel, call.args[1]);
    delete(kernel, call, owner)
}

pub(super) fn delete(kernel: &mut Kernel, call: &mut Call<'_, '_>, owner: Option<u64>) -> CallResult {
    let mut cx = kernel.map_cx(call.cx);
    let (id, storage) = map_as::<LocalStorage>(kernel, call.args[0], call.name)?;
    let ret = match owner {
        None => Errno::EINVAL.ret(),
        Some(owner) if storage.remove(&mut cx, owner) => 0,
        Some(_) => Errno::ENOENT.ret(),
    };
    let dropped = cx.dropped;
    kernel.drop_fields(call.cx.mem, id, dropped);
    Ok(Flow::Return(ret))
}

/// `bpf_get_local_storage`: the current control group's value, which always exists.
fn cgroup_storage(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let owner = kernel.state.current().cgroup;
    let mut cx = kernel.map_cx(call.cx);
    let cpu = cx.cpu;
    let (id, storage) = map_as::<LocalStorage>(kernel, call.args[0], call.name)?;
    if let Some(addr) = storage.get(owner, cpu) {
        return Ok(Flow::Return(addr));
    }
    // The kernel makes it when the program is attached; without memory that fails, so here it is the machine's limit.
    let size = kernel.maps.get(id).map_or(0, |m| m.def.value_size);
    let (_, storage) = map_as::<LocalStorage>(kernel, call.args[0], call.name)?;
    let made = storage.create(&mut cx, owner, &vec![0; size as usize]);
    Ok(Flow::Return(made.unwrap_or(0)))
}
