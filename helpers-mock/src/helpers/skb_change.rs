//! Changing the shape of socket buffers: head and tail room, VLAN tags, address families (`net/core/filter.c`,
//! `net/core/skbuff.c`). Every one of them invalidates pointers into the packet.

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::mem::{MemError, Memory};

use super::desc::{Arg, Call, HelperDesc};
use super::packet::{done, fail, field, set_field, skb, skb_field};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::state::{ETH_HLEN, Packet, SKB_MAX_LEN};

const fn row(
    id: u32,
    name: &'static str,
    args: &'static [Arg],
    since: (u8, u8),
    func: super::HelperFn,
) -> HelperDesc {
    HelperDesc { id, name, args, since, gpl_only: false, func, resume: None }
}

pub(super) static TABLE: &[HelperDesc] = &[
    row(18, "bpf_skb_vlan_push", &[Arg::Ctx, Arg::Any, Arg::Any], (4, 3), vlan_push),
    row(19, "bpf_skb_vlan_pop", &[Arg::Ctx], (4, 3), vlan_pop),
    row(31, "bpf_skb_change_proto", &[Arg::Ctx, Arg::Any, Arg::Any], (4, 8), change_proto),
    row(38, "bpf_skb_change_tail", &[Arg::Ctx, Arg::Any, Arg::Any], (4, 9), change_tail),
    row(43, "bpf_skb_change_head", &[Arg::Ctx, Arg::Any, Arg::Any], (4, 10), change_head),
    row(50, "bpf_skb_adjust_room", &[Arg::Ctx, Arg::Any, Arg::Any, Arg::Any], (4, 13), adjust_room),
];

/// A 16-bit number in network order, as `protocol` and `vlan_proto` hold it.
const fn net16(v: u16) -> u16 {
    u16::from_ne_bytes(v.to_be_bytes())
}

const IPV4: u16 = net16(0x0800);
const IPV6: u16 = net16(0x86dd);
const VLAN_Q: u16 = net16(0x8100);
const VLAN_AD: u16 = net16(0x88a8);
/// Length of a VLAN tag, and where it goes.
const VLAN_HLEN: usize = 4;
const VLAN_AT: usize = 12;

const fn is_vlan(protocol: u16) -> bool {
    matches!(protocol, VLAN_Q | VLAN_AD)
}

/// `bpf_skb_change_tail`: at least the headers in front of the network layer stay.
fn change_tail(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let (len, flags) = (call.args[1] as u32 as usize, call.args[2]);
    let packet = skb(kernel, call)?;
    let min = packet.net.saturating_sub(packet.data());
    if flags != 0 || len > SKB_MAX_LEN || len < min {
        packet.moved(call.cx.mem).ok();
        return fail(Errno::EINVAL);
    }
    let meta = packet.meta_len() as i64;
    done(packet.resize(call.cx.mem, -meta, 0, len))
}

/// `bpf_skb_change_head`: zeroed room in front.
fn change_head(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let (room, flags) = (call.args[1] as u32 as usize, call.args[2]);
    let packet = skb(kernel, call)?;
    if flags != 0 || packet.len() + room > SKB_MAX_LEN {
        packet.moved(call.cx.mem).ok();
        return fail(Errno::EINVAL);
    }
    let result = packet.insert(call.cx.mem, 0, &vec![0; room]);
    packet.mac = packet.data();
    done(result)
}

/// Room between the link layer's header and what follows (`bpf_skb_net_hdr_push`).
fn net_push(packet: &mut Packet, mem: &mut Memory, at: usize, n: usize) -> Result<(), MemError> {
    packet.insert(mem, at, &vec![0; n])?;
    packet.net = packet.net.saturating_sub(n);
    Ok(())
}

/// Takes bytes out behind the link layer's header (`bpf_skb_net_hdr_pop`).
fn net_pop(packet: &mut Packet, mem: &mut Memory, at: usize, n: usize) -> Result<(), MemError> {
    packet.remove(mem, at, n)?;
    packet.net += n;
    Ok(())
}

