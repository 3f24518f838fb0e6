//! Reading and writing the bytes of socket buffers (`net/core/filter.c`).

use bpf_vm_shim::env::{CallResult, Cx, Flow};
use bpf_vm_shim::fault::Trap;

use super::desc::{Arg, Call, HelperDesc};
use super::packet::{done, fail, set_field, skb, skb_field};
use crate::errno::Errno;
use crate::kernel::Kernel;

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
    row(9, "bpf_skb_store_bytes", &[Arg::Ctx, Arg::Any, Arg::Mem, Arg::Size, Arg::Any], (4, 1), store_bytes),
    row(26, "bpf_skb_load_bytes", &[Arg::Ctx, Arg::Any, Arg::MemOut, Arg::Size], (4, 5), load_bytes),
    row(39, "bpf_skb_pull_data", &[Arg::Ctx, Arg::Any], (4, 9), pull_data),
    row(
        68,
        "bpf_skb_load_bytes_relative",
        &[Arg::Ctx, Arg::Any, Arg::MemOut, Arg::Size, Arg::Any],
        (4, 18),
        load_bytes_relative,
    ),
];

/// Gives the program the bytes, or zeros and `-EFAULT`.
fn give(call: &mut Call<'_, '_>, bytes: Option<Vec<u8>>) -> CallResult {
    let [_, _, out, len, _] = call.args;
    match bytes {
        Some(bytes) => {
            call.put(2, out, &bytes)?;
            Ok(Flow::Return(0))
        }
        None => {
            call.put(2, out, &vec![0; len as u32 as usize])?;
            fail(Errno::EFAULT)
        }
    }
}

/// `bpf_skb_load_bytes`: from `skb->data`.
fn load_bytes(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, offset, _, len, _] = call.args;
    let bytes = skb(kernel, call)?.read(call.cx.mem, offset as u32, len as u32 as usize);
    give(call, bytes)
}

/// `bpf_skb_load_bytes_relative`: from the link layer's (0) or the network layer's (1) header.
fn load_bytes_relative(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, offset, _, len, start] = call.args;
    let packet = skb(kernel, call)?;
    let base = match start as u32 {
        0 => Some(packet.mac),
        1 => Some(packet.net),
        _ => None,
    };
    let offset = i64::from(offset as u32);
    let bytes = base
        .filter(|_| offset <= 0xffff)
        .and_then(|b| packet.read_from(call.cx.mem, b, offset, len as u32 as usize));
    give(call, bytes)
}

/// `bpf_skb_store_bytes`: pointers into the packet must be derived again afterwards.
fn store_bytes(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    const RECOMPUTE_CSUM: u64 = 1;
    const INVALIDATE_HASH: u64 = 2;
    let [ctx, offset, from, len, flags] = call.args;
    let bytes = call.bytes(from, len)?;
    let packet = skb(kernel, call)?;
    if flags & !(RECOMPUTE_CSUM | INVALIDATE_HASH) != 0 {
        packet.moved(call.cx.mem).ok();
        return fail(Errno::EINVAL);
    }
    let written = packet.write(call.cx.mem, offset as u32, &bytes);
    let whole = offset as u32 as usize + bytes.len();
    if packet.linearize(call.cx.mem, whole).is_err() || !written {
        return fail(Errno::EFAULT);
    }
    if flags & INVALIDATE_HASH != 0 {
        set_field(call.cx.mem, ctx, skb_field::HASH, 0);
    }
    Ok(Flow::Return(0))
}

/// `bpf_skb_pull_data`: more than there is gives `-ENOMEM`.
fn pull_data(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let len = call.args[1] as u32 as usize;
    let packet = skb(kernel, call)?;
    let moved = packet.linearize(call.cx.mem, len);
    if len > packet.len() { fail(Errno::ENOMEM) } else { done(moved) }
}

/// Legacy packet access, `LD_ABS` and `LD_IND` (`bpf_skb_load_helper_8` and its relatives): from `skb->data`, or with
/// negative offsets from the network (`SKF_NET_OFF`) or link layer's (`SKF_LL_OFF`) header. The ancillary values of
/// `SKF_AD_OFF` exist in classic BPF only.
pub(crate) fn legacy_packet_load(
    kernel: &mut Kernel,
    cx: &mut Cx<'_>,
    offset: i32,
    size: u8,
) -> Result<Option<u64>, Trap> {
    const SKF_NET_OFF: i32 = -0x10_0000;
    const SKF_LL_OFF: i32 = -0x20_0000;
    let packet = super::packet::of(kernel, cx.ctx(), crate::state::PacketKind::Skb)?;
    let (base, offset) = match offset {
        0.. => (packet.data(), offset),
        SKF_NET_OFF.. => (packet.net, offset - SKF_NET_OFF),
        SKF_LL_OFF.. => (packet.mac, offset - SKF_LL_OFF),
        _ => return Ok(None),
    };
    let bytes = packet.read_from(cx.mem, base, offset.into(), size.into());
    Ok(bytes.map(|b| b.iter().fold(0, |v, byte| v << 8 | u64::from(*byte))))
}
