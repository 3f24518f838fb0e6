//! Property tests: any packet, any arguments, and what must hold for all of them. Failing inputs are made small.
//!
//! `cargo run -p bpf-harness --features proptest --example property_test`. In a project of your own this is an ordinary
//! `proptest! { #[test] ... }`, as in the module below.

use std::cell::RefCell;
use std::error::Error;

use bpf_harness::{Bpf, strategies};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// The program `count` of `fixtures/progs/packets.bpf.c`, loaded once: forks are cheap.
fn loaded() -> Result<Bpf, Box<dyn Error>> {
    let object = bpf_fixtures::object("packets").ok_or("the fixture is there")?;
    let mut bpf = Bpf::load(object)?;
    bpf.attach("count")?;
    Ok(bpf)
}

/// What must hold for every packet: no fault, a verdict that XDP knows, and ICMP (only) is dropped.
fn verdict_is_right(bpf: &mut Bpf, packet: &[u8]) -> Result<(), String> {
    let fired = bpf.fork().xdp(packet).fire().map_err(|e| format!("{e:?}"))?;
    let is_ipv4 = packet.len() >= 34 && packet.get(12..14) == Some(&[8, 0][..]);
    let expected = if is_ipv4 && packet.get(23) == Some(&1) { 1 } else { 2 };
    match fired.ret() {
        Some(verdict) if verdict == expected => Ok(()),
        other => Err(format!("verdict {other:?} instead of {expected}")),
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let config = Config { failure_persistence: None, max_shrink_iters: 100_000, ..Config::with_cases(64) };
    let bpf = RefCell::new(loaded()?);
    let holds =
        |packet: Vec<u8>| verdict_is_right(&mut bpf.borrow_mut(), &packet).map_err(TestCaseError::fail);
    TestRunner::new(config.clone()).run(&strategies::packet(), holds).map_err(|e| e.to_string())?;
    println!("64 packets, no fault, every verdict right");

    // What does not hold is shown with a small input: here, that no packet is longer than 60 bytes.
    let short = |packet: Vec<u8>| match packet.len() {
        0..=60 => Ok(()),
        _ => Err(TestCaseError::fail("too long")),
    };
    match TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
        .run(&strategies::packet(), short)
    {
        Err(TestError::Fail(_, packet)) => assert_eq!(packet.len(), 61, "made as small as it gets"),
        other => return Err(format!("this does not hold: {other:?}").into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bpf_harness::strategies;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn no_packet_is_too_strange(packet in strategies::packet()) {
            let mut bpf = super::loaded().expect("the fixture loads");
            prop_assert_eq!(super::verdict_is_right(&mut bpf, &packet), Ok(()));
        }
    }
}
