//! Linked lists of allocated objects (`kernel/bpf/helpers.c`), kept in the guest's memory as the kernel keeps them:
//! a head is `next, prev`, a node `next, prev, owner`.

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::Trap;
use bpf_vm_shim::mem::Memory;

use super::KfuncDesc;
use super::object;
use crate::errno::Errno;
use crate::helpers::{Arg, Call, require_lock};
use crate::kernel::Kernel;

macro_rules! row {
    ($name:literal, $since:expr, $func:ident) => {
        KfuncDesc { name: $name, args: &[Arg::Any], since: $since, func: $func }
    };
}

pub(super) static TABLE: &[KfuncDesc] = &[
    row!("bpf_list_push_front_impl", (6, 2), push_front),
    row!("bpf_list_push_front", (7, 0), push_front),
    row!("bpf_list_push_back_impl", (6, 2), push_back),
    row!("bpf_list_push_back", (7, 0), push_back),
    row!("bpf_list_add", (7, 1), add_after),
    row!("bpf_list_pop_front", (6, 2), pop_front),
    row!("bpf_list_pop_back", (6, 2), pop_back),
    row!("bpf_list_del", (7, 1), del),
    row!("bpf_list_front", (6, 16), front),
    row!("bpf_list_back", (6, 16), back),
    row!("bpf_list_is_first", (7, 1), is_first),
    row!("bpf_list_is_last", (7, 1), is_last),
    row!("bpf_list_empty", (7, 1), is_empty),
];

const NEXT: u64 = 0;
const PREV: u64 = 8;
const OWNER: u64 = 16;

/// A word of guest memory that the kernel keeps; 0 where there is none.
pub(super) fn word(mem: &mut Memory, addr: u64) -> u64 {
    let mut bytes = [0; 8];
    match mem.peek(addr, &mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

/// Changes such a word.
pub(super) fn set_word(mem: &mut Memory, addr: u64, value: u64) {
    let _ = mem.poke(addr, &value.to_le_bytes());
}

/// The list's head, initialised if it is all zero, with its lock held.
fn head(kernel: &Kernel, call: &mut Call<'_, '_>) -> Result<u64, Trap> {
    let head = object::require_live(call, 1, 16, "is not a bpf_list_head")?;
    require_lock(kernel, call, head, "bpf_list_head")?;
    if word(call.cx.mem, head.wrapping_add(NEXT)) == 0 {
        set_word(call.cx.mem, head.wrapping_add(NEXT), head);
        set_word(call.cx.mem, head.wrapping_add(PREV), head);
    }
    Ok(head)
}

fn node(call: &mut Call<'_, '_>, arg: u8) -> Result<u64, Trap> {
    object::require_live(call, arg, 24, "is not a bpf_list_node")
}

/// Puts the node of argument 2 behind `prev`; `-EINVAL`, and the node's object dropped, if it is in a list already.
fn insert(kernel: &mut Kernel, call: &mut Call<'_, '_>, head: u64, prev: u64) -> CallResult {
    let node = node(call, 2)?;
    let base = object::give_up(kernel, call, 2, node)?;
    let mem = &mut *call.cx.mem;
    let foreign = prev != head && word(mem, prev.wrapping_add(OWNER)) != head;
    if foreign || word(mem, node.wrapping_add(OWNER)) != 0 {
        kernel.state.allocated.drop_ref(mem, base);
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    let next = word(mem, prev.wrapping_add(NEXT));
    set_word(mem, node.wrapping_add(NEXT), next);
    set_word(mem, node.wrapping_add(PREV), prev);
    set_word(mem, next.wrapping_add(PREV), node);
    set_word(mem, prev.wrapping_add(NEXT), node);
    set_word(mem, node.wrapping_add(OWNER), head);
    Ok(Flow::Return(0))
}

/// `bpf_list_push_front`.
fn push_front(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    insert(kernel, call, head, head)
}

/// `bpf_list_push_back`.
fn push_back(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    let last = word(call.cx.mem, head.wrapping_add(PREV));
    insert(kernel, call, head, last)
}

/// `bpf_list_add`: behind a node of the list.
fn add_after(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    let prev = node(call, 3)?;
    insert(kernel, call, head, prev)
}

/// Takes a node out and gives it to the program; null if it is not in this list.
fn take(kernel: &mut Kernel, call: &mut Call<'_, '_>, head: u64, node: u64) -> CallResult {
    let mem = &mut *call.cx.mem;
    if node == head || word(mem, node.wrapping_add(OWNER)) != head {
        return Ok(Flow::Return(0));
    }
    let (next, prev) = (word(mem, node.wrapping_add(NEXT)), word(mem, node.wrapping_add(PREV)));
    set_word(mem, prev.wrapping_add(NEXT), next);
    set_word(mem, next.wrapping_add(PREV), prev);
    set_word(mem, node.wrapping_add(NEXT), node);
    set_word(mem, node.wrapping_add(PREV), node);
    set_word(mem, node.wrapping_add(OWNER), 0);
    object::own(kernel, call, node);
    Ok(Flow::Return(node))
}

/// `bpf_list_pop_front`.
fn pop_front(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    let first = word(call.cx.mem, head.wrapping_add(NEXT));
    take(kernel, call, head, first)
}

/// `bpf_list_pop_back`.
fn pop_back(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    let last = word(call.cx.mem, head.wrapping_add(PREV));
    take(kernel, call, head, last)
}

/// `bpf_list_del`.
fn del(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    let node = node(call, 2)?;
    take(kernel, call, head, node)
}

/// `bpf_list_front`: a look at the first node, which stays in the list.
fn front(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    let first = word(call.cx.mem, head.wrapping_add(NEXT));
    Ok(Flow::Return(if first == head { 0 } else { first }))
}

/// `bpf_list_back`.
fn back(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    let last = word(call.cx.mem, head.wrapping_add(PREV));
    Ok(Flow::Return(if last == head { 0 } else { last }))
}

/// `bpf_list_is_first`.
fn is_first(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    let node = node(call, 2)?;
    let mem = &mut *call.cx.mem;
    Ok(Flow::Return(u64::from(
        word(mem, node.wrapping_add(OWNER)) == head && word(mem, head.wrapping_add(NEXT)) == node,
    )))
}

/// `bpf_list_is_last`.
fn is_last(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    let node = node(call, 2)?;
    let mem = &mut *call.cx.mem;
    Ok(Flow::Return(u64::from(
        word(mem, node.wrapping_add(OWNER)) == head && word(mem, head.wrapping_add(PREV)) == node,
    )))
}

/// `bpf_list_empty`.
fn is_empty(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let head = head(kernel, call)?;
    Ok(Flow::Return(u64::from(word(call.cx.mem, head.wrapping_add(NEXT)) == head)))
}
