//! What packet helpers share: the packet behind a context, and moves that may run out of memory.

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{FaultKind, Trap, Unsupported, UnsupportedKind};
use bpf_vm_shim::mem::{MemError, Memory};
use bpf_vm_shim::object::ProgType;

use super::desc::Call;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::state::{Packet, PacketKind};

/// The packet of the context that is argument 1.
pub(super) fn of(kernel: &mut Kernel, ctx: u64, kind: PacketKind) -> Result<&mut Packet, Trap> {
    let gap = || match kernel.run() {
        Some(run) => format!("packet of a program of type {}", run.prog.prog_type),
        None => "packet".to_owned(),
    };
    let gap = gap();
    match kernel.state.packets.by_ctx(ctx) {
        Some(packet) if packet.kind() == kind => Ok(packet),
        _ => Err(Unsupported::new(UnsupportedKind::Feature, gap).into()),
    }
}

/// Whether programs of a type have a context of their own kind that is no packet: no `*_func_proto` of these gives a helper
/// for packets (`bpf_tracing_func_proto`, `bpf_lsm_func_proto`, `syscall_prog_func_proto` and those on top of them).
pub(crate) const fn never_has_packets(prog_type: ProgType) -> bool {
    prog_type.is_tracing() || matches!(prog_type, ProgType::Tracing | ProgType::Lsm | ProgType::Syscall)
}

/// The packet of a helper's first argument, in a program that may call the helper.
fn of_call<'k>(
    kernel: &'k mut Kernel,
    call: &Call<'_, '_>,
    kind: PacketKind,
) -> Result<&'k mut Packet, Trap> {
    if let Some(prog_type) = kernel.run().map(|run| run.prog.prog_type).filter(|t| never_has_packets(*t)) {
        let why = format!("programs of type {prog_type} cannot use this helper: they have no packet");
        return Err(FaultKind::NotAllowed { callee: call.name.to_owned(), why }.into());
    }
    of(kernel, call.args[0], kind)
}

/// The packet of an XDP program.
pub(super) fn xdp<'k>(kernel: &'k mut Kernel, call: &Call<'_, '_>) -> Result<&'k mut Packet, Trap> {
    of_call(kernel, call, PacketKind::Xdp)
}

/// The packet of a socket buffer.
pub(super) fn skb<'k>(kernel: &'k mut Kernel, call: &Call<'_, '_>) -> Result<&'k mut Packet, Trap> {
    of_call(kernel, call, PacketKind::Skb)
}

/// Returns an error number.
pub(super) fn fail(errno: Errno) -> CallResult {
    Ok(Flow::Return(errno.ret()))
}

/// Returns 0 after a change of the packet, `-ENOMEM` if there was no memory for it.
pub(super) fn done(result: Result<(), MemError>) -> CallResult {
    match result {
        Ok(()) => Ok(Flow::Return(0)),
        Err(_) => fail(Errno::ENOMEM),
    }
}

/// A 32-bit field of a context, whether the program may read it or not.
pub(super) fn field(mem: &mut Memory, ctx: u64, at: u64) -> u32 {
    let mut out = [0; 4];
    // Contexts of packets are whole structures.
    let _ = mem.peek(ctx + at, &mut out);
    u32::from_le_bytes(out)
}

/// Sets a 32-bit field of a context.
pub(super) fn set_field(mem: &mut Memory, ctx: u64, at: u64, v: u32) {
    let _ = mem.poke(ctx + at, &v.to_le_bytes());
}

/// Fields of `struct __sk_buff` that helpers use.
pub(super) mod skb_field {
    pub(in crate::helpers) const PKT_TYPE: u64 = 4;
    pub(in crate::helpers) const PROTOCOL: u64 = 16;
    pub(in crate::helpers) const VLAN_PRESENT: u64 = 20;
    pub(in crate::helpers) const VLAN_TCI: u64 = 24;
    pub(in crate::helpers) const VLAN_PROTO: u64 = 28;
    pub(in crate::helpers) const HASH: u64 = 68;
}
