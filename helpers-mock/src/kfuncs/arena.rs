//! Pages of arenas (`kernel/bpf/arena.c`).

use bpf_vm_shim::env::{ArenaSpan, CallResult, Cx, Flow};
use bpf_vm_shim::fault::{Trap, Unsupported, UnsupportedKind};
use bpf_vm_shim::mem::AccessKind;
use bpf_vm_shim::object::KernelProfile;

use super::{KfuncDesc, stream};
use crate::errno::Errno;
use crate::helpers::{Arg, Call, map_arg};
use crate::kernel::Kernel;
use crate::maps::{Arena, MapId};
use crate::progs::ProgId;
use crate::state::Stream;

static ARGS: &[Arg] = &[Arg::Map];

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc { name: "bpf_arena_alloc_pages", args: ARGS, since: (6, 9), func: alloc_pages },
    KfuncDesc { name: "bpf_arena_free_pages", args: ARGS, since: (6, 9), func: free_pages },
    KfuncDesc { name: "bpf_arena_reserve_pages", args: ARGS, since: (6, 17), func: reserve_pages },
];

/// The arena behind the first argument; `None` for a map of another type.
fn arena<'a>(kernel: &'a mut Kernel, call: &Call<'_, '_>) -> Result<Option<&'a mut Arena>, Trap> {
    let id = map_arg(kernel, call.args[0])?;
    Ok(kernel.maps.get_mut(id).and_then(|m| m.ops.as_any_mut().downcast_mut()))
}

/// `bpf_arena_alloc_pages`: the user's address of new pages; 0 if there is no room, or for flags, none of which exist.
fn alloc_pages(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, addr, count, node, flags] = call.args;
    let arena = arena(kernel, call)?.filter(|_| flags == 0 && count as u32 != 0);
    Ok(Flow::Return(arena.map_or(0, |a| a.alloc(addr, count as u32, node as i32))))
}

/// `bpf_arena_free_pages`.
fn free_pages(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, addr, count, ..] = call.args;
    if let Some(arena) = arena(kernel, call)?.filter(|_| addr != 0 && count as u32 != 0) {
        arena.free(call.cx.mem, addr, count as u32);
    }
    Ok(Flow::Return(0))
}

/// `bpf_arena_reserve_pages`: keeps pages from being allocated; `-EINVAL` outside the arena, `-EBUSY` if taken.
fn reserve_pages(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, addr, count, ..] = call.args;
    let result = match arena(kernel, call)? {
        None => Err(Errno::EINVAL),
        Some(_) if count as u32 == 0 => Ok(()),
        Some(arena) => arena.reserve(addr, count as u32),
    };
    Ok(Flow::Return(result.map_or_else(Errno::ret, |()| 0)))
}

/// Where bytes of the running program's arena are. What is not there is told in its error stream.
pub(crate) fn span(
    kernel: &mut Kernel,
    cx: &mut Cx<'_>,
    offset: i64,
    size: u8,
    kind: AccessKind,
) -> Result<Option<ArenaSpan>, Trap> {
    let prog = kernel.progs.get(ProgId(cx.code().id())).or_else(|| kernel.run().map(|r| &r.prog));
    let Some(id) = prog.and_then(|p| p.arena) else {
        return Err(Unsupported::new(UnsupportedKind::Feature, "arena of another program").into());
    };
    if let Some(span) =
        kernel.maps.get(id).and_then(|m| m.ops.as_any().downcast_ref::<Arena>()?.find(offset, size))
    {
        return Ok(Some(span));
    }
    let touched = kernel.maps.get_mut(id).and_then(|m| m.ops.as_any_mut().downcast_mut::<Arena>());
    let Some(arena) = touched else { return Ok(None) };
    let there = arena.touch(cx.mem, offset, size).map_err(|e| {
        Unsupported::new(UnsupportedKind::Feature, format!("arena pages beyond the memory of the guest: {e}"))
    })?;
    if there {
        return Ok(arena.find(offset, size));
    }
    report(kernel, cx, id, offset, kind);
    Ok(None)
}

/// `bpf_prog_report_arena_violation`, since 6.18.
fn report(kernel: &mut Kernel, cx: &Cx<'_>, id: MapId, offset: i64, kind: AccessKind) {
    if kernel.profile.version < KernelProfile::kernel_version(6, 18, 0) {
        return;
    }
    let start = kernel.maps.get(id).and_then(|m| Some(m.ops.as_any().downcast_ref::<Arena>()?.user_start()));
    let addr = (start.unwrap_or(0) & !0xffff_ffff).wrapping_add_signed(offset);
    let verb = if kind == AccessKind::Write { "WRITE" } else { "READ" };
    let mut text = format!("ERROR: Arena {verb} access at unmapped address {addr:#x}\n");
    text.push_str(&stream::stack(kernel, cx));
    // A stream that is full takes no more, which nobody hears of.
    let _ = stream::push(kernel, Stream::Stderr, text.as_bytes());
}
