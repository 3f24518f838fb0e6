//! What is known about a socket buffer besides its bytes: hash, type, socket, class (`net/core/filter.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::mem::Memory;

use super::desc::{Arg, Call, HelperDesc};
use super::packet::{fail, field, set_field, skb, skb_field};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::state::Packet;

const fn row(
    id: u32,
    name: &'static str,
    args: &'static [Arg],
    since: (u8, u8),
    func: super::HelperFn,
) -> HelperDesc {
    HelperDesc { id, name, args, since, gpl_only: false, func, resume: None }
}

const LOOKUP: &[Arg] = &[Arg::Ctx, Arg::Mem, Arg::Size, Arg::Any, Arg::Any];

pub(super) static TABLE: &[HelperDesc] = &[
    row(17, "bpf_get_cgroup_classid", &[Arg::Ctx], (4, 3), zero),
    row(24, "bpf_get_route_realm", &[Arg::Ctx], (4, 4), zero),
    row(32, "bpf_skb_change_type", &[Arg::Ctx, Arg::Any], (4, 8), change_type),
    row(34, "bpf_get_hash_recalc", &[Arg::Ctx], (4, 8), get_hash_recalc),
    row(41, "bpf_set_hash_invalid", &[Arg::Ctx], (4, 9), set_hash_invalid),
    row(46, "bpf_get_socket_cookie", &[Arg::Any], (4, 12), socket_cookie),
    row(47, "bpf_get_socket_uid", &[Arg::Ctx], (4, 12), zero),
    row(48, "bpf_set_hash", &[Arg::Ctx, Arg::Any], (4, 13), set_hash),
    row(84, "bpf_sk_lookup_tcp", LOOKUP, (4, 20), no_socket),
    row(85, "bpf_sk_lookup_udp", LOOKUP, (4, 20), no_socket),
    row(95, "bpf_sk_fullsock", &[Arg::KernelPtr], (5, 1), sk_fullsock),
    row(96, "bpf_tcp_sock", &[Arg::KernelPtr], (5, 1), no_socket),
    row(97, "bpf_skb_ecn_set_ce", &[Arg::Ctx], (5, 1), ecn_set_ce),
    row(98, "bpf_get_listener_sock", &[Arg::KernelPtr], (5, 1), no_socket),
    row(99, "bpf_skc_lookup_tcp", LOOKUP, (5, 2), no_socket),
    row(122, "bpf_get_netns_cookie", &[Arg::Any], (5, 8), netns_cookie),
];

/// A packet of a test belongs to no class, no realm, and to a socket of root.
fn zero(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    skb(kernel, call)?;
    Ok(Flow::Return(0))
}

/// `bpf_skb_change_type`: `PACKET_HOST` to `PACKET_OTHERHOST`.
fn change_type(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    const OTHERHOST: u32 = 3;
    let [ctx, new, ..] = call.args;
    skb(kernel, call)?;
    let old = field(call.cx.mem, ctx, skb_field::PKT_TYPE);
    if old > OTHERHOST || new as u32 > OTHERHOST {
        return fail(Errno::EINVAL);
    }
    set_field(call.cx.mem, ctx, skb_field::PKT_TYPE, new as u32);
    Ok(Flow::Return(0))
}

/// `bpf_set_hash_invalid`.
fn set_hash_invalid(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    skb(kernel, call)?;
    set_field(call.cx.mem, call.args[0], skb_field::HASH, 0);
    Ok(Flow::Return(0))
}

/// `bpf_set_hash`.
fn set_hash(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    skb(kernel, call)?;
    set_field(call.cx.mem, call.args[0], skb_field::HASH, call.args[1] as u32);
    Ok(Flow::Return(0))
}

