//! The clock (`kernel/bpf/helpers.c`).

use bpf_vm_shim::env::{CallResult, Flow};

use super::desc::{Call, HelperDesc};
use crate::kernel::Kernel;

pub(super) static TABLE: &[HelperDesc] = &[HelperDesc {
    id: 5,
    name: "bpf_ktime_get_ns",
    args: &[],
    since: (4, 1),
    gpl_only: false,
    func: ktime_get_ns,
    resume: None,
}];

/// `bpf_ktime_get_ns`: monotonic nanoseconds, not counting suspended time.
fn ktime_get_ns(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(kernel.state.clock.read()))
}
