//! Dynptrs, the part that is kernel functions (`kernel/bpf/helpers.c`, `net/core/filter.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{Trap, Unsupported, UnsupportedKind};
use bpf_vm_shim::mem::AccessKind;

use super::KfuncDesc;
use crate::dynptr::{self, Dynptr, DynptrKind};
use crate::errno::Errno;
use crate::helpers::{Arg, Call, may_write_packet, packet, require};
use crate::kernel::Kernel;

macro_rules! row {
    ($name:literal, $args:expr, $since:expr, $func:ident) => {
        KfuncDesc { name: $name, args: $args, since: $since, func: $func }
    };
}

static ONE: &[Arg] = &[Arg::Dynptr];

pub(super) static TABLE: &[KfuncDesc] = &[
    row!("bpf_dynptr_from_skb", &[Arg::Any, Arg::Any, Arg::DynptrOut], (6, 4), from_skb),
    row!("bpf_dynptr_from_xdp", &[Arg::Any, Arg::Any, Arg::DynptrOut], (6, 4), from_xdp),
    row!("bpf_dynptr_slice", ONE, (6, 4), slice),
    row!("bpf_dynptr_slice_rdwr", ONE, (6, 4), slice_rdwr),
    row!("bpf_dynptr_adjust", ONE, (6, 5), adjust),
    row!("bpf_dynptr_is_null", ONE, (6, 5), is_null),
    row!("bpf_dynptr_is_rdonly", ONE, (6, 5), is_rdonly),
    row!("bpf_dynptr_size", ONE, (6, 5), size),
    row!("bpf_dynptr_clone", &[Arg::Dynptr, Arg::DynptrOut], (6, 5), clone),
    row!("bpf_dynptr_copy", &[Arg::Dynptr, Arg::Any, Arg::Dynptr], (6, 16), copy),
    row!("bpf_dynptr_memset", ONE, (6, 17), memset),
];

fn first(kernel: &Kernel, call: &mut Call<'_, '_>) -> Result<Dynptr, Trap> {
    dynptr::get(kernel, call.cx, call.name, 1, call.args[0])
}

fn ret(result: Result<(), Errno>) -> CallResult {
    Ok(Flow::Return(result.map_or_else(Errno::ret, |()| 0)))
}

/// `bpf_dynptr_from_skb`: on the packet; `-EINVAL` for flags.
fn from_skb(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    from_packet(kernel, call, DynptrKind::Skb)
}

/// `bpf_dynptr_from_xdp`: on the frame; `-EINVAL` for flags.
fn from_xdp(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    from_packet(kernel, call, DynptrKind::Xdp)
}

fn from_packet(kernel: &mut Kernel, call: &mut Call<'_, '_>, kind: DynptrKind) -> CallResult {
    let [ctx, flags, at, ..] = call.args;
    if flags != 0 {
        dynptr::put(kernel, call.cx, at, Dynptr::NULL)?;
        return ret(Err(Errno::EINVAL));
    }
    let Some((data, size)) = packet(kernel, call.cx, ctx) else {
        // From a tracing program the packet is a kernel object; from others there may be none in this run.
        return Err(
            Unsupported::new(UnsupportedKind::Feature, format!("{} without a packet", call.name)).into()
        );
    };
    let rdonly = !may_write_packet(kernel);
    dynptr::put(kernel, call.cx, at, Dynptr { kind, data, offset: 0, size: size as u32, rdonly })?;
    ret(Ok(()))
}

/// `bpf_dynptr_slice`: the address of `len` bytes, null outside the bounds. Everything is linear here, so the buffer
/// is never used.
fn slice(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    slice_of(kernel, call, false)
}

/// `bpf_dynptr_slice_rdwr`: as `bpf_dynptr_slice`, null for read-only dynptrs.
fn slice_rdwr(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    slice_of(kernel, call, true)
}

