//! A flow dissector's result are its keys, not the packet.

use bpf_harness::{Bpf, Input, Tier};

#[test]
fn a_run_gives_the_flow_keys() {
    let object = bpf_fixtures::object("dissector").unwrap();
    let mut bpf = Bpf::builder().object(object).tier(Tier::from_env().unwrap()).load().unwrap();
    let mut packet = vec![0; 64];
    packet[12..15].copy_from_slice(&[8, 0, 0x45]);
    let report = bpf.run("dissect", Input::default_for_type().with_packet(packet)).unwrap();
    // What it returns was told as yes or no at first.
    report.ret().unwrap();
    let keys = report.packet.unwrap().packet;
    // nhoff, thoff, addr_proto; ip_proto; n_proto as it is in the packet.
    assert_eq!(
        (&keys[..6], keys[9], &keys[10..12], keys.len()),
        (&[14, 0, 34, 0, 0, 8][..], 17, &[8, 0][..], 56)
    );
}
