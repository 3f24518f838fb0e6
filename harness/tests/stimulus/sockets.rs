//! What control groups see of what sockets send and receive: the same on both tiers.

use bpf_harness::stimulus::{Action, Stimulus};
use bpf_harness::{Bpf, BpfBuilder, Tier};
use serial_test::serial;

const UDP: u8 = 17;
const FLAGS: [(u8, &str); 5] = [(1, "FIN"), (2, "SYN"), (4, "RST"), (8, "PSH"), (16, "ACK")];

/// A machine with the programs of control groups.
fn attached(builder: BpfBuilder) -> Bpf {
    let programs = ["passage_cgroup_egress", "passage_cgroup_ingress"];
    let mut builder = builder.object(bpf_fixtures::object("passages").unwrap());
    for program in programs {
        builder = builder.only(program);
    }
    let mut bpf = builder.load().unwrap();
    for program in programs {
        bpf.attach(program).unwrap();
    }
    bpf
}

/// A packet as it was told, without what kernels choose as they like. The port is the one that is sent to.
fn line(record: &[u8], port: u16) -> String {
    let word = |i: usize| u32::from_le_bytes(record[4 * i..4 * i + 4].try_into().unwrap());
    let way = if word(0) == 4 { "out" } else { "in " };
    let ip = &record[32..];
    let four = ip[0] >> 4 == 4;
    let (protocol, header) = if four { (ip[9], 20) } else { (ip[6], 40) };
    let number = |at: usize| u16::from_be_bytes([ip[at], ip[at + 1]]);
    let addresses = if four {
        format!("{:?} > {:?}", &ip[12..16], &ip[16..20])
    } else {
        format!("::{} > ::{}", ip[23], ip[39])
    };
    let to = if number(header + 2) == port { "server" } else { "client" };
    let (what, length) = if protocol == UDP {
        ("UDP".to_owned(), usize::from(number(header + 4)) - 8)
    } else {
        let flags = ip[header + 13];
        let names: Vec<&str> = FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, n)| *n).collect();
        let total = if four { usize::from(number(2)) } else { usize::from(number(4)) + 40 };
        (names.join("+"), total - header - usize::from(ip[header + 12] >> 4) * 4)
    };
    let (device, from, whom, len) = (word(1), word(2), word(3), word(5));
    format!("{way} device {device} from {from} for {whom} {len}: {addresses} {what} to {to}, {length} bytes")
}

fn seen(mut bpf: Bpf, action: &dyn Action) -> Vec<String> {
    let done = bpf.stimulate(action).unwrap();
    let port = done.value("port").unwrap() as u16;
    bpf.take_records("passages").unwrap().iter().map(|r| line(r, port)).collect()
}

/// A machine with the kernel of the tests' snapshots.
fn simulator(major: u8, minor: u8) -> Bpf {
    attached(Bpf::builder().tier(Tier::Simulator).kernel_version(major, minor, 0))
}

