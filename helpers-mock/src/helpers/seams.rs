//! What output helpers and dynptrs need to know of packets, in one place.

use bpf_vm_shim::env::Cx;
use bpf_vm_shim::object::ProgType;

use crate::kernel::Kernel;

/// The packet behind a context: the address of its first byte and its length, as the context's `data` and `data_end`
/// fields say. `None` if this type of program gets no packet.
pub(crate) fn packet(kernel: &Kernel, cx: &mut Cx<'_>, ctx: u64) -> Option<(u64, u64)> {
    let at = match kernel.run()?.prog.prog_type {
        // struct xdp_md: data, data_end.
        ProgType::Xdp => 0,
        ProgType::SocketFilter
        | ProgType::SchedCls
        | ProgType::SchedAct
        | ProgType::CgroupSkb
        | ProgType::LwtIn
        | ProgType::LwtOut
        | ProgType::LwtXmit
        | ProgType::LwtSeg6local
        | ProgType::SkSkb => 76,
        // The buffer itself, which stands for a context.
        _ => return packet_of(cx, kernel.skb_context(ctx)? + 76),
    };
    packet_of(cx, ctx + at)
}

/// Where the packet lies whose `data` and `data_end` are at an address.
fn packet_of(cx: &mut Cx<'_>, at: u64) -> Option<(u64, u64)> {
    let mut ends = [0; 8];
    cx.mem.peek(at, &mut ends).ok()?;
    let both = u64::from_le_bytes(ends);
    let (data, end) = (both & 0xffff_ffff, both >> 32);
    (data != 0 && end >= data).then_some((data, end - data))
}

/// Whether this type of program may write to the packet (`may_access_direct_pkt_data`).
pub(crate) fn may_write_packet(kernel: &Kernel) -> bool {
    let prog_type = kernel.run().map(|run| run.prog.prog_type);
    let writers = [ProgType::Xdp, ProgType::SchedCls, ProgType::SchedAct, ProgType::LwtXmit, ProgType::SkSkb];
    prog_type.is_some_and(|t| writers.contains(&t))
}

/// The first `len` bytes of the packet that a context stands for; `None` if it has fewer.
pub(crate) fn packet_bytes(kernel: &mut Kernel, cx: &mut Cx<'_>, ctx: u64, len: u64) -> Option<Vec<u8>> {
    let (data, size) = packet(kernel, cx, ctx)?;
    let mut bytes = vec![0; usize::try_from(len.min(size)).ok()?];
    cx.mem.peek(data, &mut bytes).ok()?;
    (len <= size).then_some(bytes)
}
