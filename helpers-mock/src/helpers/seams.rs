//! What output helpers need to know of the current task and of packets, in one place.

use bpf_vm_shim::env::Cx;

use crate::kernel::Kernel;

/// The thread id of the current task.
pub(crate) fn current_tid(_: &Kernel) -> u32 {
    0
}

/// The thread id of the task behind a `struct task_struct` pointer, if it is one.
pub(crate) fn tid_of(_: &Kernel, _: u64) -> Option<u32> {
    None
}

/// The first `len` bytes of the packet that a context stands for; `None` if it has fewer.
pub(crate) fn packet_bytes(_: &mut Kernel, _: &mut Cx<'_>, _ctx: u64, _len: u64) -> Option<Vec<u8>> {
    None
}
