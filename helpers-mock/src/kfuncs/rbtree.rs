//! Ordered trees of allocated objects (`kernel/bpf/helpers.c`), kept in the guest's memory.
//!
//! The order and the results are the kernel's; the shape is that of a treap whose priorities come from the addresses,
//! so a program that walks from `bpf_rbtree_root` sees another, equally balanced, tree than on a kernel.

use bpf_vm_shim::env::{CallResult, Callback, Cx, Flow, Resume};
use bpf_vm_shim::fault::{FaultKind, Trap};
use bpf_vm_shim::mem::Memory;

use super::list::{set_word, word};
use super::{KfuncDesc, object};
use crate::errno::Errno;
use crate::helpers::{Arg, Call, require_lock};
use crate::kernel::Kernel;

macro_rules! row {
    ($name:literal, $since:expr, $func:ident) => {
        KfuncDesc { name: $name, args: &[Arg::Any], since: $since, func: $func }
    };
}

pub(super) static TABLE: &[KfuncDesc] = &[
    row!("bpf_rbtree_add_impl", (6, 3), add),
    row!("bpf_rbtree_add", (7, 0), add),
    row!("bpf_rbtree_remove", (6, 3), remove),
    row!("bpf_rbtree_first", (6, 3), first),
    row!("bpf_rbtree_root", (6, 16), root_node),
    row!("bpf_rbtree_left", (6, 16), left),
    row!("bpf_rbtree_right", (6, 16), right),
];

// struct rb_node, then the owner; struct rb_root_cached.
const PARENT: u64 = 0;
const RIGHT: u64 = 8;
const LEFT: u64 = 16;
const OWNER: u64 = 24;
const TOP: u64 = 0;
const LEFTMOST: u64 = 8;

/// A program that overwrites nodes may make a loop of them; no walk is longer than this.
const MAX_STEPS: u32 = 1 << 20;

fn root(kernel: &Kernel, call: &mut Call<'_, '_>) -> Result<u64, Trap> {
    let root = object::require_live(call, 1, 16, "is not a bpf_rb_root")?;
    require_lock(kernel, call, root, "bpf_rb_root")?;
    Ok(root)
}

fn node(call: &mut Call<'_, '_>) -> Result<u64, Trap> {
    object::require_live(call, 2, 32, "is not a bpf_rb_node")
}

