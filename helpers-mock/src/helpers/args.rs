//! Argument checks, from the table's rows (`check_func_arg` in `kernel/bpf/verifier.c`).

use bpf_vm_shim::env::Cx;
use bpf_vm_shim::fault::{FaultKind, Trap};
use bpf_vm_shim::mem::{AccessKind, AccessProblem, BadAccess};

use super::desc::Arg;
use crate::dynptr;
use crate::kernel::Kernel;
use crate::maps::{MapId, Uses};

/// Checks all arguments of a call.
pub(crate) fn check(
    kernel: &Kernel,
    cx: &mut Cx<'_>,
    callee: &str,
    kinds: &[Arg],
    args: &[u64; 5],
) -> Result<(), Trap> {
    for (i, kind) in kinds.iter().enumerate() {
        if *kind != Arg::Any {
            check_one(kernel, cx, callee, *kind, i, args)?;
        }
    }
    Ok(())
}

fn check_one(
    kernel: &Kernel,
    cx: &mut Cx<'_>,
    callee: &str,
    kind: Arg,
    i: usize,
    args: &[u64; 5],
) -> Result<(), Trap> {
    let value = args[i];
    let next = args.get(i + 1).copied().unwrap_or_default();
    let ctx = cx.ctx();
    let is_dynptr = kind == Arg::Dynptr && dynptr::exists(kernel, cx.mem, value);
    let is_func = kind == Arg::Func && cx.code().has_func_at(value);
    let fail = |why: String| Err(argument(callee, i, why, None).into());
    let mut memory = |access, len: u64, what: &str| {
        if permitted(cx, access, value, len) {
            return Ok(());
        }
        require(cx, callee, i, access, value, len, &format!("is not {what} of {len} bytes"))
    };
    let map = || kernel.maps.by_addr(args[0]).and_then(|id| kernel.maps.get(id));
    match kind {
        Arg::Any => Ok(()),
        Arg::Ctx if value == ctx => Ok(()),
        Arg::Ctx => fail(format!("is {value:#x}, expected the context")),
        Arg::Map => match MapId::from_addr(value).and_then(|id| kernel.maps.get(id)) {
            Some(map) => map.unsupported.as_ref().map_or(Ok(()), |gap| Err(gap.clone().into())),
            None => fail(format!("is {value:#x}, expected a map")),
        },
        Arg::MapKey => memory(AccessKind::Read, map().map_or(0, |m| m.def.key_size.into()), "a readable key"),
        Arg::MapValue if map().is_some_and(|m| Uses::takes_sockets(m.def.map_type)) => Ok(()),
        Arg::MapValue => {
            memory(AccessKind::Read, map().map_or(0, |m| m.def.value_size.into()), "a readable value")
        }
        Arg::MapValueOut => {
            memory(AccessKind::Write, map().map_or(0, |m| m.def.value_size.into()), "a writable buffer")
        }
        Arg::MemOrNull | Arg::MemOutOrNull if value == 0 => Ok(()),
        Arg::Mem | Arg::MemOrNull => memory(AccessKind::Read, size(next), "readable memory"),
        Arg::MemOut | Arg::MemOutOrNull => memory(AccessKind::Write, size(next), "writable memory"),
        Arg::Fixed(n) => memory(AccessKind::Read, n.into(), "readable memory"),
        Arg::FixedOut(n) => memory(AccessKind::Write, n.into(), "writable memory"),
        Arg::InMapValue => memory(AccessKind::Write, 4, "a writable map value"),
        Arg::Dynptr if is_dynptr => Ok(()),
        Arg::Dynptr => {
            fail("is not an initialised dynptr (or one that was released or overwritten)".to_owned())
        }
        Arg::DynptrOut => memory(AccessKind::Write, 16, "stack space for a dynptr"),
        Arg::Size if value as u32 == 0 => fail("is 0: zero-sized read or write".to_owned()),
        Arg::Size | Arg::SizeOrZero if (value as i32) < 0 => fail(format!("is negative ({})", value as i32)),
        Arg::Size | Arg::SizeOrZero => Ok(()),
        Arg::Func if is_func => Ok(()),
        Arg::Func => fail(format!("is {value:#x}, expected a function of the program")),
        Arg::Str => string(cx, callee, i, value),
        Arg::KernelPtrOrNull if value == 0 => Ok(()),
        Arg::KernelPtr | Arg::KernelPtrOrNull => Ok(()),
    }
}

/// Sizes are 32 bits wide in the kernel's view of `ARG_CONST_SIZE`.
fn size(v: u64) -> u64 {
    u64::from(v as u32)
}

fn argument(callee: &str, i: usize, why: String, problem: Option<AccessProblem>) -> FaultKind {
    FaultKind::Argument { callee: callee.to_owned(), arg: i as u8 + 1, why, problem }
}

/// Whether the program itself may access memory. Small reads, such as keys, go the way of its own loads.
fn permitted(cx: &mut Cx<'_>, kind: AccessKind, addr: u64, len: u64) -> bool {
    match (kind, len) {
        (AccessKind::Read, 1 | 2 | 4 | 8) => cx.mem.load(addr, len as u8).is_ok(),
        (AccessKind::Read, 16 | 24 | 32) => {
            (0..len / 8).all(|i| cx.mem.load(addr.wrapping_add(i * 8), 8).is_ok())
        }
        _ => len == 0 || cx.mem.allowed(kind, addr, len),
    }
}

/// Requires memory that the program itself may access.
pub(crate) fn require(
    cx: &mut Cx<'_>,
    callee: &str,
    arg: usize,
    kind: AccessKind,
    addr: u64,
    len: u64,
    why: &str,
) -> Result<(), Trap> {
    if permitted(cx, kind, addr, len) {
        return Ok(());
    }
    let problem = cx.mem.explain(BadAccess { kind, addr, size: len });
    Err(argument(callee, arg, why.to_owned(), Some(problem)).into())
}

fn string(cx: &mut Cx<'_>, callee: &str, i: usize, addr: u64) -> Result<(), Trap> {
    for n in 0..4096 {
        match cx.mem.load(addr.wrapping_add(n), 1) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(bad) => {
                let problem = cx.mem.explain(bad);
                return Err(
                    argument(callee, i, "is not a NUL-terminated string".to_owned(), Some(problem)).into()
                );
            }
        }
    }
    Err(argument(callee, i, "is a string without an end".to_owned(), None).into())
}

/// The map behind a checked [`Arg::Map`] argument.
pub(crate) fn map_arg(kernel: &Kernel, addr: u64) -> Result<MapId, Trap> {
    let missing = || argument("map argument", 0, format!("is {addr:#x}, expected a map"), None);
    kernel.maps.by_addr(addr).ok_or_else(|| missing().into())
}
