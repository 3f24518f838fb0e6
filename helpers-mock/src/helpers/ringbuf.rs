//! Ring buffer output (`kernel/bpf/ringbuf.c`).

use bpf_vm_shim::env::{CallResult, Callback, Cx, Flow, Resume};
use bpf_vm_shim::fault::{FaultKind, Trap};
use bpf_vm_shim::mem::{AccessKind, AccessProblem, Alloc, Area, BadAccess, RegionKind};

use super::args::map_arg;
use super::desc::{Arg, Call, HelperDesc};
use crate::dynptr::{self, Dynptr, DynptrKind};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::maps::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, MapId, MapOps, RingBuf, UserRingBuf};
use crate::run::HeldKind;

const WAKEUP_FLAGS: u64 = BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP;
/// `BPF_MAX_USER_RINGBUF_SAMPLES`.
const MAX_USER_SAMPLES: u64 = 128 * 1024;
const DRAIN: u32 = 209;

macro_rules! row {
    ($id:literal, $name:literal, $args:expr, $since:expr, $func:ident) => {
        HelperDesc {
            id: $id,
            name: $name,
            args: $args,
            since: $since,
            gpl_only: false,
            func: $func,
            resume: None,
        }
    };
}

pub(super) static TABLE: &[HelperDesc] = &[
    row!(130, "bpf_ringbuf_output", &[Arg::Map, Arg::Mem, Arg::SizeOrZero, Arg::Any], (5, 8), output),
    row!(131, "bpf_ringbuf_reserve", &[Arg::Map, Arg::SizeOrZero, Arg::Any], (5, 8), reserve),
    row!(132, "bpf_ringbuf_submit", &[Arg::Any, Arg::Any], (5, 8), submit),
    row!(133, "bpf_ringbuf_discard", &[Arg::Any, Arg::Any], (5, 8), discard),
    row!(134, "bpf_ringbuf_query", &[Arg::Map, Arg::Any], (5, 8), query),
    row!(
        198,
        "bpf_ringbuf_reserve_dynptr",
        &[Arg::Map, Arg::Any, Arg::Any, Arg::DynptrOut],
        (5, 19),
        reserve_dynptr
    ),
    row!(199, "bpf_ringbuf_submit_dynptr", &[Arg::Dynptr, Arg::Any], (5, 19), submit_dynptr),
    row!(200, "bpf_ringbuf_discard_dynptr", &[Arg::Dynptr, Arg::Any], (5, 19), discard_dynptr),
    HelperDesc {
        id: DRAIN,
        name: "bpf_user_ringbuf_drain",
        args: &[Arg::Map, Arg::Func, Arg::Any, Arg::Any],
        since: (6, 1),
        gpl_only: false,
        func: drain,
        resume: Some(drained),
    },
];

/// The concrete type behind a map argument; another type may not be passed (`check_map_func_compatibility`).
pub(crate) fn map_as<'a, T: MapOps + 'static>(
    kernel: &'a mut Kernel,
    addr: u64,
    callee: &str,
) -> Result<(MapId, &'a mut T), Trap> {
    let id = map_arg(kernel, addr)?;
    let found = kernel.maps.get_mut(id);
    let map_type = found.as_ref().map(|m| m.def.map_type.to_string()).unwrap_or_default();
    let ops = found.and_then(|m| m.ops.as_any_mut().downcast_mut::<T>());
    let why = || format!("cannot pass map_type {map_type} into it");
    ops.map(|ops| (id, ops))
        .ok_or_else(|| FaultKind::NotAllowed { callee: callee.to_owned(), why: why() }.into())
}