/// `bpf_skb_change_proto`: IPv4 to IPv6 or back, 20 bytes more or less after the Ethernet header. The headers
/// themselves are the program's business.
fn change_proto(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    const DIFF: usize = 20;
    let [ctx, to, flags, ..] = call.args;
    let from = field(call.cx.mem, ctx, skb_field::PROTOCOL) as u16;
    let packet = skb(kernel, call)?;
    let result = match (from, to as u16) {
        _ if flags != 0 => {
            packet.moved(call.cx.mem).ok();
            return fail(Errno::EINVAL);
        }
        (IPV4, IPV6) => net_push(packet, call.cx.mem, ETH_HLEN, DIFF),
        (IPV6, IPV4) if packet.len() >= ETH_HLEN + DIFF => net_pop(packet, call.cx.mem, ETH_HLEN, DIFF),
        _ => {
            packet.moved(call.cx.mem).ok();
            return fail(Errno::ENOTSUPP);
        }
    };
    if result.is_ok() {
        set_field(call.cx.mem, ctx, skb_field::PROTOCOL, u32::from(to as u16));
        set_field(call.cx.mem, ctx, skb_field::HASH, 0);
    }
    done(result)
}

/// `bpf_skb_adjust_room`: more or less room behind the network (mode 0) or the link layer's (mode 1) header.
fn adjust_room(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    const FIXED_GSO: u64 = 1;
    const NO_CSUM_RESET: u64 = 1 << 5;
    const DECAP_IPV4: u64 = 1 << 7;
    const DECAP_IPV6: u64 = 1 << 8;
    const ENCAP_IPV6: u64 = 1 << 2;
    const KNOWN: u64 = 0x1ff | 0xff << 56;
    let [ctx, diff, mode, flags, _] = call.args;
    let (diff, shrink) = ((diff as i32).unsigned_abs() as usize, (diff as i32) < 0);
    let protocol = field(call.cx.mem, ctx, skb_field::PROTOCOL) as u16;
    let packet = skb(kernel, call)?;
    let decap = flags & (DECAP_IPV4 | DECAP_IPV6);
    let base = match protocol {
        IPV4 => 20,
        IPV6 => 40,
        _ => 0,
    };
    let min = match decap {
        DECAP_IPV4 => 20,
        DECAP_IPV6 => 40,
        _ => base,
    };
    let at = if mode as u32 == 0 { ETH_HLEN + base } else { ETH_HLEN };
    let inner = packet.len().saturating_sub(packet.net.saturating_sub(packet.data()));
    let refused = match () {
        () if flags & !KNOWN != 0 => Some(Errno::EINVAL),
        () if diff > 0xfff => Some(Errno::EFAULT),
        () if base == 0 || mode as u32 > 1 => Some(Errno::ENOTSUPP),
        () if decap != 0 && !shrink || decap == DECAP_IPV4 | DECAP_IPV6 => Some(Errno::EINVAL),
        () if shrink && (diff >= inner || inner - diff < min) => Some(Errno::ENOTSUPP),
        () if !shrink && packet.len() + diff > SKB_MAX_LEN => Some(Errno::ENOTSUPP),
        () if shrink && flags & !(FIXED_GSO | NO_CSUM_RESET | DECAP_IPV4 | DECAP_IPV6) != 0 => {
            Some(Errno::EINVAL)
        }
        () => None,
    };
    if let Some(errno) = refused {
        packet.moved(call.cx.mem).ok();
        return fail(errno);
    }
    let result =
        if shrink { net_pop(packet, call.cx.mem, at, diff) } else { net_push(packet, call.cx.mem, at, diff) };
    let new = match (shrink, decap) {
        (true, DECAP_IPV4) => Some(IPV4),
        (true, DECAP_IPV6) => Some(IPV6),
        (false, _) if flags & ENCAP_IPV6 != 0 => Some(IPV6),
        (false, _) if flags & 2 != 0 => Some(IPV4),
        _ => None,
    };
    if let (Ok(()), Some(protocol)) = (&result, new) {
        set_field(call.cx.mem, ctx, skb_field::PROTOCOL, protocol.into());
    }
    done(result)
}

