//! Packet programs.

use bpf_harness::{Bpf, Input};

use crate::object;

/// A frame of 64 bytes: IPv4 of a protocol, or something else.
fn frame(ether_type: u16, protocol: u8) -> Vec<u8> {
    let mut out = vec![0; 64];
    out[12..14].copy_from_slice(&ether_type.to_be_bytes());
    out[14] = 0x45;
    out[17] = 46;
    out[23] = protocol;
    out
}

#[test]
fn protocols_are_counted_and_icmp_is_dropped() {
    const XDP_DROP: i32 = 1;
    const XDP_PASS: i32 = 2;
    let mut bpf = Bpf::load(object("packets")).unwrap();
    for (packet, verdict) in [
        (frame(0x0800, 6), XDP_PASS),
        (frame(0x0800, 1), XDP_DROP),
        (frame(0x0800, 6), XDP_PASS),
        (frame(0x86dd, 6), XDP_PASS),
        (vec![0; 20], XDP_PASS),
    ] {
        assert_eq!(bpf.run("count", Input::packet(packet)).unwrap().ret32().unwrap(), verdict);
    }
    let counts: Vec<_> =
        bpf.table("protocols").unwrap().items().iter().map(|e| (e.key.as_u64(), e.value.sum())).collect();
    assert_eq!(counts, [(Some(1), Some(1)), (Some(6), Some(2))]);
}

/// The results are those of a real kernel.
#[test]
fn a_filter_with_legacy_loads_keeps_what_it_wants() {
    let mut bpf = Bpf::load(object("packets")).unwrap();
    let mut empty = frame(0x0800, 17);
    empty[17] = 0;
    for (packet, kept) in [(frame(0x0800, 17), 50), (frame(0x0800, 1), 0), (frame(0x86dd, 17), 0), (empty, 0)]
    {
        assert_eq!(bpf.run("filter", Input::packet(packet)).unwrap().ret32().unwrap(), kept);
    }
}

#[test]
fn a_classifier_drops_icmp() {
    let mut bpf = Bpf::load(object("packets")).unwrap();
    for (protocol, verdict) in [(6, 0), (1, 2)] {
        assert_eq!(
            bpf.run("classify", Input::packet(frame(0x0800, protocol))).unwrap().ret32().unwrap(),
            verdict
        );
    }
}
