//! Maps (`kernel/bpf/map_iter.c`).

use bpf_vm_shim::env::{CallResult, Flow};

use super::KfuncDesc;
use crate::helpers::{Arg, Call, map_arg};
use crate::kernel::Kernel;

pub(super) static TABLE: &[KfuncDesc] =
    &[KfuncDesc { name: "bpf_map_sum_elem_count", args: &[Arg::Map], since: (6, 6), func: sum_elem_count }];

/// `bpf_map_sum_elem_count`: how many elements a hash map has; 0 for types that do not count them.
fn sum_elem_count(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let id = map_arg(kernel, call.args[0])?;
    let count = kernel.maps.get(id).and_then(|m| m.ops.count());
    Ok(Flow::Return(count.unwrap_or(0)))
}