/// Keeps a tag outside the packet, where network cards put it (`__vlan_hwaccel_put_tag`).
fn put_tag(mem: &mut Memory, ctx: u64, present: bool, proto: u16, tci: u16) {
    set_field(mem, ctx, skb_field::VLAN_PRESENT, present.into());
    set_field(mem, ctx, skb_field::VLAN_PROTO, proto.into());
    set_field(mem, ctx, skb_field::VLAN_TCI, tci.into());
}

/// `bpf_skb_vlan_push`: the tag goes beside the packet; one that is there already goes into it.
fn vlan_push(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [ctx, proto, tci, ..] = call.args;
    let proto = if is_vlan(proto as u16) { proto as u16 } else { VLAN_Q };
    let packet = skb(kernel, call)?;
    let mem = &mut *call.cx.mem;
    if field(mem, ctx, skb_field::VLAN_PRESENT) == 0 {
        let result = packet.moved(mem);
        put_tag(mem, ctx, true, proto, tci as u16);
        return done(result);
    }
    let old_proto = field(mem, ctx, skb_field::VLAN_PROTO) as u16;
    let old_tci = field(mem, ctx, skb_field::VLAN_TCI) as u16;
    let [p0, p1] = old_proto.to_ne_bytes();
    let [t0, t1] = old_tci.to_be_bytes();
    let result = packet.insert(mem, VLAN_AT, &[p0, p1, t0, t1]);
    if result.is_ok() {
        set_field(mem, ctx, skb_field::PROTOCOL, old_proto.into());
        put_tag(mem, ctx, true, proto, tci as u16);
    }
    done(result)
}

/// Takes the tag out of the packet; gives its control information and sets the protocol to what is inside.
fn pop_inline(packet: &mut Packet, mem: &mut Memory, ctx: u64) -> Result<u16, Errno> {
    let tag = packet.read(mem, VLAN_AT as u32, VLAN_HLEN).ok_or(Errno::ENOMEM)?;
    packet.remove(mem, VLAN_AT, VLAN_HLEN).map_err(|_| Errno::ENOMEM)?;
    packet.net = packet.net.max(packet.data() + ETH_HLEN);
    let rest = packet.bytes(mem);
    set_field(mem, ctx, skb_field::PROTOCOL, crate::contexts::protocol(&rest).into());
    match tag[..] {
        [_, _, t0, t1] => Ok(u16::from_be_bytes([t0, t1])),
        _ => Err(Errno::ENOMEM),
    }
}

/// `bpf_skb_vlan_pop`: takes the outermost tag away and puts the next one beside the packet.
fn vlan_pop(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let ctx = call.args[0];
    let packet = skb(kernel, call)?;
    let mem = &mut *call.cx.mem;
    let protocol = |mem: &mut Memory| field(mem, ctx, skb_field::PROTOCOL) as u16;
    if field(mem, ctx, skb_field::VLAN_PRESENT) != 0 {
        put_tag(mem, ctx, false, 0, 0);
    } else if !is_vlan(protocol(mem)) {
        return done(packet.moved(mem));
    } else if let Err(e) = pop_inline(packet, mem, ctx) {
        return fail(e);
    }
    let proto = protocol(mem);
    if !is_vlan(proto) {
        return done(packet.moved(mem));
    }
    match pop_inline(packet, mem, ctx) {
        Ok(tci) => {
            put_tag(mem, ctx, true, proto, tci);
            Ok(Flow::Return(0))
        }
        Err(e) => fail(e),
    }
}
