//! Access to maps (`kernel/bpf/helpers.c`, `bpf_map_*_elem`).

use std::sync::Arc;

use bpf_vm_shim::env::{CallResult, Callback, Cx, Flow, Resume};
use bpf_vm_shim::fault::{FaultKind, Trap, Unsupported, UnsupportedKind};
use bpf_vm_shim::mem::{Alloc, Area, BadAccess, Perm, RegionKind};
use bpf_vm_shim::object::MapType;

use super::desc::{Arg, Call, HelperDesc};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::maps::{FdArray, MapCx, MapId, Uses, flag};
use crate::progs::ProgId;

pub(super) static TABLE: &[HelperDesc] = &[
    HelperDesc {
        id: 1,
        name: "bpf_map_lookup_elem",
        args: &[Arg::Map, Arg::MapKey],
        since: (3, 19),
        gpl_only: false,
        func: lookup,
        resume: None,
    },
    HelperDesc {
        id: 2,
        name: "bpf_map_update_elem",
        args: &[Arg::Map, Arg::MapKey, Arg::MapValue, Arg::Any],
        since: (3, 19),
        gpl_only: false,
        func: update,
        resume: None,
    },
    HelperDesc {
        id: 3,
        name: "bpf_map_delete_elem",
        args: &[Arg::Map, Arg::MapKey],
        since: (3, 19),
        gpl_only: false,
        func: delete,
        resume: None,
    },
    HelperDesc {
        id: 87,
        name: "bpf_map_push_elem",
        args: &[Arg::Map, Arg::MapValue, Arg::Any],
        since: (4, 20),
        gpl_only: false,
        func: push,
        resume: None,
    },
    HelperDesc {
        id: 88,
        name: "bpf_map_pop_elem",
        args: &[Arg::Map, Arg::MapValueOut],
        since: (4, 20),
        gpl_only: false,
        func: pop,
        resume: None,
    },
    HelperDesc {
        id: 89,
        name: "bpf_map_peek_elem",
        args: &[Arg::Map, Arg::MapValueOut],
        since: (4, 20),
        gpl_only: false,
        func: peek,
        resume: None,
    },
    HelperDesc {
        id: 195,
        name: "bpf_map_lookup_percpu_elem",
        args: &[Arg::Map, Arg::MapKey, Arg::Any],
        since: (5, 19),
        gpl_only: false,
        func: lookup_percpu,
        resume: None,
    },
    HelperDesc {
        id: FOR_EACH_ID,
        name: "bpf_for_each_map_elem",
        args: &[Arg::Map, Arg::Func, Arg::Any, Arg::Any],
        since: (5, 13),
        gpl_only: false,
        func: for_each,
        resume: Some(for_each_next),
    },
    HelperDesc {
        id: 12,
        name: "bpf_tail_call",
        args: &[Arg::Ctx, Arg::Any, Arg::Any],
        since: (4, 2),
        gpl_only: false,
        func: tail_call,
        resume: None,
    },
    HelperDesc {
        id: 51,
        name: "bpf_redirect_map",
        args: &[Arg::Map, Arg::Any, Arg::Any],
        since: (4, 14),
        gpl_only: false,
        func: redirect_map,
        resume: None,
    },
];

/// `BPF_FUNC_for_each_map_elem`.
const FOR_EACH_ID: u32 = 164;
/// Keys up to this size are read without allocating.
const INLINE_KEY: usize = 64;

/// Bytes read from the guest.
pub(super) enum Bytes {
    Inline([u8; INLINE_KEY], usize),
    Heap(Vec<u8>),
}

