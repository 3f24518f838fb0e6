//! The programs of `fixtures/progs`, driven by events; what they leave in their maps is a snapshot.

mod packets;
mod timers;
mod tracing;
mod values;

#[path = "../../examples/vfsreadlat.rs"]
#[allow(dead_code, reason = "an example's main function is of no use here")]
mod vfsreadlat;

/// A fixture's object.
fn object(name: &str) -> Vec<u8> {
    bpf_fixtures::object(name).expect("a fixture of this name").to_vec()
}

#[test]
fn the_main_job_prints_histograms() {
    insta::assert_snapshot!(vfsreadlat::report(object("vfsreadlat")).unwrap());
}
