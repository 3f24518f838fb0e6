//! Programs' output streams (`kernel/bpf/stream.c`).

use std::fmt::Write;

use bpf_vm_shim::env::{CallResult, Cx, Flow};

use super::KfuncDesc;
use crate::errno::Errno;
use crate::helpers::{Arg, Call, formatted, varargs};
use crate::kernel::Kernel;
use crate::state::Stream;

static PRINT: &[Arg] = &[Arg::Any, Arg::Str, Arg::Any, Arg::Any];

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc { name: "bpf_stream_vprintk", args: PRINT, since: (6, 17), func: vprintk },
    KfuncDesc { name: "bpf_stream_vprintk_impl", args: PRINT, since: (6, 18), func: vprintk },
    KfuncDesc { name: "bpf_stream_print_stack", args: &[Arg::Any], since: (7, 1), func: print_stack },
];

pub(super) fn push(kernel: &mut Kernel, stream: Stream, text: &[u8]) -> Result<(), Errno> {
    let Some(prog) = kernel.run().map(|run| run.prog.id) else { return Err(Errno::ENOENT) };
    kernel.state.streams.push(prog, stream, text)
}

fn ret(result: Result<(), Errno>) -> CallResult {
    Ok(Flow::Return(result.map_or_else(Errno::ret, |()| 0)))
}

/// `bpf_stream_vprintk`: `-ENOENT` for another stream than 1 and 2, `-EINVAL` for a bad format or size of arguments,
/// `-ENOSPC` if the stream is full.
fn vprintk(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [stream, fmt, args, len, _] = call.args;
    let Some(stream) = Stream::from_id(stream as i32) else { return ret(Err(Errno::ENOENT)) };
    let fmt = call.string(fmt)?;
    let Some(args) = varargs(call, args, len)? else { return ret(Err(Errno::EINVAL)) };
    let text = formatted(kernel, call.cx, &fmt, &args);
    ret(text.and_then(|text| push(kernel, stream, &text)))
}

/// `bpf_stream_print_stack`: writes who runs and where; `-ENOENT` for another stream than 1 and 2.
fn print_stack(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let Some(stream) = Stream::from_id(call.args[0] as i32) else { return ret(Err(Errno::ENOENT)) };
    let text = stack(kernel, call.cx);
    ret(push(kernel, stream, text.as_bytes()))
}

/// Who runs, and where (`bpf_stream_stage_dump_stack`). The trace names the program's own functions only.
pub(super) fn stack(kernel: &Kernel, cx: &Cx<'_>) -> String {
    let task = kernel.state.current();
    let (cpu, code, insn) = (kernel.state.cpus.current, cx.code(), cx.insn());
    let mut text =
        format!("CPU: {cpu} UID: {} PID: {} Comm: {}\nCall trace:\n", task.uid, task.pid, task.comm);
    let (name, start) = code.func_of(insn).map_or((code.name(), 0), |f| (&f.name, f.insn));
    let size = code.insns().len() * 8;
    let _ = writeln!(text, "{name}+{:#x}/{size:#x}", (insn as usize).saturating_sub(start) * 8);
    text
}
