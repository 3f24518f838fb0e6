//! Dynptrs (`kernel/bpf/helpers.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::FaultKind;
use bpf_vm_shim::mem::{AccessKind, RegionKind};

use super::args::require;
use super::desc::{Arg, Call, HelperDesc};
use crate::dynptr::{self, Dynptr, DynptrKind};
use crate::errno::Errno;
use crate::kernel::Kernel;

macro_rules! row {
    ($id:literal, $name:literal, $args:expr, $func:ident) => {
        HelperDesc {
            id: $id,
            name: $name,
            args: $args,
            since: (5, 19),
            gpl_only: false,
            func: $func,
            resume: None,
        }
    };
}

pub(super) static TABLE: &[HelperDesc] = &[
    row!(197, "bpf_dynptr_from_mem", &[Arg::Any, Arg::SizeOrZero, Arg::Any, Arg::DynptrOut], from_mem),
    row!(201, "bpf_dynptr_read", &[Arg::MemOut, Arg::SizeOrZero, Arg::Dynptr, Arg::Any, Arg::Any], read),
    row!(202, "bpf_dynptr_write", &[Arg::Dynptr, Arg::Any, Arg::Any, Arg::SizeOrZero, Arg::Any], write),
    row!(203, "bpf_dynptr_data", &[Arg::Dynptr, Arg::Any, Arg::Any], data),
];

fn ret(result: Result<(), Errno>) -> CallResult {
    Ok(Flow::Return(result.map_or_else(Errno::ret, |()| 0)))
}

/// `bpf_dynptr_from_mem`: on a map value; `-E2BIG` above 16 MiB, `-EINVAL` for flags, both with a null dynptr.
fn from_mem(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [data, size, flags, at, _] = call.args;
    require(call.cx, call.name, 0, AccessKind::Write, data, size & 0xffff_ffff, "is not writable memory")?;
    if call.cx.mem.region(data).is_some_and(|r| r.alloc().kind == RegionKind::Stack) {
        let why = "is on the stack: unsupported reg type fp for bpf_dynptr_from_mem data".to_owned();
        return Err(FaultKind::Argument { callee: call.name.to_owned(), arg: 1, why, problem: None }.into());
    }
    let result = if size > dynptr::MAX_SIZE {
        Err(Errno::E2BIG)
    } else if flags != 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    };
    let good = Dynptr { kind: DynptrKind::Local, data, offset: 0, size: size as u32, rdonly: false };
    dynptr::put(kernel, call.cx, at, if result.is_ok() { good } else { Dynptr::NULL })?;
    ret(result)
}

/// `bpf_dynptr_read`: `-E2BIG` outside its bounds, `-EINVAL` for flags or a null dynptr.
fn read(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [dst, len, src, offset, flags] = call.args;
    let src = dynptr::get(kernel, call.cx, call.name, 3, src)?;
    if src.is_null() || flags != 0 {
        return ret(Err(Errno::EINVAL));
    }
    let len = len & 0xffff_ffff;
    let addr = match src.range(offset, len) {
        Ok(addr) => addr,
        Err(e) => return ret(Err(e)),
    };
    let bytes = dynptr::load(call.cx, call.name, 3, addr, len)?;
    let _ = call.cx.mem.write(dst, &bytes);
    ret(Ok(()))
}

/// `bpf_dynptr_write`: `-E2BIG` outside its bounds, `-EINVAL` for flags, a null or a read-only dynptr. Packets take
/// the flags of `bpf_skb_store_bytes`.
fn write(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [dst, offset, src, len, flags] = call.args;
    let len = len & 0xffff_ffff;
    require(call.cx, call.name, 2, AccessKind::Read, src, len, "is not readable memory")?;
    let dst = dynptr::get(kernel, call.cx, call.name, 1, dst)?;
    // BPF_F_RECOMPUTE_CSUM and BPF_F_INVALIDATE_HASH.
    let known = if dst.kind == DynptrKind::Skb { 3 } else { 0 };
    if dst.is_null() || dst.rdonly || flags & !known != 0 {
        return ret(Err(Errno::EINVAL));
    }
    let addr = match dst.range(offset, len) {
        Ok(addr) => addr,
        Err(e) => return ret(Err(e)),
    };
    let mut bytes = vec![0; len as usize];
    let _ = call.cx.mem.read(src, &mut bytes);
    dynptr::store(call.cx, call.name, 1, addr, &bytes)?;
    ret(Ok(()))
}

/// `bpf_dynptr_data`: the address of `len` bytes; null outside the bounds, and for read-only dynptrs and packets.
fn data(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [at, offset, len, ..] = call.args;
    let dynptr = dynptr::get(kernel, call.cx, call.name, 1, at)?;
    let direct = matches!(dynptr.kind, DynptrKind::Local | DynptrKind::Ringbuf(_)) && dynptr.data != 0;
    let found = dynptr.range(offset, len).ok().filter(|_| direct && !dynptr.rdonly);
    Ok(Flow::Return(found.unwrap_or(0)))
}
