//! Packets that pass a device: whom that concerns, and what a program is given.

use bpf_helpers_mock::contexts::{self, ContextError, SkbInput, XdpInput};
use bpf_helpers_mock::{LoadedProg, Machine, RunInput};
use bpf_vm_shim::object::{AttachKind, AttachTarget, AttachType, ProgType};

use super::attach::Attachment;
use crate::stimulus::Passage;

/// Length of an Ethernet header.
const ETH_HLEN: usize = 14;

/// Whether a program is for packets on their way out: by its section's attach type, or the word in its name (`tc/egress`).
pub(crate) fn is_egress(target: &AttachTarget) -> bool {
    matches!(target.attach_type, AttachType::TcxEgress | AttachType::CgroupInetEgress)
        || target.extra.contains("egress")
        || target.name() == Some("egress")
}

/// Whether a program runs for a packet that passes so.
pub(super) fn concerns(passage: &Passage, prog: &LoadedProg, attachment: &Attachment) -> bool {
    match attachment.target.kind {
        AttachKind::Tc | AttachKind::Netkit => is_egress(&attachment.target) == passage.egress,
        // Other programs of control groups have no packets.
        AttachKind::Cgroup => {
            prog.prog_type == ProgType::CgroupSkb && is_egress(&attachment.target) == passage.egress
        }
        _ => true,
    }
}

/// The context of a packet that passes so, all else as in a test run.
pub(super) fn input(
    machine: &mut Machine,
    prog_type: ProgType,
    (packet, meta): (&[u8], &[u8]),
    passage: &Passage,
) -> Result<RunInput, ContextError> {
    let (packet, meta) = (packet.to_vec(), meta.to_vec());
    if prog_type == ProgType::Xdp {
        let ingress_ifindex = passage.ifindex;
        return contexts::xdp(machine, &XdpInput { packet, ingress_ifindex, ..XdpInput::default() });
    }
    // Traffic control counts it before it takes the Ethernet header back (`sch_handle_ingress`, `cls_bpf_classify`).
    let header = if passage.egress { 0 } else { ETH_HLEN };
    let input = SkbInput {
        wire_len: u32::try_from(packet.len().saturating_sub(header)).unwrap_or(u32::MAX),
        packet,
        meta,
        pkt_type: Some(passage.pkt_type),
        ifindex: passage.ifindex,
        ingress_ifindex: passage.ingress_ifindex,
        mark: passage.mark,
        queue_mapping: passage.left.queue_mapping,
        priority: passage.left.priority,
        tc_index: passage.left.tc_index,
        cb: passage.left.cb,
        tstamp: passage.left.tstamp,
        // Sockets in the way of a device's packets are raw ones.
        link_layer: true,
        ..SkbInput::default()
    };
    contexts::skb(machine, prog_type, &input)
}