#[test]
fn datagrams_and_segments_have_their_headers() {
    let lines = |action: &dyn Action| seen(simulator(6, 12), action).join("\n");
    insta::assert_snapshot!(lines(&Stimulus::udp()), @r"
    out device 1 from 0 for 0 32: [127, 0, 0, 1] > [127, 0, 0, 1] UDP to server, 4 bytes
    in  device 1 from 1 for 0 32: [127, 0, 0, 1] > [127, 0, 0, 1] UDP to server, 4 bytes
    ");
    insta::assert_snapshot!(lines(&Stimulus::udp6()), @r"
    out device 1 from 0 for 0 52: ::1 > ::1 UDP to server, 4 bytes
    in  device 1 from 1 for 0 52: ::1 > ::1 UDP to server, 4 bytes
    ");
    insta::assert_snapshot!(lines(&Stimulus::tcp()), @r"
    out device 1 from 0 for 0 60: [127, 0, 0, 1] > [127, 0, 0, 1] SYN to server, 0 bytes
    in  device 1 from 1 for 0 60: [127, 0, 0, 1] > [127, 0, 0, 1] SYN to server, 0 bytes
    out device 1 from 0 for 0 60: [127, 0, 0, 1] > [127, 0, 0, 1] SYN+ACK to client, 0 bytes
    in  device 1 from 1 for 0 60: [127, 0, 0, 1] > [127, 0, 0, 1] SYN+ACK to client, 0 bytes
    out device 1 from 0 for 0 52: [127, 0, 0, 1] > [127, 0, 0, 1] ACK to server, 0 bytes
    in  device 1 from 1 for 0 52: [127, 0, 0, 1] > [127, 0, 0, 1] ACK to server, 0 bytes
    out device 1 from 0 for 0 56: [127, 0, 0, 1] > [127, 0, 0, 1] PSH+ACK to server, 4 bytes
    in  device 1 from 1 for 0 56: [127, 0, 0, 1] > [127, 0, 0, 1] PSH+ACK to server, 4 bytes
    out device 1 from 0 for 0 52: [127, 0, 0, 1] > [127, 0, 0, 1] ACK to client, 0 bytes
    in  device 1 from 1 for 0 52: [127, 0, 0, 1] > [127, 0, 0, 1] ACK to client, 0 bytes
    out device 1 from 0 for 0 52: [127, 0, 0, 1] > [127, 0, 0, 1] FIN+ACK to server, 0 bytes
    in  device 1 from 1 for 0 52: [127, 0, 0, 1] > [127, 0, 0, 1] FIN+ACK to server, 0 bytes
    out device 1 from 0 for 0 52: [127, 0, 0, 1] > [127, 0, 0, 1] FIN+ACK to client, 0 bytes
    in  device 1 from 1 for 0 52: [127, 0, 0, 1] > [127, 0, 0, 1] FIN+ACK to client, 0 bytes
    out device 1 from 0 for 0 52: [127, 0, 0, 1] > [127, 0, 0, 1] ACK to server, 0 bytes
    in  device 1 from 1 for 0 52: [127, 0, 0, 1] > [127, 0, 0, 1] ACK to server, 0 bytes
    ");
    insta::assert_snapshot!(lines(&Stimulus::tcp().refused()), @r"
    out device 1 from 0 for 0 60: [127, 0, 0, 1] > [127, 0, 0, 1] SYN to server, 0 bytes
    out device 1 from 0 for 0 40: [127, 0, 0, 1] > [127, 0, 0, 1] RST+ACK to client, 0 bytes
    in  device 1 from 1 for 0 40: [127, 0, 0, 1] > [127, 0, 0, 1] RST+ACK to client, 0 bytes
    ");
}

/// Kernels differ in one packet: see the expansion. A busy one may leave packets to a thread of its own, so that both ends
/// close before they hear of each other: then it is done again.
#[test]
#[serial]
fn control_groups_see_what_sockets_send_and_receive() {
    let actions: [(&str, Box<dyn Action>); 7] = [
        ("udp", Box::new(Stimulus::udp())),
        ("udp6", Box::new(Stimulus::udp6())),
        ("udp of 3000 bytes", Box::new(Stimulus::udp().sending(vec![1; 3000]))),
        ("tcp", Box::new(Stimulus::tcp())),
        ("tcp6", Box::new(Stimulus::tcp6())),
        ("tcp of 3000 bytes", Box::new(Stimulus::tcp().sending(vec![1; 3000]))),
        ("refused", Box::new(Stimulus::tcp().refused())),
    ];
    for (name, action) in actions {
        let mut bpf = attached(Bpf::builder());
        let attempts = if bpf.tier() == Tier::Kernel { 5 } else { 1 };
        let version = bpf.machine().kernel.profile.version;
        let expected = seen(simulator((version >> 16) as u8, (version >> 8) as u8), &*action);
        let mut last = seen(bpf, &*action);
        for _ in 1..attempts {
            if last == expected {
                break;
            }
            last = seen(attached(Bpf::builder()), &*action);
        }
        assert_eq!(last, expected, "{name}");
    }
}

/// Which program drops a datagram, what `sendto` says of it, and how many places it has come by.
#[test]
#[serial]
fn a_dropped_datagram_does_not_arrive() {
    for (place, ret, places) in [(4, -1, 1), (5, 4, 2)] {
        let mut bpf = attached(Bpf::builder());
        bpf.map("verdicts").unwrap().set(place, 1).unwrap();
        let done = bpf.stimulate(&Stimulus::udp()).unwrap();
        assert_eq!(done.ret, ret, "place {place}");
        assert_eq!(bpf.take_records("passages").unwrap().len(), places, "place {place}");
    }
}

#[test]
fn a_dropped_segment_is_refused_on_the_simulator() {
    let mut bpf = simulator(6, 12);
    bpf.map("verdicts").unwrap().set(5, 1).unwrap();
    let error = bpf.stimulate(&Stimulus::tcp()).unwrap_err().to_string();
    assert!(error.contains("dropped a segment"), "{error}");
}
