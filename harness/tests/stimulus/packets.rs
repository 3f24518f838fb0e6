//! What packets come by, what programs are given there, and what their verdicts do: the same on both tiers.

use bpf_harness::Bpf;
use bpf_harness::stimulus::Stimulus;
use serial_test::serial;

/// The programs in the order of `enum place`.
const PLACES: [&str; 6] = ["egress", "xdp", "socket", "ingress", "cgroup_egress", "cgroup_ingress"];
const XDP_DROP: u32 = 1;
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_STOLEN: u32 = 4;

/// A machine with the programs at these places, where there is a pair of devices: a kernel without has nothing to show.
fn attached(places: &[&str]) -> Option<Bpf> {
    let mut builder = Bpf::builder().object(bpf_fixtures::object("passages").unwrap());
    for place in places {
        builder = builder.only(format!("passage_{place}"));
    }
    let mut bpf = builder.load().unwrap();
    if bpf.network().unwrap().is_loopback() {
        eprintln!("skipped: this kernel has no veth");
        return None;
    }
    for place in places {
        bpf.attach(&format!("passage_{place}")).unwrap();
    }
    Some(bpf)
}

/// A frame of an experimental protocol.
fn frame(to: [u8; 6]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend([2, 0, 0, 0, 0, 0x77, 0x88, 0xb5, 1, 2, 3, 4]);
    frame.resize(64, 7);
    frame
}

/// What was told, a line each.
fn told(bpf: &mut Bpf) -> Vec<String> {
    bpf.take_records("passages")
        .unwrap()
        .iter()
        .map(|record| {
            let word = |i: usize| u32::from_le_bytes(record[4 * i..4 * i + 4].try_into().unwrap());
            let head: Vec<String> = record[32..48].iter().map(|b| format!("{b:02x}")).collect();
            format!(
                "{:8} device {} from {} for {} protocol {:04x} length {} on wire {} mark {}: {}",
                PLACES[word(0) as usize],
                word(1),
                word(2),
                word(3),
                word(4).to_be() >> 16,
                word(5),
                word(6),
                word(7),
                head.join(" ")
            )
        })
        .collect()
}

#[test]
#[serial]
fn a_packet_is_sent_by_one_device_and_received_by_the_other() {
    let Some(mut bpf) = attached(&PLACES[..4]) else { return };
    let net = bpf.network().unwrap();
    let mut lines = Vec::new();
    for to in [net.receiver.address, net.sender.address, [0xff; 6]] {
        let done = bpf.stimulate(&Stimulus::packet(frame(to))).unwrap();
        assert_eq!(done.ret, 1);
        lines.extend(told(&mut bpf));
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    egress   device 17 from 0 for 0 protocol 88b5 length 64 on wire 64 mark 7: 02 00 00 00 00 10 02 00 00 00 00 77 88 b5 01 02
    xdp      device 16 from 0 for 0 protocol 0000 length 64 on wire 0 mark 0: 02 00 00 00 00 10 02 00 00 00 00 77 88 b5 01 02
    socket   device 16 from 16 for 0 protocol 88b5 length 64 on wire 0 mark 7: 02 00 00 00 00 10 02 00 00 00 00 77 88 b5 01 02
    ingress  device 16 from 16 for 0 protocol 88b5 length 64 on wire 50 mark 7: 02 00 00 00 00 10 02 00 00 00 00 77 88 b5 01 02
    egress   device 17 from 0 for 0 protocol 88b5 length 64 on wire 64 mark 7: 02 00 00 00 00 11 02 00 00 00 00 77 88 b5 01 02
    xdp      device 16 from 0 for 0 protocol 0000 length 64 on wire 0 mark 0: 02 00 00 00 00 11 02 00 00 00 00 77 88 b5 01 02
    socket   device 16 from 16 for 3 protocol 88b5 length 64 on wire 0 mark 7: 02 00 00 00 00 11 02 00 00 00 00 77 88 b5 01 02
    ingress  device 16 from 16 for 3 protocol 88b5 length 64 on wire 50 mark 7: 02 00 00 00 00 11 02 00 00 00 00 77 88 b5 01 02
    egress   device 17 from 0 for 0 protocol 88b5 length 64 on wire 64 mark 7: ff ff ff ff ff ff 02 00 00 00 00 77 88 b5 01 02
    xdp      device 16 from 0 for 0 protocol 0000 length 64 on wire 0 mark 0: ff ff ff ff ff ff 02 00 00 00 00 77 88 b5 01 02
    socket   device 16 from 16 for 1 protocol 88b5 length 64 on wire 0 mark 7: ff ff ff ff ff ff 02 00 00 00 00 77 88 b5 01 02
    ingress  device 16 from 16 for 1 protocol 88b5 length 64 on wire 50 mark 7: ff ff ff ff ff ff 02 00 00 00 00 77 88 b5 01 02
    ");
}

/// What keeps a packet, what it answers, and how many places the packet has come by then.
#[test]
#[serial]
fn a_packet_goes_no_further_than_it_is_let() {
    for (place, verdict, seen) in
        [(0, TC_ACT_SHOT, 1), (1, XDP_DROP, 2), (3, TC_ACT_SHOT, 4), (3, TC_ACT_STOLEN, 4)]
    {
        let Some(mut bpf) = attached(&PLACES[..4]) else { return };
        bpf.map("verdicts").unwrap().set(place, verdict + 1).unwrap();
        let done = bpf.stimulate(&Stimulus::packet(frame([0xff; 6]))).unwrap();
        assert_eq!(done.ret, 0, "{} answers {verdict}", PLACES[place as usize]);
        assert_eq!(told(&mut bpf).len(), seen, "{} answers {verdict}", PLACES[place as usize]);
    }
}

/// Both ends of the range of lengths that a device takes.
#[test]
#[serial]
fn a_device_takes_frames_of_its_mtu() {
    let Some(mut bpf) = attached(&["xdp"]) else { return };
    let net = bpf.network().unwrap();
    let longest = net.sender.mtu as usize + 14;
    for (len, fits) in [(13, false), (14, true), (longest, true), (longest + 1, false)] {
        let mut frame = frame(net.receiver.address);
        frame.resize(len, 0);
        let sent = bpf.stimulate(&Stimulus::packet(frame));
        assert_eq!(sent.is_ok(), fits, "{len}: {sent:?}");
    }
}
