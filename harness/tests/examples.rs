//! Every example, one for each way in, runs as a test. Their own assertions say what must hold.

use std::error::Error;

#[path = "../examples/bcc_text.rs"]
mod bcc_text;
#[path = "../examples/vfsreadlat.rs"]
#[allow(dead_code, reason = "it reads the arguments of the process")]
mod libbpf_object;
#[path = "../examples/packet_program.rs"]
mod packet_program;
#[cfg(feature = "proptest")]
#[path = "../examples/property_test.rs"]
mod property_test;
#[path = "../examples/scenario_file.rs"]
mod scenario_file;
#[path = "../examples/snapshot_test.rs"]
mod snapshot_test;

type Result = std::result::Result<(), Box<dyn Error>>;

#[test]
fn a_libbpf_object_prints_histograms() -> Result {
    let object = bpf_fixtures::object("vfsreadlat").ok_or("the fixture is there")?;
    let report = libbpf_object::report(object.to_vec())?;
    assert!(report.starts_with("Time in vfs_read():\n     usecs"), "{report}");
    Ok(())
}

#[test]
fn bcc_text_is_compiled_and_polled() -> Result {
    bcc_text::main()
}

#[test]
fn a_packet_program_gives_verdicts() -> Result {
    packet_program::main()
}

#[test]
fn a_scenario_file_is_played() -> Result {
    scenario_file::main()
}

#[cfg(feature = "proptest")]
#[test]
fn properties_hold_for_any_packet() -> Result {
    property_test::main()
}

#[test]
fn snapshots_are_as_they_were() -> Result {
    snapshot_test::main()
}

/// Whoever adds an example adds its test here.
#[test]
fn no_example_is_left_out() -> Result {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let own = include_str!("examples.rs");
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with(".rs") || own.contains(&format!("\"../examples/{name}\"")), "{name}");
    }
    Ok(())
}
