//! Bounded loops (`kernel/bpf/bpf_iter.c`).

use bpf_vm_shim::env::{CallResult, Callback, Cx, Flow, Resume};

use super::desc::{Arg, Call, HelperDesc};
use crate::errno::Errno;
use crate::kernel::Kernel;

/// `BPF_MAX_LOOPS`.
pub(crate) const MAX_LOOPS: u64 = 8 << 20;
const LOOP: u32 = 181;

pub(super) static TABLE: &[HelperDesc] = &[HelperDesc {
    id: LOOP,
    name: "bpf_loop",
    args: &[Arg::Any, Arg::Func, Arg::Any, Arg::Any],
    since: (5, 17),
    gpl_only: false,
    func: start,
    resume: Some(again),
}];

/// `bpf_loop`: how often the function was called; `-EINVAL` for flags, `-E2BIG` for too many iterations.
fn start(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [count, func, ctx, flags, _] = call.args;
    // `nr_loops` is a u32.
    let count = u64::from(count as u32);
    if flags != 0 {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    if count > MAX_LOOPS {
        return Ok(Flow::Return(Errno::E2BIG.ret()));
    }
    Ok(step([count, func, ctx, 0, 0, 0, 0]))
}

fn again(_: &mut Kernel, _: &mut Cx<'_>, mut resume: Resume, ret: u64) -> CallResult {
    resume.state[3] += 1;
    if ret != 0 {
        return Ok(Flow::Return(resume.state[3]));
    }
    Ok(step(resume.state))
}

fn step(state: [u64; 7]) -> Flow {
    let [count, addr, ctx, done, ..] = state;
    if done >= count {
        return Flow::Return(done);
    }
    Flow::Callback(Box::new(Callback {
        addr,
        args: [done, ctx, 0, 0, 0],
        resume: Resume { id: LOOP, state },
    }))
}