impl Bytes {
    /// Reads `len` bytes that the argument checks have found readable.
    pub(super) fn read(
        cx: &mut Cx<'_>,
        callee: &'static str,
        arg: u8,
        addr: u64,
        len: u32,
    ) -> Result<Self, Trap> {
        let len = len as usize;
        let fail = |bad: BadAccess| -> Trap {
            let why = format!("is not readable ({} bytes)", bad.size);
            FaultKind::Argument { callee: callee.to_owned(), arg, why, problem: None }.into()
        };
        if len > INLINE_KEY {
            let mut bytes = vec![0; len];
            cx.mem.read(addr, &mut bytes).map_err(fail)?;
            return Ok(Self::Heap(bytes));
        }
        let mut buf = [0; INLINE_KEY];
        match len {
            4 => {
                let v = cx.mem.load(addr, 4).map_err(fail)?;
                buf[..4].copy_from_slice(&(v as u32).to_le_bytes());
            }
            8 | 16 | 24 | 32 => {
                for (i, word) in buf[..len].as_chunks_mut::<8>().0.iter_mut().enumerate() {
                    *word = cx.mem.load(addr.wrapping_add(i as u64 * 8), 8).map_err(fail)?.to_le_bytes();
                }
            }
            _ => cx.mem.read(addr, &mut buf[..len]).map_err(fail)?,
        }
        Ok(Self::Inline(buf, len))
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline(buf, len) => &buf[..*len],
            Self::Heap(bytes) => bytes,
        }
    }
}

/// The map of argument 1, if its type allows this use.
pub(super) fn used(kernel: &Kernel, call: &Call<'_, '_>, uses: Uses) -> Result<MapId, Trap> {
    used_at(kernel, call, call.args[0], uses)
}

/// The map at an address, if its type allows this use.
fn used_at(kernel: &Kernel, call: &Call<'_, '_>, addr: u64, uses: Uses) -> Result<MapId, Trap> {
    let id = super::map_arg(kernel, addr)?;
    let Some(map) = kernel.maps.get(id) else { return super::map_arg(kernel, 0) };
    if map.uses.allow(uses) {
        return Ok(id);
    }
    let why =
        format!("cannot pass map '{}' of type {} into func {}", map.def.name, map.def.map_type, call.name);
    Err(FaultKind::NotAllowed { callee: call.name.to_owned(), why }.into())
}

/// As [`used`], for a use that writes the map.
fn written(kernel: &Kernel, call: &Call<'_, '_>, uses: Uses) -> Result<MapId, Trap> {
    let id = used(kernel, call, uses)?;
    match kernel.maps.get(id) {
        Some(map) if map.def.map_flags & flag::RDONLY_PROG != 0 => {
            let why = format!("write into map '{}' forbidden: it is read-only for programs", map.def.name);
            Err(FaultKind::NotAllowed { callee: call.name.to_owned(), why }.into())
        }
        _ => Ok(id),
    }
}

/// Sizes of the map's keys and values.
fn sizes(kernel: &Kernel, id: MapId) -> (u32, u32) {
    kernel.maps.get(id).map_or((0, 0), |m| (m.def.key_size, m.def.value_size))
}

/// A helper's return value from an operation's.
fn ret(result: Result<(), Errno>) -> CallResult {
    Ok(Flow::Return(result.map_or_else(Errno::ret, |()| 0)))
}