/// `bpf_get_hash_recalc`: the hash that is set, or one over addresses, protocol and ports. The kernel's key is random at
/// each boot; here the same flow has the same hash on every host, in both directions, as the kernel's has.
fn get_hash_recalc(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let ctx = call.args[0];
    let packet = skb(kernel, call)?;
    let set = field(call.cx.mem, ctx, skb_field::HASH);
    if set != 0 {
        return Ok(Flow::Return(set.into()));
    }
    let hash = flow_hash(packet, call.cx.mem);
    set_field(call.cx.mem, ctx, skb_field::HASH, hash);
    Ok(Flow::Return(hash.into()))
}

fn flow_hash(packet: &mut Packet, mem: &mut Memory) -> u32 {
    let base = packet.net;
    let mut bytes = |offset, len| packet.read_from(mem, base, offset, len).unwrap_or_default();
    let first = bytes(0, 1);
    let (addresses, len, proto_at, header) = match first.first().map(|b| (b >> 4, b & 15)) {
        Some((4, ihl)) => (12, 4, 9, i64::from(ihl) * 4),
        Some((6, _)) => (8, 16, 6, 40),
        _ => (0, 0, 0, 0),
    };
    let (a, b) = (bytes(addresses, len), bytes(addresses + len as i64, len));
    let proto = if len > 0 { bytes(proto_at, 1) } else { Vec::new() };
    let (p, q) = match proto.first() {
        Some(6 | 17) => (bytes(header, 2), bytes(header + 2, 2)),
        _ => (Vec::new(), Vec::new()),
    };
    let (one, two) = ([a, p].concat(), [b, q].concat());
    let (low, high) = if one <= two { (one, two) } else { (two, one) };
    let fnv = |h: u32, byte: &u8| (h ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    [low, high, proto].concat().iter().fold(0x811c_9dc5, fnv).max(1)
}

/// `bpf_get_socket_cookie`: every packet of a test belongs to a socket with the same cookie.
fn socket_cookie(_: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(1))
}

/// `bpf_get_netns_cookie`: there is only the initial network namespace.
fn netns_cookie(_: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(1))
}

/// `bpf_sk_fullsock`: the sockets of packets are full sockets.
fn sk_fullsock(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(call.args[0]))
}

/// The only sockets here are those of packets, which are closed and of no protocol: a lookup finds none, and none is a
/// TCP socket or belongs to a listener.
fn no_socket(_: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(0))
}

/// `bpf_skb_ecn_set_ce`: marks congestion if the packet is ECN capable; 1 if it is marked afterwards.
fn ecn_set_ce(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let ctx = call.args[0];
    let protocol = (field(call.cx.mem, ctx, skb_field::PROTOCOL) as u16).to_ne_bytes();
    let packet = skb(kernel, call)?;
    let at = packet.net.saturating_sub(packet.data()) as u32;
    let header = if protocol == [8, 0] { 20 } else { 40 };
    let mut bytes = match packet.read(call.cx.mem, at, header) {
        Some(bytes) if protocol == [8, 0] || protocol == [0x86, 0xdd] => bytes,
        _ => return Ok(Flow::Return(0)),
    };
    // The two bits lie in byte 1, low in IPv4 and at bit 4 in IPv6.
    let shift = if header == 20 { 0 } else { 4 };
    let Some(byte) = bytes.get_mut(1) else { return Ok(Flow::Return(0)) };
    match *byte >> shift & 3 {
        0 => return Ok(Flow::Return(0)),
        3 => return Ok(Flow::Return(1)),
        ecn => {
            let old = *byte;
            *byte |= 3 << shift;
            if shift == 0 {
                // IP_ECN_set_ce: the checksum follows the change of the header's first word.
                let sum = u16::from_be_bytes([bytes[10], bytes[11]]);
                let changed = u32::from(!sum) + u32::from(!u16::from(old)) + u32::from(old | 3);
                let folded = !((changed & 0xffff) + (changed >> 16)) as u16;
                let _ = ecn;
                bytes[10..12].copy_from_slice(&folded.to_be_bytes());
            }
        }
    }
    packet.write(call.cx.mem, at, &bytes);
    Ok(Flow::Return(1))
}
