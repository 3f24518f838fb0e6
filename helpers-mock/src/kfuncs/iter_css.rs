//! The iterator over control groups, `bpf_iter_css` (`kernel/bpf/cgroup_iter.c`). Siblings come by id.
//!
//! Its 24 bytes hold the ids of the group to start from and of the last one given, each plus one, and the order.

use bpf_vm_shim::btf::Kind;
use bpf_vm_shim::env::{CallResult, Flow};

use super::list::word;
use super::{KfuncDesc, iter};
use crate::errno::Errno;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;
use crate::state::Cgroups;

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc {
        name: "bpf_iter_css_new",
        args: &[Arg::FixedOut(SIZE as u32), Arg::KernelPtr, Arg::Any],
        since: (6, 7),
        func: new,
    },
    KfuncDesc { name: "bpf_iter_css_next", args: &[Arg::Any], since: (6, 7), func: next },
    KfuncDesc {
        name: "bpf_iter_css_destroy",
        args: &[Arg::Any],
        since: (6, 7),
        func: |k, c| iter::end(k, c, SIZE),
    },
];

const SIZE: u64 = 24;

/// `enum bpf_cgroup_iter_order`, as far as this iterator takes it.
const DESCENDANTS_PRE: u64 = 2;
const DESCENDANTS_POST: u64 = 3;
const ANCESTORS_UP: u64 = 4;
const CHILDREN: u64 = 5;

/// Where `struct cgroup_subsys_state` is in `struct cgroup`: at its start, in all kernels so far.
fn offset(kernel: &Kernel) -> u64 {
    let found = || {
        let btf = kernel.types()?;
        let composite = btf.resolve(btf.find(Kind::Struct, "cgroup")?).ok()?.1.as_composite()?;
        composite.members().find(|m| m.name == "self").map(|m| u64::from(m.bit_offset / 8))
    };
    found().unwrap_or(0)
}

/// `bpf_iter_css_new`: `-EINVAL` for another order; the iterator is then empty.
fn new(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [at, css, order, ..] = call.args;
    let order = u64::from(order as u32);
    let valid = (DESCENDANTS_PRE..=CHILDREN).contains(&order);
    let group = kernel.state.cgroups.by_object(css.wrapping_sub(offset(kernel))).map(|c| c.id);
    let start = group.filter(|_| valid).map_or(0, |id| id + 1);
    let _ = call.cx.mem.write(at, &[start, 0, order].map(u64::to_le_bytes).concat());
    iter::begin(kernel, call, "css");
    Ok(Flow::Return(if valid { 0 } else { Errno::EINVAL.ret() }))
}

/// All groups that an order visits.
fn visited(groups: &Cgroups, start: u64, order: u64) -> Vec<u64> {
    let children = |of: u64| {
        let below = groups.iter().filter(move |c| c.parent == of && c.id != of);
        below.map(|c| c.id).collect::<Vec<_>>()
    };
    if order == CHILDREN {
        return children(start);
    }
    if order == ANCESTORS_UP {
        let depth = groups.get(start).map_or(0, |c| c.level);
        return (0..=depth).rev().filter_map(|level| groups.ancestor(start, level)).collect();
    }
    // Either way round with a stack: pre-order forwards; post-order is pre-order with the children reversed, backwards.
    let (mut out, mut todo) = (Vec::new(), vec![start]);
    while let Some(id) = todo.pop() {
        out.push(id);
        let mut below = children(id);
        if order == DESCENDANTS_PRE {
            below.reverse();
        }
        todo.append(&mut below);
    }
    if order == DESCENDANTS_POST {
        out.reverse();
    }
    out
}

/// `bpf_iter_css_next`: the next group's state, or null at the end, after which it begins anew.
fn next(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    iter::require(kernel, call)?;
    let at = call.args[0];
    let [start, last, order] = [0, 8, 16].map(|offset| word(call.cx.mem, at + offset));
    let Some(start) = start.checked_sub(1) else { return Ok(Flow::Return(0)) };
    let all = visited(&kernel.state.cgroups, start, order);
    let next = match last.checked_sub(1) {
        None => all.first(),
        Some(last) => all.iter().position(|id| *id == last).and_then(|i| all.get(i + 1)),
    };
    let next = next.copied();
    let _ = call.cx.mem.poke(at + 8, &next.map_or(0, |id| id + 1).to_le_bytes());
    let object = match next {
        Some(id) => kernel.cgroup_object(call.cx.mem, id)?.map_or(0, |addr| addr + offset(kernel)),
        None => 0,
    };
    Ok(Flow::Return(object))
}

#[cfg(test)]
mod tests {
    use super::{ANCESTORS_UP, CHILDREN, DESCENDANTS_POST, DESCENDANTS_PRE, visited};
    use crate::state::Cgroups;

    #[test]
    fn groups_come_in_the_order_asked_for() {
        let mut groups = Cgroups::default();
        let [a, b, ab, ac] = ["/a", "/b", "/a/b", "/a/c"].map(|p| groups.make(p));
        let table = [
            (1, DESCENDANTS_PRE, vec![1, a, ab, ac, b]),
            (1, DESCENDANTS_POST, vec![ab, ac, a, b, 1]),
            (a, DESCENDANTS_PRE, vec![a, ab, ac]),
            (ac, ANCESTORS_UP, vec![ac, a, 1]),
            (1, CHILDREN, vec![a, b]),
            (ab, CHILDREN, vec![]),
        ];
        for (start, order, expected) in table {
            assert_eq!(visited(&groups, start, order), expected, "order {order} from {start}");
        }
    }
}
