//! Contexts of networking programs: `struct xdp_md` and `struct __sk_buff` over a packet in guest memory.
//!
//! Source: `net/bpf/test_run.c` for what a test run gives a program, the `*_is_valid_access` functions of
//! `net/core/filter.c` for what it may read and write.

use bpf_vm_shim::mem::{Alloc, Area, MemError, Perm, RegionKind};
use bpf_vm_shim::object::ProgType;

use super::error::ContextError;
use super::flow;
use crate::machine::Machine;
use crate::progs::LoadedProg;
use crate::run::RunInput;
use crate::state::{ETH_HLEN, Packet, PacketKind};

/// The packet of a run that was given none.
pub const DEFAULT_PACKET: [u8; 64] = [0; 64];

/// The longest packet.
const MAX_PACKET: usize = 65_535;

/// What an XDP program gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XdpInput {
    /// The packet.
    pub packet: Vec<u8>,
    /// Metadata in front of it.
    pub meta: Vec<u8>,
    /// The interface that received it.
    pub ingress_ifindex: u32,
    /// The receive queue.
    pub rx_queue_index: u32,
    /// The interface it will leave by (device map programs).
    pub egress_ifindex: u32,
}

impl Default for XdpInput {
    /// 64 zero bytes on the loopback device, as a test run.
    fn default() -> Self {
        Self {
            packet: DEFAULT_PACKET.to_vec(),
            meta: Vec::new(),
            ingress_ifindex: 1,
            rx_queue_index: 0,
            egress_ifindex: 0,
        }
    }
}

/// What a program on a socket buffer gets. The packet always begins with its Ethernet header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SkbInput {
    /// The packet.
    pub packet: Vec<u8>,
    /// Metadata in front of it, which an XDP program has left.
    pub meta: Vec<u8>,
    /// How many bytes from the Ethernet header on lie in the linear part; by default all.
    pub linear: Option<usize>,
    /// `skb->pkt_type`; by default from the destination address.
    pub pkt_type: Option<u32>,
    /// `skb->mark`.
    pub mark: u32,
    /// `skb->queue_mapping`.
    pub queue_mapping: u32,
    /// `skb->priority`.
    pub priority: u32,
    /// `skb->tc_index`.
    pub tc_index: u32,
    /// `skb->ingress_ifindex`.
    pub ingress_ifindex: u32,
    /// `skb->ifindex`.
    pub ifindex: u32,
    /// `skb->cb`.
    pub cb: [u32; 5],
    /// `skb->hash`.
    pub hash: u32,
    /// `skb->tstamp`.
    pub tstamp: u64,
    /// `skb->wire_len`.
    pub wire_len: u32,
    /// `skb->gso_segs`.
    pub gso_segs: u32,
    /// `skb->gso_size`.
    pub gso_size: u32,
    /// `skb->hwtstamp`.
    pub hwtstamp: u64,
    /// Whether a socket filter sees the Ethernet header, as it does at a raw packet socket (`packet_rcv`); it does not in a
    /// test run.
    pub link_layer: bool,
}

impl Default for SkbInput {
    /// 64 zero bytes on the loopback device, as a test run.
    fn default() -> Self {
        Self {
            packet: DEFAULT_PACKET.to_vec(),
            meta: Vec::new(),
            linear: None,
            pkt_type: None,
            mark: 0,
            queue_mapping: 0,
            priority: 0,
            tc_index: 0,
            ingress_ifindex: 0,
            ifindex: 1,
            cb: [0; 5],
            hash: 0,
            tstamp: 0,
            wire_len: 0,
            gso_segs: 0,
            gso_size: 0,
            hwtstamp: 0,
            link_layer: false,
        }
    }
}

/// What is left of a packet after a run.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PacketOutput {
    /// Its bytes. Those of programs that run above the Ethernet layer get a zeroed header back, as in a test run; a flow
    /// dissector gives its `struct bpf_flow_keys` instead (`bpf_prog_test_run_flow_dissector`).
    pub packet: Vec<u8>,
    /// Its metadata.
    pub meta: Vec<u8>,
    /// The context structure.
    pub ctx: Vec<u8>,
}

