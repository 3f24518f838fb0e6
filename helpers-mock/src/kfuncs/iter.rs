//! Open-coded iterators (`kernel/bpf/bpf_iter.c`): `bpf_iter_<kind>_new`, `_next`, `_destroy`.
//!
//! An iterator is opaque bytes on the stack. It counts as held from `_new` to `_destroy`, whatever `_new` returned.

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{FaultKind, Trap};
use bpf_vm_shim::mem::Perm;

use super::KfuncDesc;
use crate::errno::Errno;
use crate::helpers::{Arg, Call, MAX_LOOPS};
use crate::kernel::Kernel;
use crate::run::HeldKind;

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc {
        name: "bpf_iter_num_new",
        args: &[Arg::FixedOut(8), Arg::Any, Arg::Any],
        since: (6, 4),
        func: num_new,
    },
    KfuncDesc { name: "bpf_iter_num_next", args: &[Arg::Any], since: (6, 4), func: num_next },
    KfuncDesc { name: "bpf_iter_num_destroy", args: &[Arg::Any], since: (6, 4), func: num_destroy },
];

/// Notes that an iterator has begun.
pub(super) fn begin(kernel: &mut Kernel, call: &Call<'_, '_>, kind: &str) {
    let at = call.args[0];
    if let Some(run) = kernel.run_mut() {
        run.hold(call.cx, HeldKind::Iterator, at, format!("iterator '{kind}'"), call.name);
    }
}

/// Requires that the first argument is an iterator that has begun.
pub(super) fn require(kernel: &Kernel, call: &Call<'_, '_>) -> Result<(), Trap> {
    let at = call.args[0];
    let live =
        kernel.run().is_some_and(|run| run.held.iter().any(|h| h.kind == HeldKind::Iterator && h.key == at));
    if live {
        return Ok(());
    }
    let why = "is not an initialised iterator".to_owned();
    Err(FaultKind::Argument { callee: call.name.to_owned(), arg: 1, why, problem: None }.into())
}

/// Ends an iterator of `size` bytes.
pub(super) fn end(kernel: &mut Kernel, call: &mut Call<'_, '_>, size: u64) -> CallResult {
    require(kernel, call)?;
    let at = call.args[0];
    if let Some(run) = kernel.run_mut() {
        run.release(HeldKind::Iterator, at);
    }
    call.cx.mem.protect(at, size, Perm::Uninit);
    Ok(Flow::Return(0))
}

/// `bpf_iter_num_new`: `-EINVAL` if the range runs backwards, `-E2BIG` if it is too long; it is then empty.
fn num_new(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [at, start, end, ..] = call.args;
    let (start, end) = (start as i32, end as i32);
    let (cur, end, ret) = if start > end {
        (0, 0, Errno::EINVAL.ret())
    } else if i64::from(end) - i64::from(start) > MAX_LOOPS as i64 {
        (0, 0, Errno::E2BIG.ret())
    } else {
        // One before the start: the kernel's, too, wraps around.
        (start.wrapping_sub(1), end, 0)
    };
    let state = u64::from(cur as u32) | u64::from(end as u32) << 32;
    let _ = call.cx.mem.store(at, 8, state);
    begin(kernel, call, "num");
    Ok(Flow::Return(ret))
}

/// `bpf_iter_num_next`: the address of the next number, inside the iterator, or null at the end.
fn num_next(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    require(kernel, call)?;
    let at = call.args[0];
    let mut state = [0; 8];
    let _ = call.cx.mem.peek(at, &mut state);
    let state = u64::from_le_bytes(state);
    let (cur, end) = (state as u32 as i32, (state >> 32) as u32 as i32);
    // The same comparison as the kernel's, which is right even where `cur` has wrapped.
    if i64::from(cur.wrapping_add(1)) >= i64::from(end) {
        let _ = call.cx.mem.poke(at, &[0; 8]);
        return Ok(Flow::Return(0));
    }
    let _ = call.cx.mem.poke(at, &cur.wrapping_add(1).to_le_bytes());
    Ok(Flow::Return(at))
}

/// `bpf_iter_num_destroy`.
fn num_destroy(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    end(kernel, call, 8)
}