/// `bpf_rbtree_add`: `-EINVAL`, and the node's object dropped, if it is in a tree already.
fn add(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let root = root(kernel, call)?;
    let node = node(call)?;
    let less = call.args[2];
    if !call.cx.code().has_func_at(less) {
        return Err(object::argument(call.name, 3, "is no function of the program", None));
    }
    let base = object::give_up(kernel, call, 2, node)?;
    if word(call.cx.mem, node.wrapping_add(OWNER)) != 0 {
        kernel.state.allocated.drop_ref(call.cx.mem, base);
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    let top = word(call.cx.mem, root.wrapping_add(TOP));
    if top == 0 {
        link(call.cx.mem, root, node, 0, LEFT);
        return Ok(Flow::Return(0));
    }
    Ok(compare([root, node, less, top, 0, 0, 0]))
}

/// Asks the program whether the new node comes before the one that the descent has reached.
fn compare(state: [u64; 7]) -> Flow {
    let [_, node, less, at, ..] = state;
    let resume = Resume { id: super::RBTREE_ADD, state };
    Flow::Callback(Box::new(Callback { addr: less, args: [node, at, 0, 0, 0], resume }))
}

/// Goes down one step, or links the node in.
pub(super) fn added(_: &mut Kernel, cx: &mut Cx<'_>, resume: Resume, ret: u64) -> CallResult {
    let mut state = resume.state;
    let [root, node, _, at, steps, ..] = state;
    let side = if ret as u32 != 0 { LEFT } else { RIGHT };
    let next = word(cx.mem, at.wrapping_add(side));
    if next == 0 {
        link(cx.mem, root, node, at, side);
        return Ok(Flow::Return(0));
    }
    state[3] = next;
    state[4] = steps + 1;
    if steps > MAX_STEPS.into() {
        return Err(FaultKind::Lock { why: "the rbtree has been overwritten".to_owned() }.into());
    }
    Ok(compare(state))
}

fn priority(node: u64) -> u64 {
    let z = (node ^ (node >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn link(mem: &mut Memory, root: u64, node: u64, parent: u64, side: u64) {
    for (field, value) in [(PARENT, parent), (LEFT, 0), (RIGHT, 0), (OWNER, root)] {
        set_word(mem, node.wrapping_add(field), value);
    }
    match parent {
        0 => set_word(mem, root.wrapping_add(TOP), node),
        _ => set_word(mem, parent.wrapping_add(side), node),
    }
    for _ in 0..MAX_STEPS {
        let parent = word(mem, node.wrapping_add(PARENT));
        if parent == 0 || priority(parent) <= priority(node) {
            break;
        }
        rotate_up(mem, root, node);
    }
    note_leftmost(mem, root);
}

/// Lets a node and its parent change places.
fn rotate_up(mem: &mut Memory, root: u64, node: u64) {
    let parent = word(mem, node.wrapping_add(PARENT));
    let above = word(mem, parent.wrapping_add(PARENT));
    let (near, far) =
        if word(mem, parent.wrapping_add(LEFT)) == node { (LEFT, RIGHT) } else { (RIGHT, LEFT) };
    let inner = word(mem, node.wrapping_add(far));
    set_word(mem, parent.wrapping_add(near), inner);
    if inner != 0 {
        set_word(mem, inner.wrapping_add(PARENT), parent);
    }
    set_word(mem, node.wrapping_add(far), parent);
    set_word(mem, parent.wrapping_add(PARENT), node);
    replace(mem, root, above, parent, node);
}

/// Puts `new` (which may be none) where `old` hangs.
fn replace(mem: &mut Memory, root: u64, above: u64, old: u64, new: u64) {
    if new != 0 {
        set_word(mem, new.wrapping_add(PARENT), above);
    }
    if above == 0 {
        set_word(mem, root.wrapping_add(TOP), new);
    } else {
        let side = if word(mem, above.wrapping_add(LEFT)) == old { LEFT } else { RIGHT };
        set_word(mem, above.wrapping_add(side), new);
    }
}

fn note_leftmost(mem: &mut Memory, root: u64) {
    let mut at = word(mem, root.wrapping_add(TOP));
    for _ in 0..MAX_STEPS {
        match if at == 0 { 0 } else { word(mem, at.wrapping_add(LEFT)) } {
            0 => break,
            left => at = left,
        }
    }
    set_word(mem, root.wrapping_add(LEFTMOST), at);
}

/// `bpf_rbtree_remove`: the node, now owned by the program; null if it is not in this tree.
fn remove(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let root = root(kernel, call)?;
    let node = node(call)?;
    let mem = &mut *call.cx.mem;
    if word(mem, node.wrapping_add(OWNER)) != root {
        return Ok(Flow::Return(0));
    }
    for _ in 0..MAX_STEPS {
        let child = match (word(mem, node.wrapping_add(LEFT)), word(mem, node.wrapping_add(RIGHT))) {
            (0, 0) => break,
            (0, only) | (only, 0) => only,
            (l, r) if priority(l) <= priority(r) => l,
            (_, r) => r,
        };
        rotate_up(mem, root, child);
    }
    let above = word(mem, node.wrapping_add(PARENT));
    replace(mem, root, above, node, 0);
    set_word(mem, node.wrapping_add(PARENT), 0);
    set_word(mem, node.wrapping_add(OWNER), 0);
    note_leftmost(mem, root);
    object::own(kernel, call, node);
    Ok(Flow::Return(node))
}

/// `bpf_rbtree_first`: a look at the least node.
fn first(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let root = root(kernel, call)?;
    Ok(Flow::Return(word(call.cx.mem, root.wrapping_add(LEFTMOST))))
}

/// `bpf_rbtree_root`.
fn root_node(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let root = root(kernel, call)?;
    Ok(Flow::Return(word(call.cx.mem, root.wrapping_add(TOP))))
}

fn child(kernel: &mut Kernel, call: &mut Call<'_, '_>, side: u64) -> CallResult {
    let root = root(kernel, call)?;
    let node = node(call)?;
    let inside = word(call.cx.mem, node.wrapping_add(OWNER)) == root;
    Ok(Flow::Return(if inside { word(call.cx.mem, node.wrapping_add(side)) } else { 0 }))
}

/// `bpf_rbtree_left`.
fn left(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    child(kernel, call, LEFT)
}

/// `bpf_rbtree_right`.
fn right(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    child(kernel, call, RIGHT)
}
