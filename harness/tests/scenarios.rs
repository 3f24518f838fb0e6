//! The command line's output, byte for byte: the scenarios of the fixtures, and what a fault looks like.

use std::process::Command;

/// Runs `bpf-harness` in the repository's root, as the README does.
fn bpf_harness(args: &[&str]) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let out = Command::new(env!("CARGO_BIN_EXE_bpf-harness")).args(args).current_dir(root).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n--- standard error\n{}--- {}\n", text(&out.stdout), text(&out.stderr), out.status)
}

#[test]
fn scenarios_show_what_they_ask_for() {
    for (name, _) in bpf_fixtures::SCENARIOS {
        let object = format!("fixtures/objects/progs/{name}.o");
        let scenario = format!("fixtures/scenarios/{name}.toml");
        insta::assert_snapshot!(*name, bpf_harness(&["run", &object, "--scenario", &scenario]));
    }
}

#[test]
fn a_fault_is_reported_as_json() {
    let object = "fixtures/objects/fail/out_of_bounds.o";
    insta::assert_snapshot!(bpf_harness(&["run", object, "--program", "past_map_value", "--format", "json"]));
}

#[test]
fn inspection_names_programs_and_maps() {
    let object = "fixtures/objects/progs/vfsreadlat.o";
    insta::assert_snapshot!(bpf_harness(&["inspect", "--format", "json", object]));
}
