//! Sending packets elsewhere (`net/core/filter.c`). There are no interfaces here: what a program asks for is recorded.

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::object::ProgType;

use super::desc::{Arg, Call, HelperDesc};
use super::packet::{done, fail, skb};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::state::Redirect;

const fn row(
    id: u32,
    name: &'static str,
    args: &'static [Arg],
    since: (u8, u8),
    func: super::HelperFn,
) -> HelperDesc {
    HelperDesc { id, name, args, since, gpl_only: false, func, resume: None }
}

pub(super) static TABLE: &[HelperDesc] = &[
    row(13, "bpf_clone_redirect", &[Arg::Ctx, Arg::Any, Arg::Any], (4, 2), clone_redirect),
    row(23, "bpf_redirect", &[Arg::Any, Arg::Any], (4, 4), redirect),
    row(
        152,
        "bpf_redirect_neigh",
        &[Arg::Any, Arg::MemOrNull, Arg::SizeOrZero, Arg::Any],
        (5, 10),
        redirect_neigh,
    ),
    row(155, "bpf_redirect_peer", &[Arg::Any, Arg::Any], (5, 10), redirect_peer),
];

const F_INGRESS: u64 = 1;
const XDP_ABORTED: u64 = 0;
const XDP_REDIRECT: u64 = 4;
const TC_ACT_SHOT: u64 = 2;
const TC_ACT_REDIRECT: u64 = 7;

fn record(kernel: &mut Kernel, ifindex: u64, flags: u64, by: &'static str, clone: Option<Vec<u8>>) {
    kernel.state.packets.redirects.push(Redirect { ifindex: ifindex as u32, flags, by, clone });
}

/// `bpf_clone_redirect`: the packet as it is now leaves at once, the program goes on with its own.
fn clone_redirect(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, ifindex, flags, ..] = call.args;
    let packet = skb(kernel, call)?;
    let bytes = packet.bytes(call.cx.mem);
    let moved = packet.moved(call.cx.mem);
    if flags & !F_INGRESS != 0 || ifindex as u32 == 0 {
        return fail(Errno::EINVAL);
    }
    record(kernel, ifindex, flags, call.name, Some(bytes));
    done(moved)
}

/// `bpf_redirect`: what the program should return.
fn redirect(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [ifindex, flags, ..] = call.args;
    let xdp = kernel.run().is_some_and(|r| r.prog.prog_type == ProgType::Xdp);
    let (allowed, refused, accepted) = match xdp {
        true => (0, XDP_ABORTED, XDP_REDIRECT),
        false => (F_INGRESS, TC_ACT_SHOT, TC_ACT_REDIRECT),
    };
    if flags & !allowed != 0 {
        return Ok(Flow::Return(refused));
    }
    record(kernel, ifindex, flags, call.name, None);
    Ok(Flow::Return(accepted))
}

/// `bpf_redirect_peer`.
fn redirect_peer(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [ifindex, flags, ..] = call.args;
    if flags != 0 {
        return Ok(Flow::Return(TC_ACT_SHOT));
    }
    record(kernel, ifindex, flags, call.name, None);
    Ok(Flow::Return(TC_ACT_REDIRECT))
}

/// `bpf_redirect_neigh`.
fn redirect_neigh(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    /// Size of `struct bpf_redir_neigh`.
    const PARAMS: u32 = 20;
    let [ifindex, _, plen, flags, _] = call.args;
    let plen = plen as u32;
    if flags != 0 || plen != 0 && plen < PARAMS {
        return Ok(Flow::Return(TC_ACT_SHOT));
    }
    record(kernel, ifindex, flags, call.name, None);
    Ok(Flow::Return(TC_ACT_REDIRECT))
}