/// Whether programs of this type have a packet.
#[must_use]
pub const fn has_packet(prog_type: ProgType) -> bool {
    matches!(prog_type, ProgType::Xdp) || is_skb(prog_type)
}

const fn is_skb(prog_type: ProgType) -> bool {
    matches!(
        prog_type,
        ProgType::SocketFilter
            | ProgType::SchedCls
            | ProgType::SchedAct
            | ProgType::CgroupSkb
            | ProgType::LwtIn
            | ProgType::LwtOut
            | ProgType::LwtXmit
            | ProgType::LwtSeg6local
            | ProgType::SkSkb
    )
}

/// Whether a program's packet begins with the Ethernet header.
const fn is_l2(prog_type: ProgType) -> bool {
    matches!(prog_type, ProgType::SchedCls | ProgType::SchedAct)
}

/// An input with a packet of 64 zero bytes, for program types that have packets; `None` for the others.
pub(super) fn default_input(
    machine: &mut Machine,
    prog: &LoadedProg,
) -> Result<Option<RunInput>, ContextError> {
    if has_packet(prog.prog_type) {
        packet(machine, prog.prog_type, &DEFAULT_PACKET).map(Some)
    } else {
        Ok(None)
    }
}

/// A context for any program with a packet, all else as in a test run without a context.
///
/// # Errors
/// [`ContextError`].
pub fn packet(machine: &mut Machine, prog_type: ProgType, packet: &[u8]) -> Result<RunInput, ContextError> {
    let packet = packet.to_vec();
    if prog_type == ProgType::Xdp {
        xdp(machine, &XdpInput { packet, ..XdpInput::default() })
    } else {
        skb(machine, prog_type, &SkbInput { packet, ..SkbInput::default() })
    }
}

fn check_len(packet: &[u8]) -> Result<(), ContextError> {
    match packet.len() {
        n if n < ETH_HLEN => Err(ContextError::PacketTooShort(n)),
        n if n > MAX_PACKET => Err(ContextError::TooLarge(n)),
        _ => Ok(()),
    }
}

fn check_meta(meta: &[u8]) -> Result<(), ContextError> {
    match meta.len() {
        n if !n.is_multiple_of(4) || n > 252 => Err(ContextError::PacketMeta(n)),
        _ => Ok(()),
    }
}

/// Size of `struct xdp_md`.
const XDP_MD: u32 = 24;
/// Size of `struct __sk_buff`.
const SK_BUFF: u32 = 192;

/// A context of an XDP program (`bpf_prog_test_run_xdp`).
///
/// # Errors
/// [`ContextError`].
pub fn xdp(machine: &mut Machine, input: &XdpInput) -> Result<RunInput, ContextError> {
    check_len(&input.packet)?;
    check_meta(&input.meta)?;
    let mem = &mut machine.mem;
    let alloc = Alloc::new(Area::Context, RegionKind::Context, XDP_MD, "struct xdp_md");
    let ctx = mem.alloc(alloc.perm(Perm::ReadOnly))?;
    put(mem, ctx, 12, input.ingress_ifindex);
    put(mem, ctx, 16, input.rx_queue_index);
    put(mem, ctx, 20, input.egress_ifindex);
    let packet = Packet::new(mem, PacketKind::Xdp, &input.meta, &input.packet, ctx)?;
    Ok(run_input(machine, ctx, packet))
}

fn run_input(machine: &mut Machine, ctx: u64, packet: Packet) -> RunInput {
    let id = machine.kernel.state.packets.insert(packet);
    RunInput { args: [ctx, 0, 0, 0, 0], packet: Some(id), ..RunInput::default() }
}

fn put(mem: &mut bpf_vm_shim::mem::Memory, ctx: u64, at: u64, v: u32) {
    // The structure has just been allocated with room for all of its fields.
    let _ = mem.poke(ctx + at, &v.to_le_bytes());
}

