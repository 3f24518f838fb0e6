//! What control groups see of what sockets send and receive: the same on both tiers.

use bpf_harness::Bpf;
use bpf_harness::stimulus::{Action, Stimulus};
use serial_test::serial;

const UDP: u8 = 17;
const FLAGS: [(u8, &str); 5] = [(1, "FIN"), (2, "SYN"), (4, "RST"), (8, "PSH"), (16, "ACK")];

/// A machine with the programs of control groups; they are of one object, whose other programs are no matter.
fn attached() -> Bpf {
    let programs = ["passage_cgroup_egress", "passage_cgroup_ingress"];
    let mut builder = Bpf::builder().object(bpf_fixtures::object("passages").unwrap());
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
    let (device, from, whom) = (word(1), word(2), word(3));
    format!("{way} device {device} from {from} for {whom}: {addresses} {what} to {to}, {length} bytes")
}

fn seen(action: &dyn Action) -> String {
    let mut bpf = attached();
    let done = bpf.stimulate(action).unwrap();
    let port = done.value("port").unwrap() as u16;
    let records = bpf.take_records("passages").unwrap();
    records.iter().map(|r| line(r, port)).collect::<Vec<_>>().join("\n")
}

#[test]
#[serial]
fn a_datagram_passes_control_groups_on_its_way_out_and_in() {
    insta::assert_snapshot!(seen(&Stimulus::udp()), @"");
    insta::assert_snapshot!(seen(&Stimulus::udp6()), @"");
}

#[test]
#[serial]
fn x_tcp() {
    eprintln!("{}", seen(&Stimulus::tcp()));
    eprintln!("{}", seen(&Stimulus::tcp6()));
    eprintln!("{}", seen(&Stimulus::tcp().refused()));
}
