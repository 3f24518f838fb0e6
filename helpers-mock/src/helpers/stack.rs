//! Call stacks (`kernel/bpf/stackmap.c`).

use bpf_vm_shim::env::{CallResult, Flow};

use super::desc::{Arg, Call, HelperDesc};
use super::ringbuf::map_as;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::maps::StackTraces;
use crate::state::PERF_MAX_STACK_DEPTH;

/// `BPF_F_SKIP_FIELD_MASK`.
const SKIP_MASK: u64 = 0xff;
/// `BPF_F_USER_STACK`.
const USER_STACK: u64 = 1 << 8;
/// `BPF_F_FAST_STACK_CMP`, of `bpf_get_stackid`.
const FAST_STACK_CMP: u64 = 1 << 9;
/// `BPF_F_REUSE_STACKID`, of `bpf_get_stackid`.
const REUSE_STACKID: u64 = 1 << 10;
/// `BPF_F_USER_BUILD_ID`, of `bpf_get_stack`.
const USER_BUILD_ID: u64 = 1 << 11;

pub(super) static TABLE: &[HelperDesc] = &[
    HelperDesc {
        id: 27,
        name: "bpf_get_stackid",
        args: &[Arg::Ctx, Arg::Map, Arg::Any],
        since: (4, 6),
        gpl_only: true,
        func: get_stackid,
        resume: None,
    },
    HelperDesc {
        id: 67,
        name: "bpf_get_stack",
        args: &[Arg::Ctx, Arg::MemOut, Arg::SizeOrZero, Arg::Any],
        since: (4, 18),
        gpl_only: true,
        func: get_stack,
        resume: None,
    },
    HelperDesc {
        id: 141,
        name: "bpf_get_task_stack",
        args: &[Arg::KernelPtr, Arg::MemOut, Arg::SizeOrZero, Arg::Any],
        since: (5, 9),
        gpl_only: false,
        func: get_task_stack,
        resume: None,
    },
];

/// The current task's frames, at most `max`; `None` if they cannot be had.
fn frames(kernel: &Kernel, tid: u32, user: bool, max: usize) -> Option<Vec<u64>> {
    let task = kernel.state.tasks.get(tid)?;
    let all = if user { &task.user_stack } else { &task.kernel_stack };
    // A kernel thread has no user space (`get_perf_callchain`).
    if user && task.kthread || all.is_empty() {
        return None;
    }
    Some(all.iter().take(max.min(PERF_MAX_STACK_DEPTH)).copied().collect())
}

/// `bpf_get_stackid`: the id of the current stack; `-EINVAL` (flags), `-EFAULT` (no stack, or all of it skipped),
/// `-EEXIST` (another stack has the id), `-ENOMEM`.
fn get_stackid(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, map, flags, ..] = call.args;
    let tid = kernel.state.current().pid;
    let depth = {
        let (_, stacks) = map_as::<StackTraces>(kernel, map, call.name)?;
        stacks.depth()
    };
    if flags & !(SKIP_MASK | USER_STACK | FAST_STACK_CMP | REUSE_STACKID) != 0 {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    let skip = (flags & SKIP_MASK) as usize;
    let user = flags & USER_STACK != 0;
    let Some(ips) = frames(kernel, tid, user, depth + skip) else {
        return Ok(Flow::Return(Errno::EFAULT.ret()));
    };
    let ips = ips.get(skip..).unwrap_or_default();
    if ips.is_empty() {
        return Ok(Flow::Return(Errno::EFAULT.ret()));
    }
    let (_, stacks) = map_as::<StackTraces>(kernel, map, call.name)?;
    let id = stacks.insert(ips, flags);
    Ok(Flow::Return(id.map_or_else(Errno::ret, u64::from)))
}

/// The frames as addresses, or each as `struct bpf_stack_build_id`.
fn encode(kernel: &Kernel, ips: &[u64], build_id: bool) -> Vec<u8> {
    if build_id {
        return ips.iter().flat_map(|ip| kernel.state.build_ids.encode(*ip)).collect();
    }
    ips.iter().flat_map(|ip| ip.to_le_bytes()).collect()
}

/// `bpf_get_stack`: writes the current stack and gives its length in bytes.
fn get_stack(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, buf, size, flags, _] = call.args;
    let tid = kernel.state.current().pid;
    fill(kernel, call, tid, false, [buf, size, flags])
}

/// `bpf_get_task_stack`: as `bpf_get_stack`, of a task; user stacks only of the current one (`-EOPNOTSUPP`).
fn get_task_stack(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [task, buf, size, flags, _] = call.args;
    let current = kernel.state.current().pid;
    let tid = kernel.state.tasks.by_object(task).map_or(current, |t| t.pid);
    fill(kernel, call, tid, tid != current, [buf, size, flags])
}

fn fill(k: &mut Kernel, call: &mut Call<'_, '_>, tid: u32, other: bool, args: [u64; 3]) -> CallResult {
    let [buf, size, flags] = args;
    let size = size as u32 as usize;
    let (data, ret) = match stack_bytes(k, tid, other, size, flags) {
        Ok(data) => {
            let len = data.len() as u64;
            (data, len)
        }
        Err(e) => (Vec::new(), e.ret()),
    };
    let mut bytes = data;
    bytes.resize(size, 0);
    let _ = call.cx.mem.write(buf, &bytes);
    Ok(Flow::Return(ret))
}

fn stack_bytes(k: &Kernel, tid: u32, other: bool, size: usize, flags: u64) -> Result<Vec<u8>, Errno> {
    let user = flags & USER_STACK != 0;
    let build_id = flags & USER_BUILD_ID != 0;
    let element = if build_id { 32 } else { 8 };
    if flags & !(SKIP_MASK | USER_STACK | USER_BUILD_ID) != 0
        || (build_id && !user)
        || !size.is_multiple_of(element)
    {
        return Err(Errno::EINVAL);
    }
    if other && user {
        return Err(Errno::EOPNOTSUPP);
    }
    let skip = (flags & SKIP_MASK) as usize;
    let ips = frames(k, tid, user, size / element + skip).ok_or(Errno::EFAULT)?;
    let ips = ips.get(skip..).ok_or(Errno::EFAULT)?;
    Ok(encode(k, ips, build_id))
}