/// `bpf_ringbuf_output`: 0, `-EINVAL` for unknown flags, `-EAGAIN` without room.
fn output(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [map, data, size, flags, _] = call.args;
    let mut bytes = vec![0; size as u32 as usize];
    let read = call.cx.mem.read(data, &mut bytes);
    let (_, ring) = map_as::<RingBuf>(kernel, map, call.name)?;
    if flags & !WAKEUP_FLAGS != 0 || read.is_err() {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    Ok(Flow::Return(ring.output(bytes, flags).map_or_else(Errno::ret, |()| 0)))
}

/// `bpf_ringbuf_reserve`: a record, or null for any flag or without room.
fn reserve(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [map, size, flags, ..] = call.args;
    let (id, ring) = map_as::<RingBuf>(kernel, map, call.name)?;
    if flags != 0 {
        return Ok(Flow::Return(0));
    }
    let Some((addr, pos)) = ring.reserve(call.cx.mem, size) else { return Ok(Flow::Return(0)) };
    hold_record(kernel, call.cx, call.name, id, addr, pos, HeldKind::RingbufRecord);
    Ok(Flow::Return(addr))
}

fn hold_record(k: &mut Kernel, cx: &Cx<'_>, by: &str, id: MapId, addr: u64, pos: u64, kind: HeldKind) {
    let name = k.maps.get(id).map(|m| m.def.name.clone()).unwrap_or_default();
    if let Some(run) = k.run_mut() {
        run.records.insert(addr, (id, pos));
        run.hold(cx, kind, addr, format!("ring buffer record of map '{name}'"), by);
    }
}

/// `bpf_ringbuf_submit`.
fn submit(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    commit(kernel, call, true)
}

/// `bpf_ringbuf_discard`.
fn discard(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    commit(kernel, call, false)
}

fn commit(kernel: &mut Kernel, call: &mut Call<'_, '_>, keep: bool) -> CallResult {
    let [addr, flags, ..] = call.args;
    let held = kernel.run_mut().and_then(|run| run.release(HeldKind::RingbufRecord, addr));
    if held.is_none() {
        let bad = BadAccess { kind: AccessKind::Read, addr, size: 1 };
        let problem = Some(call.cx.mem.explain(bad)).filter(|p| matches!(p, AccessProblem::Freed(_)));
        let why = match problem {
            Some(_) => "is a record that was submitted or discarded already".to_owned(),
            None => format!("is {addr:#x}, expected a record from bpf_ringbuf_reserve"),
        };
        return Err(FaultKind::Argument { callee: call.name.to_owned(), arg: 1, why, problem }.into());
    }
    finish(kernel, call.cx, addr, keep, flags);
    Ok(Flow::Return(0))
}

fn finish(kernel: &mut Kernel, cx: &mut Cx<'_>, addr: u64, keep: bool, flags: u64) {
    let Some((id, pos)) = kernel.run_mut().and_then(|run| run.records.remove(&addr)) else { return };
    let ops = kernel.maps.get_mut(id).and_then(|m| m.ops.as_any_mut().downcast_mut::<RingBuf>());
    if let Some(ring) = ops {
        ring.commit(cx.mem, addr, pos, keep, flags);
    }
}

/// `bpf_ringbuf_query`: a position or size; 0 for what it does not know.
fn query(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [map, what, ..] = call.args;
    let (_, ring) = map_as::<RingBuf>(kernel, map, call.name)?;
    let ring = ring.ring();
    Ok(Flow::Return(match what {
        0 => ring.available(),
        1 => ring.size(),
        2 => ring.consumer(),
        3 => ring.producer(),
        4 => ring.overwritten(),
        _ => 0,
    }))
}

/// `bpf_ringbuf_reserve_dynptr`: 0, or an error with a null dynptr, which must be released all the same.
fn reserve_dynptr(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [map, size, flags, at, _] = call.args;
    let size = size & 0xffff_ffff;
    let (id, ring) = map_as::<RingBuf>(kernel, map, call.name)?;
    let reserved = if flags != 0 {
        Err(Errno::EINVAL)
    } else if size > dynptr::MAX_SIZE {
        Err(Errno::E2BIG)
    } else {
        ring.reserve(call.cx.mem, size).ok_or(Errno::EINVAL)
    };
    let (ret, data, kind) = match reserved {
        Ok((addr, pos)) => {
            if let Some(run) = kernel.run_mut() {
                run.records.insert(addr, (id, pos));
            }
            (0, addr, DynptrKind::Ringbuf(addr))
        }
        // A number that is no address: the dynptr is null, but counts as held.
        Err(e) => (e.ret(), 0, DynptrKind::Ringbuf(at & 0xffff)),
    };
    let size = if data == 0 { 0 } else { size as u32 };
    dynptr::put(kernel, call.cx, at, Dynptr { kind, data, offset: 0, size, rdonly: false })?;
    if let (Some(run), DynptrKind::Ringbuf(key)) = (kernel.run_mut(), kind) {
        run.hold(call.cx, HeldKind::Dynptr, key, "dynptr of a ring buffer record", call.name);
    }
    Ok(Flow::Return(ret))
}

/// `bpf_ringbuf_submit_dynptr`.
fn submit_dynptr(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    commit_dynptr(kernel, call, true)
}

/// `bpf_ringbuf_discard_dynptr`.
fn discard_dynptr(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    commit_dynptr(kernel, call, false)
}

fn commit_dynptr(kernel: &mut Kernel, call: &mut Call<'_, '_>, keep: bool) -> CallResult {
    let [at, flags, ..] = call.args;
    let dynptr = dynptr::get(kernel, call.cx, call.name, 1, at)?;
    let DynptrKind::Ringbuf(key) = dynptr.kind else {
        let why = "is a dynptr of no ring buffer record".to_owned();
        return Err(FaultKind::Argument { callee: call.name.to_owned(), arg: 1, why, problem: None }.into());
    };
    if let Some(run) = kernel.run_mut() {
        run.release(HeldKind::Dynptr, key);
    }
    finish(kernel, call.cx, dynptr.data, keep, flags);
    dynptr::remove_all(kernel, dynptr.kind);
    Ok(Flow::Return(0))
}

/// `bpf_user_ringbuf_drain`: calls a function with a dynptr on each sample; gives how many there were.
fn drain(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [map, func, ctx, flags, _] = call.args;
    let (_, ring) = map_as::<UserRingBuf>(kernel, map, call.name)?;
    if flags & !WAKEUP_FLAGS != 0 {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    if !ring.enter() {
        return Ok(Flow::Return(Errno::EBUSY.ret()));
    }
    next_sample(kernel, call.cx, Resume { id: DRAIN, state: [map, func, ctx, 0, 0, 0, 0] })
}

fn drained(kernel: &mut Kernel, cx: &mut Cx<'_>, mut resume: Resume, ret: u64) -> CallResult {
    let [map, _, _, samples, at, data, _] = resume.state;
    dynptr::remove(kernel, cx.mem, at);
    let _ = cx.mem.free(at);
    let _ = cx.mem.free(data);
    resume.state[3] = samples + 1;
    if ret != 0 || samples + 1 >= MAX_USER_SAMPLES {
        map_as::<UserRingBuf>(kernel, map, "bpf_user_ringbuf_drain")?.1.leave();
        return Ok(Flow::Return(samples + 1));
    }
    next_sample(kernel, cx, resume)
}

fn next_sample(kernel: &mut Kernel, cx: &mut Cx<'_>, mut resume: Resume) -> CallResult {
    let [map, func, ctx, samples, ..] = resume.state;
    let (_, ring) = map_as::<UserRingBuf>(kernel, map, "bpf_user_ringbuf_drain")?;
    let place = |kind, size| Alloc::new(Area::Heap, kind, size, "bpf_user_ringbuf_drain");
    let sample = ring.consume().and_then(|sample| {
        let data = cx.mem.alloc(place(RegionKind::RingbufRecord, sample.len() as u32)).ok()?;
        cx.mem.poke(data, &sample).ok()?;
        let at = cx.mem.alloc(place(RegionKind::Other, dynptr::SIZE as u32)).ok()?;
        Some((data, at, sample.len() as u32))
    });
    let Some((data, at, size)) = sample else {
        ring.leave();
        return Ok(Flow::Return(samples));
    };
    let dynptr = Dynptr { kind: DynptrKind::Local, data, offset: 0, size, rdonly: false };
    dynptr::put(kernel, cx, at, dynptr)?;
    resume.state[4] = at;
    resume.state[5] = data;
    Ok(Flow::Callback(Box::new(Callback { addr: func, args: [at, ctx, 0, 0, 0], resume })))
}
