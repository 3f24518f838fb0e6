//! A packet program: frames in, verdicts and counts out.
//!
//! `cargo run -p bpf-harness --example packet_program`. The program is `count` in `fixtures/progs/packets.bpf.c`: XDP that
//! counts IPv4 packets by protocol and drops ICMP.

use std::error::Error;

use bpf_harness::Bpf;

const XDP_DROP: u64 = 1;
const XDP_PASS: u64 = 2;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let object = bpf_fixtures::object("packets").ok_or("the fixture is there")?;
    let mut bpf = Bpf::load(object)?;
    bpf.attach("count")?;

    for (what, packet, verdict) in [
        ("ping", ipv4(1), XDP_DROP),
        ("tcp", ipv4(6), XDP_PASS),
        ("tcp", ipv4(6), XDP_PASS),
        // Too short for its headers: the bounds check has to let it pass, and an access beyond it would be a fault.
        ("runt", vec![0; 20], XDP_PASS),
    ] {
        let fired = bpf.xdp(packet).fire()?;
        println!("{what}: {:?}", fired.ret());
        assert_eq!(fired.ret(), Some(verdict), "{what}");
    }

    // A per-CPU map has a value for each CPU; `sum` adds them up, as user space would.
    let protocols = bpf.table("protocols")?;
    let counts: Vec<_> = protocols.items().iter().map(|e| (e.key.as_u64(), e.value.sum())).collect();
    assert_eq!(counts, [(Some(1), Some(1)), (Some(6), Some(2))]);
    Ok(())
}

/// An Ethernet frame with an IPv4 header and 26 bytes of payload.
fn ipv4(protocol: u8) -> Vec<u8> {
    let ethernet = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &0x0800u16.to_be_bytes()].concat();
    let ip = [0x45, 0, 0, 46, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    [ethernet, ip.to_vec(), vec![0; 26]].concat()
}
