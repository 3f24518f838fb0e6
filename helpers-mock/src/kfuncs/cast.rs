//! Casts (`bpf_rdonly_cast` and `bpf_cast_to_kern_ctx` in `kernel/bpf/helpers.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{Unsupported, UnsupportedKind};
use bpf_vm_shim::object::ProgType;

use super::KfuncDesc;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc { name: "bpf_rdonly_cast", args: &[Arg::Any, Arg::Any], since: (6, 2), func: rdonly_cast },
    KfuncDesc { name: "bpf_cast_to_kern_ctx", args: &[Arg::Any], since: (6, 2), func: cast_to_kern_ctx },
];

/// `bpf_rdonly_cast(obj, btf_id)`: the same address, to be read with another type.
fn rdonly_cast(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(call.args[0]))
}

/// `bpf_cast_to_kern_ctx(ctx)`: the structure behind the context. Where the two are one in the kernel as well, the
/// context itself; a packet's `struct sk_buff` is filled from its `struct __sk_buff`.
fn cast_to_kern_ctx(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let ctx = call.args[0];
    let prog_type = kernel.run().map_or(ProgType::Unspec, |r| r.prog.prog_type);
    match prog_type {
        ProgType::Kprobe | ProgType::RawTracepoint | ProgType::Tracing | ProgType::Syscall => {
            Ok(Flow::Return(ctx))
        }
        ProgType::SocketFilter
        | ProgType::SchedCls
        | ProgType::SchedAct
        | ProgType::CgroupSkb
        | ProgType::LwtIn
        | ProgType::LwtOut
        | ProgType::LwtXmit
        | ProgType::LwtSeg6local
        | ProgType::SkSkb => Ok(Flow::Return(kernel.skb_object(call.cx.mem, ctx)?)),
        other => {
            let what = format!("bpf_cast_to_kern_ctx in programs of type {other}");
            Err(Unsupported::new(UnsupportedKind::Feature, what).into())
        }
    }
}