fn slice_of(kernel: &mut Kernel, call: &mut Call<'_, '_>, write: bool) -> CallResult {
    let [_, offset, buffer, len, _] = call.args;
    let len = len & 0xffff_ffff;
    let dynptr = first(kernel, call)?;
    if buffer != 0 {
        require(call.cx, call.name, 2, AccessKind::Write, buffer, len, "is not a writable buffer")?;
    }
    let usable = dynptr.data != 0 && !(write && dynptr.rdonly);
    let found = dynptr.range(offset, len).ok().filter(|_| usable);
    Ok(Flow::Return(found.unwrap_or(0)))
}

/// `bpf_dynptr_adjust`: narrows it; `-EINVAL` if null or backwards, `-ERANGE` outside the bounds.
fn adjust(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [at, start, end, ..] = call.args;
    let mut dynptr = first(kernel, call)?;
    if dynptr.data == 0 || start > end {
        return ret(Err(Errno::EINVAL));
    }
    if end > dynptr.size.into() {
        return ret(Err(Errno::ERANGE));
    }
    dynptr.offset += start as u32;
    dynptr.size = (end - start) as u32;
    dynptr::set(kernel, call.cx, at, dynptr);
    ret(Ok(()))
}

/// `bpf_dynptr_is_null`.
fn is_null(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(u64::from(first(kernel, call)?.data == 0)))
}

/// `bpf_dynptr_is_rdonly`: false for a null dynptr.
fn is_rdonly(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let dynptr = first(kernel, call)?;
    Ok(Flow::Return(u64::from(dynptr.data != 0 && dynptr.rdonly)))
}

/// `bpf_dynptr_size`: `-EINVAL` for a null dynptr.
fn size(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let dynptr = first(kernel, call)?;
    Ok(Flow::Return(if dynptr.data == 0 { Errno::EINVAL.ret() } else { dynptr.size.into() }))
}

/// `bpf_dynptr_clone`: another dynptr on the same memory; `-EINVAL`, and a null one, of a null dynptr.
fn clone(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let to = call.args[1];
    let dynptr = first(kernel, call)?;
    if dynptr.data == 0 {
        dynptr::put(kernel, call.cx, to, Dynptr::NULL)?;
        return ret(Err(Errno::EINVAL));
    }
    dynptr::put(kernel, call.cx, to, dynptr)?;
    ret(Ok(()))
}

/// `bpf_dynptr_copy`: `-E2BIG` outside either's bounds, `-EINVAL` if either is null or the destination read-only.
fn copy(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, dst_off, src, src_off, len] = call.args;
    let dst = first(kernel, call)?;
    let src = dynptr::get(kernel, call.cx, call.name, 3, src)?;
    let from = src.range(src_off, len).ok().filter(|_| src.data != 0);
    let to = dst.range(dst_off, len).ok().filter(|_| dst.data != 0 && !dst.rdonly);
    match (from, to) {
        (Some(from), Some(to)) => {
            let bytes = dynptr::load(call.cx, call.name, 3, from, len)?;
            dynptr::store(call.cx, call.name, 1, to, &bytes)?;
            ret(Ok(()))
        }
        // What is at fault is said by the write, else by the read, as in the kernel.
        (Some(_), None) => ret(Err(bounds(&dst, dst_off, len, true))),
        (None, Some(_)) => ret(Err(bounds(&src, src_off, len, false))),
        (None, None) => ret(Err(Errno::E2BIG)),
    }
}

fn bounds(dynptr: &Dynptr, offset: u64, len: u64, write: bool) -> Errno {
    if dynptr.data == 0 || (write && dynptr.rdonly) {
        return Errno::EINVAL;
    }
    dynptr.range(offset, len).err().unwrap_or(Errno::EINVAL)
}

/// `bpf_dynptr_memset`: `-EINVAL` if read-only, `-E2BIG` outside the bounds (and for a null dynptr of no size).
fn memset(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, offset, len, value, _] = call.args;
    let dynptr = first(kernel, call)?;
    if dynptr.rdonly {
        return ret(Err(Errno::EINVAL));
    }
    let Ok(addr) = dynptr.range(offset, len) else { return ret(Err(Errno::E2BIG)) };
    if dynptr.data == 0 {
        return ret(if len == 0 { Ok(()) } else { Err(Errno::EINVAL) });
    }
    dynptr::store(call.cx, call.name, 1, addr, &vec![value as u8; len as usize])?;
    ret(Ok(()))
}
