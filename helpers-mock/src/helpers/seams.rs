//! What output helpers need to know of packets, in one place.

use bpf_vm_shim::env::Cx;

use crate::kernel::Kernel;

/// The first `len` bytes of the packet that a context stands for; `None` if it has fewer.
pub(crate) fn packet_bytes(_: &mut Kernel, _: &mut Cx<'_>, _ctx: u64, _len: u64) -> Option<Vec<u8>> {
    None
}