/// Fields of `struct __sk_buff`: offset and length in bytes.
mod field {
    pub(super) const MARK: (u64, u64) = (8, 4);
    pub(super) const QUEUE_MAPPING: (u64, u64) = (12, 4);
    pub(super) const PRIORITY: (u64, u64) = (32, 4);
    pub(super) const TC_INDEX: (u64, u64) = (44, 4);
    pub(super) const CB: (u64, u64) = (48, 20);
    pub(super) const TC_CLASSID: (u64, u64) = (72, 4);
    pub(super) const DATA_AND_END: (u64, u64) = (76, 8);
    pub(super) const ADDRESSES: (u64, u64) = (88, 52);
    pub(super) const DATA_META: (u64, u64) = (140, 4);
    pub(super) const FLOW_KEYS: (u64, u64) = (144, 8);
    pub(super) const TSTAMP: (u64, u64) = (152, 8);
    pub(super) const WIRE_LEN: (u64, u64) = (160, 4);
    pub(super) const HWTSTAMP: (u64, u64) = (184, 8);
}

/// Fields: offset and length of each.
type Fields = &'static [(u64, u64)];

/// Which fields a program of this type may not read, and which it may write.
fn access(prog_type: ProgType) -> (Fields, Fields) {
    use field::*;
    match prog_type {
        ProgType::SocketFilter => {
            (&[TC_CLASSID, DATA_AND_END, ADDRESSES, DATA_META, FLOW_KEYS, TSTAMP, WIRE_LEN, HWTSTAMP], &[CB])
        }
        ProgType::SchedCls | ProgType::SchedAct => {
            (&[ADDRESSES, FLOW_KEYS], &[MARK, TC_INDEX, PRIORITY, TC_CLASSID, CB, TSTAMP, QUEUE_MAPPING])
        }
        ProgType::CgroupSkb => {
            (&[TC_CLASSID, DATA_META, FLOW_KEYS, WIRE_LEN, HWTSTAMP], &[MARK, PRIORITY, CB, TSTAMP])
        }
        ProgType::SkSkb => {
            (&[TC_CLASSID, DATA_META, FLOW_KEYS, TSTAMP, WIRE_LEN, HWTSTAMP], &[TC_INDEX, PRIORITY])
        }
        _ => (
            &[TC_CLASSID, ADDRESSES, DATA_META, FLOW_KEYS, TSTAMP, WIRE_LEN, HWTSTAMP],
            &[MARK, PRIORITY, CB],
        ),
    }
}

/// A context of a program on a socket buffer (`bpf_prog_test_run_skb`): traffic control programs see the Ethernet
/// header, all others begin behind it.
///
/// # Errors
/// [`ContextError`].
pub fn skb(machine: &mut Machine, prog_type: ProgType, input: &SkbInput) -> Result<RunInput, ContextError> {
    if !is_skb(prog_type) {
        return Err(ContextError::NoPacket(prog_type));
    }
    check_len(&input.packet)?;
    check_meta(&input.meta)?;
    let sk = socket(machine, &input.packet)?;
    let mem = &mut machine.mem;
    let alloc = Alloc::new(Area::Context, RegionKind::Context, SK_BUFF, "struct __sk_buff");
    let ctx = mem.alloc(alloc.perm(Perm::ReadOnly))?;
    let pkt_type = input.pkt_type.unwrap_or_else(|| pkt_type(&input.packet));
    let fields = [
        (4, pkt_type),
        (8, input.mark),
        (12, input.queue_mapping),
        (16, protocol(&input.packet).into()),
        (32, input.priority),
        (36, input.ingress_ifindex),
        (40, input.ifindex),
        (44, input.tc_index),
        (68, input.hash),
        (160, input.wire_len),
        (164, input.gso_segs),
        (176, input.gso_size),
    ];
    for (at, v) in fields {
        put(mem, ctx, at, v);
    }
    for (i, v) in input.cb.iter().enumerate() {
        put(mem, ctx, 48 + 4 * i as u64, *v);
    }
    for (at, v) in [(152, input.tstamp), (168, sk), (184, input.hwtstamp)] {
        put(mem, ctx, at, v as u32);
        put(mem, ctx, at + 4, (v >> 32) as u32);
    }
    let (hidden, writable) = access(prog_type);
    for (at, len) in hidden {
        mem.protect(ctx + at, *len, Perm::None);
    }
    for (at, len) in writable {
        mem.protect(ctx + at, *len, Perm::ReadWrite);
    }
    let mut packet = Packet::new(mem, PacketKind::Skb, &input.meta, &input.packet, ctx)?;
    if let Some(linear) = input.linear {
        packet.fragment(mem, linear)?;
    }
    let shown = input.link_layer && prog_type == ProgType::SocketFilter;
    if !is_l2(prog_type) && !shown {
        packet.pull(mem, ETH_HLEN)?;
    }
    if !matches!(prog_type, ProgType::SchedCls | ProgType::SchedAct | ProgType::LwtXmit | ProgType::SkSkb) {
        packet.make_read_only(mem);
    }
    Ok(run_input(machine, ctx, packet))
}

