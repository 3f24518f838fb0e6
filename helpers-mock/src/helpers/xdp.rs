//! Packets of XDP programs (`net/core/filter.c`).

use bpf_vm_shim::env::{CallResult, Flow};

use super::desc::{Arg, Call, HelperDesc};
use super::packet::{done, fail, xdp};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::state::{ETH_HLEN, XDP_MAX_LEN};

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
    row(44, "bpf_xdp_adjust_head", &[Arg::Ctx, Arg::Any], (4, 10), adjust_head),
    row(54, "bpf_xdp_adjust_meta", &[Arg::Ctx, Arg::Any], (4, 15), adjust_meta),
    row(65, "bpf_xdp_adjust_tail", &[Arg::Ctx, Arg::Any], (4, 18), adjust_tail),
    row(188, "bpf_xdp_get_buff_len", &[Arg::Ctx], (5, 18), get_buff_len),
    row(189, "bpf_xdp_load_bytes", &[Arg::Ctx, Arg::Any, Arg::MemOut, Arg::Size], (5, 18), load_bytes),
    row(190, "bpf_xdp_store_bytes", &[Arg::Ctx, Arg::Any, Arg::Mem, Arg::Size], (5, 18), store_bytes),
];

/// Head room that `struct xdp_frame` needs when the packet travels on.
const XDP_FRAME: i64 = 40;

/// `bpf_xdp_adjust_head`: metadata moves along with `data`.
fn adjust_head(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let offset = i64::from(call.args[1] as i32);
    let packet = xdp(kernel, call)?;
    let meta = packet.meta_bytes(call.cx.mem);
    let len = packet.len() as i64 - offset;
    if (packet.headroom() as i64) + offset < XDP_FRAME || len < ETH_HLEN as i64 {
        return fail(Errno::EINVAL);
    }
    let result = packet.resize(call.cx.mem, offset - meta.len() as i64, offset, len as usize);
    if result.is_ok() {
        packet.set_meta(call.cx.mem, &meta);
    }
    done(result)
}

/// `bpf_xdp_adjust_meta`: a multiple of four bytes, at most 252, before Linux 6.9 at most 32.
fn adjust_meta(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let max = if kernel.profile.version >= 0x0006_0900 { 252 } else { 32 };
    let offset = i64::from(call.args[1] as i32);
    let packet = xdp(kernel, call)?;
    let len = packet.meta_len() as i64 - offset;
    if len < 0 || (packet.data() as i64) - len < XDP_FRAME {
        return fail(Errno::EINVAL);
    }
    if len % 4 != 0 || len > max {
        return fail(Errno::EACCES);
    }
    let whole = packet.len();
    done(packet.resize(call.cx.mem, -len, 0, whole))
}

/// `bpf_xdp_adjust_tail`: what is gained is zeroed.
fn adjust_tail(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let offset = i64::from(call.args[1] as i32);
    let packet = xdp(kernel, call)?;
    let len = packet.len() as i64 + offset;
    // The end of the buffer is fixed, so what was taken off in front does not make more room behind.
    let room = (crate::state::XDP_HEADROOM + XDP_MAX_LEN) as i64;
    if packet.data() as i64 + len > room && offset > 0 || len < ETH_HLEN as i64 {
        return fail(Errno::EINVAL);
    }
    let meta = packet.meta_len() as i64;
    done(packet.resize(call.cx.mem, -meta, 0, len as usize))
}

/// `bpf_xdp_get_buff_len`.
fn get_buff_len(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(xdp(kernel, call)?.len() as u64))
}

/// Offset and length of a copy, or what `bpf_xdp_pointer` says about them.
fn span(offset: u64, len: u64, whole: usize) -> Result<(u32, usize), Errno> {
    let (offset, len) = (offset as u32, len as u32);
    if offset > 0xffff || len > 0xffff {
        return Err(Errno::EFAULT);
    }
    if (offset + len) as usize > whole { Err(Errno::EINVAL) } else { Ok((offset, len as usize)) }
}

/// `bpf_xdp_load_bytes`.
fn load_bytes(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, offset, out, len, _] = call.args;
    let packet = xdp(kernel, call)?;
    match span(offset, len, packet.len()) {
        Err(e) => {
            call.cx.mem.protect(out, u64::from(len as u32), bpf_vm_shim::mem::Perm::ReadWrite);
            fail(e)
        }
        Ok((offset, len)) => {
            let bytes = packet.read(call.cx.mem, offset, len).unwrap_or_default();
            call.put(2, out, &bytes)?;
            Ok(Flow::Return(0))
        }
    }
}

/// `bpf_xdp_store_bytes`.
fn store_bytes(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, offset, from, len, _] = call.args;
    let bytes = call.bytes(from, len)?;
    let packet = xdp(kernel, call)?;
    match span(offset, len, packet.len()) {
        Err(e) => fail(e),
        Ok((offset, _)) => {
            packet.write(call.cx.mem, offset, &bytes);
            Ok(Flow::Return(0))
        }
    }
}