/// Runs an operation that changes a map; what its elements held is dropped afterwards.
fn change<R>(
    kernel: &mut Kernel,
    cx: &mut Cx<'_>,
    id: MapId,
    f: impl FnOnce(&mut dyn crate::maps::MapOps, &mut MapCx<'_>) -> Result<R, Errno>,
) -> Result<R, Errno> {
    // bcc's tools read what they have just deleted. The kernel does not give it to others before all programs have
    // ended that run now; other programs are told that they must not.
    let grace = kernel.run().is_some_and(|run| run.prog.object.passes.is_some());
    let mut map_cx = kernel.map_cx(cx);
    map_cx.grace = grace;
    let Some(map) = kernel.maps.get_mut(id) else { return Err(Errno::EBADF) };
    let result = f(&mut *map.ops, &mut map_cx);
    let (dropped, freed) = (map_cx.dropped, map_cx.freed);
    if let Some(run) = kernel.run_mut() {
        run.freed.extend(freed);
    }
    kernel.drop_fields(cx.mem, id, dropped);
    result
}

/// `bpf_map_lookup_elem`: the address of the value, or 0.
fn lookup(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let id = used(kernel, call, Uses::LOOKUP)?;
    let key = Bytes::read(call.cx, call.name, 2, call.args[1], sizes(kernel, id).0)?;
    let mut cx = kernel.map_cx(call.cx);
    let Some(map) = kernel.maps.get(id) else { return Ok(Flow::Return(0)) };
    let found = map.ops.lookup(&mut cx, key.as_slice()).unwrap_or(None);
    if found.is_some()
        && map.ops.counts_use()
        && let Some(map) = kernel.maps.get_mut(id)
    {
        map.ops.touch(key.as_slice());
    }
    Ok(Flow::Return(found.unwrap_or(0)))
}

/// `bpf_map_update_elem`: 0 or a negative error.
fn update(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let id = written(kernel, call, Uses::UPDATE)?;
    let (key_size, mut value_size) = sizes(kernel, id);
    if kernel.maps.get(id).is_some_and(|m| Uses::takes_sockets(m.def.map_type)) {
        value_size = 0;
    }
    let key = Bytes::read(call.cx, call.name, 2, call.args[1], key_size)?;
    let value = Bytes::read(call.cx, call.name, 3, call.args[2], value_size)?;
    let flags = call.args[3];
    ret(change(kernel, call.cx, id, |ops, cx| ops.update(cx, key.as_slice(), value.as_slice(), flags)))
}

/// `bpf_map_delete_elem`: 0 or a negative error.
fn delete(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let id = written(kernel, call, Uses::DELETE)?;
    let key = Bytes::read(call.cx, call.name, 2, call.args[1], sizes(kernel, id).0)?;
    ret(change(kernel, call.cx, id, |ops, cx| ops.delete(cx, key.as_slice())))
}

/// `bpf_map_push_elem`: 0 or a negative error.
fn push(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let id = written(kernel, call, Uses::PUSH)?;
    let value = Bytes::read(call.cx, call.name, 2, call.args[1], sizes(kernel, id).1)?;
    let flags = call.args[2];
    ret(change(kernel, call.cx, id, |ops, cx| ops.push(cx, value.as_slice(), flags)))
}

/// `bpf_map_pop_elem`: 0 and the value, or a negative error and zeroes.
fn pop(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let id = written(kernel, call, Uses::POP)?;
    let (value, result) = match change(kernel, call.cx, id, |ops, cx| ops.pop(cx)) {
        Ok(value) => (value, Ok(())),
        Err(e) => (vec![0; sizes(kernel, id).1 as usize], Err(e)),
    };
    write(call, &value)?;
    ret(result)
}

/// `bpf_map_peek_elem`: as pop, but the element stays. A bloom filter tests the value that is passed.
fn peek(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let id = used(kernel, call, Uses::PEEK)?;
    let size = sizes(kernel, id).1;
    let tests = kernel.maps.get(id).is_some_and(|m| !m.uses.allow(Uses::POP));
    let mut value = vec![0; size as usize];
    if tests {
        value = Bytes::read(call.cx, call.name, 2, call.args[1], size)?.as_slice().to_vec();
    }
    let mut cx = kernel.map_cx(call.cx);
    let result = match kernel.maps.get(id) {
        Some(map) => map.ops.peek(&mut cx, &mut value),
        None => Err(Errno::EBADF),
    };
    if !tests {
        write(call, &value)?;
    }
    ret(result)
}

/// Writes to the buffer of argument 2.
fn write(call: &mut Call<'_, '_>, value: &[u8]) -> Result<(), Trap> {
    let len = value.len() as u64;
    let kind = bpf_vm_shim::mem::AccessKind::Write;
    super::require(call.cx, call.name, 1, kind, call.args[1], len, "is not writable memory")?;
    // Just found writable; what could still fail is the page limit, which leaves the buffer as it was.
    let _ = call.cx.mem.write(call.args[1], value);
    Ok(())
}

/// `bpf_map_lookup_percpu_elem`: the address of a CPU's value, or 0.
fn lookup_percpu(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let id = used(kernel, call, Uses::LOOKUP_PERCPU)?;
    let key = Bytes::read(call.cx, call.name, 2, call.args[1], sizes(kernel, id).0)?;
    let cpu = call.args[2] as u32;
    let mut cx = kernel.map_cx(call.cx);
    let Some(map) = kernel.maps.get(id) else { return Ok(Flow::Return(0)) };
    let found = map.ops.lookup_percpu(&mut cx, key.as_slice(), cpu).unwrap_or(None);
    if found.is_some()
        && map.ops.counts_use()
        && let Some(map) = kernel.maps.get_mut(id)
    {
        map.ops.touch(key.as_slice());
    }
    Ok(Flow::Return(found.unwrap_or(0)))
}

/// `bpf_for_each_map_elem`: how many elements were visited, or `-EINVAL` for flags.
///
/// The callback gets the map, the key's address, the value's (this CPU's, for per-CPU types) and the caller's pointer;
/// if it returns anything but 0 the walk ends. It may delete elements, its own included.
fn for_each(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let id = used(kernel, call, Uses::FOR_EACH)?;
    let [_, callback, context, flags, _] = call.args;
    if flags != 0 {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    let Some(map) = kernel.maps.get(id) else { return Ok(Flow::Return(0)) };
    let (size, name) = (map.def.key_size, format!("map '{}'", map.def.name));
    let key = Alloc::new(Area::Map, RegionKind::MapKey, size, name).perm(Perm::ReadOnly);
    let Ok(key) = call.cx.mem.alloc(key) else { return Ok(Flow::Return(Errno::ENOMEM.ret())) };
    step(kernel, call.cx, Walk { id, callback, context, key, position: 0, visited: 0 })
}

/// A walk between two elements.
struct Walk {
    id: MapId,
    callback: u64,
    context: u64,
    /// Where the callback finds the key.
    key: u64,
    position: u64,
    visited: u64,
}

fn for_each_next(kernel: &mut Kernel, cx: &mut Cx<'_>, resume: Resume, ret: u64) -> CallResult {
    let [id, callback, context, key, position, visited, _] = resume.state;
    let walk = Walk { id: MapId(id as u32), callback, context, key, position, visited };
    if ret == 0 { step(kernel, cx, walk) } else { end(cx, &walk) }
}

/// Calls the callback for the next element.
fn step(kernel: &mut Kernel, cx: &mut Cx<'_>, walk: Walk) -> CallResult {
    let mut key = Vec::new();
    let mut map_cx = kernel.map_cx(cx);
    let found = match kernel.maps.get(walk.id) {
        Some(map) => map.ops.walk(&mut map_cx, walk.position, &mut key),
        None => Ok(None),
    };
    let Ok(Some(element)) = found else { return end(cx, &walk) };
    if cx.mem.poke(walk.key, &key).is_err() {
        return end(cx, &walk);
    }
    let args = [walk.id.addr(), walk.key, element.value, walk.context, 0];
    let Walk { id, callback, context, key, visited, .. } = walk;
    let state = [id.0.into(), callback, context, key, element.next, visited + 1, 0];
    let resume = Resume { id: FOR_EACH_ID, state };
    Ok(Flow::Callback(Box::new(Callback { addr: callback, args, resume })))
}

fn end(cx: &mut Cx<'_>, walk: &Walk) -> CallResult {
    // The key is there until the walk ends; a failure to free it would have nobody to tell.
    let _ = cx.mem.free(walk.key);
    Ok(Flow::Return(walk.visited))
}

/// `bpf_tail_call`: never returns if it succeeds; with an index outside the array or an empty slot the program goes on.
fn tail_call(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let id = used_at(kernel, call, call.args[1], Uses::TAIL_CALL)?;
    let index = call.args[2] as u32;
    let array = kernel.maps.get(id).and_then(|m| m.ops.as_any().downcast_ref::<FdArray>());
    let target = array.and_then(|a| a.get(index)).and_then(|n| kernel.progs.get(ProgId(n)));
    Ok(match target {
        Some(prog) => Flow::TailCall(Arc::clone(&prog.code)),
        None => Flow::Return(Errno::ENOENT.ret()),
    })
}

/// `bpf_redirect_map` (`__bpf_xdp_redirect_map`): maps of XDP sockets are empty, so the answer is what the flags say;
/// the other types that it takes are still to be simulated, and the checks before it have answered.
fn redirect_map(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    const ACTIONS: u64 = 3;
    let id = used(kernel, call, Uses::REDIRECT)?;
    let flags = call.args[2];
    if kernel.maps.get(id).is_none_or(|m| m.def.map_type != MapType::Xskmap) {
        return Err(Unsupported::new(UnsupportedKind::Helper, call.name).into());
    }
    // XDP_ABORTED for other flags.
    Ok(Flow::Return(if flags & !ACTIONS == 0 { flags } else { 0 }))
}
