//! The flow dissector (`bpf_flow_dissect` in `net/core/flow_dissector.c`).

use bpf_vm_shim::mem::{Alloc, Area, Perm, RegionKind};
use bpf_vm_shim::object::ProgType;

use super::error::ContextError;
use super::net;
use crate::machine::Machine;
use crate::run::RunInput;

/// Size of `struct bpf_flow_keys`.
const FLOW_KEYS: u32 = 56;
/// `flow_keys` of `struct __sk_buff`.
const FLOW_KEYS_PTR: usize = 144;
/// Size of an Ethernet header.
const ETH_HLEN: u16 = 14;

/// A context with a packet and, behind `flow_keys`, keys that say where its network header begins.
///
/// # Errors
/// As for a packet of another program.
pub fn flow_dissector_input(machine: &mut Machine, packet: &[u8]) -> Result<RunInput, ContextError> {
    let mut input = net::packet(machine, ProgType::SchedCls, packet)?;
    let alloc = Alloc::new(Area::Context, RegionKind::Other, FLOW_KEYS, "struct bpf_flow_keys");
    let keys = machine.mem.alloc(alloc)?;
    input.scratch.push(keys);
    let mut bytes = [0; FLOW_KEYS as usize];
    bytes[..2].copy_from_slice(&ETH_HLEN.to_le_bytes());
    bytes[2..4].copy_from_slice(&ETH_HLEN.to_le_bytes());
    // n_proto, in network order as it lies in the packet.
    if let Some(proto) = packet.get(12..14) {
        bytes[10..12].copy_from_slice(proto);
    }
    // Both were just allocated: they are inside.
    let _ = machine.mem.poke(keys, &bytes);
    let pointer = input.args[0].wrapping_add(FLOW_KEYS_PTR as u64);
    let _ = machine.mem.poke(pointer, &keys.to_le_bytes());
    machine.mem.protect(pointer, 8, Perm::ReadOnly);
    Ok(input)
}

/// What a program has found out, by its context; nothing for programs without keys.
pub(super) fn keys(machine: &mut Machine, ctx: &[u8]) -> Vec<u8> {
    let pointer = ctx.get(FLOW_KEYS_PTR..).and_then(|b| b.first_chunk::<8>());
    let mut bytes = vec![0; FLOW_KEYS as usize];
    match pointer.map(|b| u64::from_le_bytes(*b)) {
        Some(addr) if machine.mem.peek(addr, &mut bytes).is_ok() => bytes,
        _ => Vec::new(),
    }
}