/// The packet's type by its destination address, seen from the loopback device, whose address is all zeros.
fn pkt_type(packet: &[u8]) -> u32 {
    match packet.get(..6).unwrap_or_default() {
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => 1,
        [first, ..] if first & 1 == 1 => 2,
        dest if dest.iter().all(|b| *b == 0) => 0,
        _ => 3,
    }
}

/// `skb->protocol` as `eth_type_trans` finds it: network order, as a program reads it.
pub(crate) fn protocol(packet: &[u8]) -> u16 {
    let word = |at: usize| match packet.get(at..at + 2) {
        Some([a, b]) => [*a, *b],
        _ => [0, 0],
    };
    let raw = u16::from_ne_bytes(word(12));
    let (raw_802_3, raw_802_2) = (u16::from_ne_bytes([0, 1]), u16::from_ne_bytes([0, 4]));
    match () {
        () if u16::from_be_bytes(word(12)) >= 0x600 => raw,
        () if word(14) == [0xff, 0xff] => raw_802_3,
        () => raw_802_2,
    }
}

/// The socket that a test run gives the buffer, as programs see it (`struct bpf_sock`).
fn socket(machine: &mut Machine, packet: &[u8]) -> Result<u64, MemError> {
    const BPF_SOCK: u32 = 80;
    const TCP_CLOSE: u32 = 7;
    let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, BPF_SOCK, "struct bpf_sock");
    let sk = machine.mem.alloc(alloc.perm(Perm::ReadOnly))?;
    let mut set = |at: u64, bytes: &[u8]| {
        let _ = machine.mem.poke(sk + at, bytes);
    };
    set(72, &TCP_CLOSE.to_le_bytes());
    let header = packet.get(ETH_HLEN..).unwrap_or_default();
    if protocol(packet) == u16::from_ne_bytes([8, 0]) && header.len() >= 20 {
        set(4, &2u32.to_le_bytes());
        set(24, header.get(12..16).unwrap_or_default());
        set(52, header.get(16..20).unwrap_or_default());
    } else if protocol(packet) == u16::from_ne_bytes([0x86, 0xdd]) && header.len() >= 40 {
        set(4, &10u32.to_le_bytes());
        set(28, header.get(8..24).unwrap_or_default());
        set(56, header.get(24..40).unwrap_or_default());
    }
    Ok(sk)
}

/// Takes a run's packet out of the machine and frees what it used. `None` if it is gone already.
pub(crate) fn finish(machine: &mut Machine, prog_type: ProgType, id: u32) -> Option<PacketOutput> {
    let packet = machine.kernel.state.packets.get_mut(id)?;
    let (ctx, pulled) = (packet.ctx(), packet.data() > packet.mac);
    let mut bytes = vec![0; if prog_type == ProgType::Xdp { XDP_MD } else { SK_BUFF } as usize];
    let _ = machine.mem.peek(ctx, &mut bytes);
    let (packet, meta) = machine.kernel.state.packets.remove(&mut machine.mem, id)?;
    if let Some(sk) = bytes.get(168..176).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes) {
        machine.forget_socket(sk);
        let _ = machine.mem.free(sk);
    }
    let packet = match prog_type {
        ProgType::FlowDissector => flow::keys(machine, &bytes),
        ProgType::Xdp | ProgType::SchedCls | ProgType::SchedAct => packet,
        ProgType::SocketFilter if !pulled => packet,
        _ => [&[0; ETH_HLEN][..], &packet].concat(),
    };
    Some(PacketOutput { packet, meta, ctx: bytes })
}
