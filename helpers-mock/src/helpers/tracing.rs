//! What traces: the traced function's arguments, and effects on it (`kernel/trace/bpf_trace.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::object::{AttachKind, ProgType};

use super::desc::{Arg, Call, HelperDesc};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::state::{Override, Signal};

pub(super) static TABLE: &[HelperDesc] = &[
    HelperDesc::gpl(58, "bpf_override_return", &[Arg::Ctx, Arg::Any], (4, 16), override_return),
    HelperDesc::plain(109, "bpf_send_signal", &[Arg::Any], (5, 3), |k, c| send_signal(k, c, false)),
    HelperDesc::plain(117, "bpf_send_signal_thread", &[Arg::Any], (5, 5), |k, c| send_signal(k, c, true)),
    HelperDesc::gpl(173, "bpf_get_func_ip", &[Arg::Ctx], (5, 15), get_func_ip),
    HelperDesc::plain(186, "bpf_get_retval", &[], (5, 18), get_retval),
    HelperDesc::plain(187, "bpf_set_retval", &[Arg::Any], (5, 18), set_retval),
    HelperDesc::plain(174, "bpf_get_attach_cookie", &[Arg::Ctx], (5, 15), get_attach_cookie),
    HelperDesc::plain(
        179,
        "bpf_kallsyms_lookup_name",
        &[Arg::Mem, Arg::SizeOrZero, Arg::Any, Arg::FixedOut(8)],
        (5, 16),
        kallsyms_lookup_name,
    ),
    HelperDesc::plain(
        183,
        "bpf_get_func_arg",
        &[Arg::Ctx, Arg::Any, Arg::FixedOut(8)],
        (5, 17),
        get_func_arg,
    ),
    HelperDesc::plain(184, "bpf_get_func_ret", &[Arg::Ctx, Arg::FixedOut(8)], (5, 17), get_func_ret),
    HelperDesc::plain(185, "bpf_get_func_arg_cnt", &[Arg::Ctx], (5, 17), get_func_arg_cnt),
];

/// The highest signal (`_NSIG`).
const MAX_SIGNAL: u32 = 64;

/// `bpf_override_return`: the probed function does not run and returns `rc`.
fn override_return(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [ctx, ret, ..] = call.args;
    let func_ip = kernel.run().map_or(0, |r| r.input.func_ip);
    kernel.state.effects.overrides.push(Override { func_ip, ret });
    let slot = crate::contexts::return_register(kernel.profile.arch);
    // A context that is no `struct pt_regs` (a raw one given by the test) may be too short for it.
    let _ = call.cx.mem.poke(ctx.wrapping_add(slot), &ret.to_le_bytes());
    Ok(Flow::Return(0))
}

/// `bpf_send_signal`, `bpf_send_signal_thread` (`bpf_send_signal_common`).
fn send_signal(kernel: &mut Kernel, call: &mut Call<'_, '_>, thread: bool) -> CallResult {
    let signal = call.args[0] as u32;
    let task = kernel.state.current();
    let (pid, refused) = (task.pid, task.kthread || task.tgid == 1);
    let ret = if refused {
        Errno::EPERM.ret()
    } else if signal > MAX_SIGNAL {
        Errno::EINVAL.ret()
    } else {
        if signal != 0 {
            kernel.state.effects.signals.push(Signal { pid, signal, thread });
        }
        0
    };
    Ok(Flow::Return(ret))
}

/// `bpf_get_func_ip`: the traced function's address; for a kprobe inside a function 0.
fn get_func_ip(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(kernel.run().map_or(0, |r| r.input.func_ip)))
}

/// `bpf_get_retval` (`kernel/bpf/cgroup.c`): what the system call will return so far.
fn get_retval(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(kernel.run().map_or(0, |r| i64::from(r.retval) as u64)))
}

/// `bpf_set_retval` (`kernel/bpf/cgroup.c`): always 0; the lower half of the argument counts.
fn set_retval(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let retval = call.args[0] as i32;
    if let Some(run) = kernel.run_mut() {
        run.retval = retval;
    }
    Ok(Flow::Return(0))
}

/// `bpf_get_attach_cookie`: what was given at attaching, else 0.
fn get_attach_cookie(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(kernel.run().map_or(0, |r| r.input.cookie)))
}

/// `bpf_kallsyms_lookup_name(name, size, flags, result)`: the address goes to `result`, 0 if there is none.
fn kallsyms_lookup_name(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [name, size, flags, out, _] = call.args;
    let mut buf = vec![0; size as u32 as usize];
    call.get(0, name, &mut buf)?;
    let text = buf.split(|b| *b == 0).next().unwrap_or_default();
    let result = match buf.last() {
        _ if flags != 0 => Err(Errno::EINVAL),
        Some(0) if buf.len() > 1 => {
            let addr = std::str::from_utf8(text).ok().and_then(|n| kernel.state.symbols.addr(n));
            call.put(3, out, &addr.unwrap_or_default().to_le_bytes())?;
            addr.map(|_| 0).ok_or(Errno::ENOENT)
        }
        _ => Err(Errno::EINVAL),
    };
    Ok(Flow::Return(result.unwrap_or_else(Errno::ret)))
}

/// `bpf_get_func_arg(ctx, n, value)`: `-EINVAL` if the function has fewer arguments.
fn get_func_arg(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, n, out, ..] = call.args;
    let arg = kernel.run().and_then(|r| r.input.func_args.get(n as u32 as usize).copied());
    match arg {
        Some(arg) => {
            call.put(2, out, &arg.to_le_bytes())?;
            Ok(Flow::Return(0))
        }
        None => {
            // The value keeps what it was, but counts as written from here on.
            let mut old = [0; 8];
            let _ = call.cx.mem.peek(out, &mut old);
            call.put(2, out, &old)?;
            Ok(Flow::Return(Errno::EINVAL.ret()))
        }
    }
}

/// `bpf_get_func_ret(ctx, value)`: `-EOPNOTSUPP` where the function has not returned yet.
fn get_func_ret(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let ret = kernel.run().filter(|r| has_ret(r)).map(|r| r.input.func_ret.unwrap_or_default());
    match ret {
        Some(ret) => {
            call.put(1, call.args[1], &ret.to_le_bytes())?;
            Ok(Flow::Return(0))
        }
        None => Ok(Flow::Return(Errno::EOPNOTSUPP.ret())),
    }
}

fn has_ret(run: &crate::run::Run) -> bool {
    let kind = run.prog.linked.attach.kind;
    run.input.func_ret.is_some()
        || run.prog.prog_type == ProgType::Tracing && matches!(kind, AttachKind::Fexit | AttachKind::FmodRet)
}

/// `bpf_get_func_arg_cnt`.
fn get_func_arg_cnt(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(kernel.run().map_or(0, |r| r.input.func_args.len() as u64)))
}
