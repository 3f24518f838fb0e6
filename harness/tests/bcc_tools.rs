//! Well-known tools, written in the dialect of bcc's reference guide: what their users would see on the terminal.
//!
//! The committed objects run everywhere; where there is a clang, the texts must give the same.

use std::path::Path;

use bpf_fixtures::{BccTool, bcc_tools};
use bpf_harness::compile::Clang;
use bpf_harness::scenario::{Output, Played, play_with};
use bpf_harness::{Bpf, BpfBuilder};

/// Plays a tool's scenario; whatever a program does wrong fails the test.
#[track_caller]
fn play(tool: &BccTool, builder: BpfBuilder) -> Output {
    played(tool, builder).output
}

#[track_caller]
fn played(tool: &BccTool, builder: BpfBuilder) -> Played {
    let scenario =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(tool.path).with_extension("toml");
    let played = play_with(&scenario, tool.scenario, builder).unwrap_or_else(|e| panic!("{}", e.render()));
    assert!(!played.runs.is_empty(), "{}: nothing has run", tool.name);
    for run in &played.runs {
        run.ret().unwrap_or_else(|e| panic!("{}: {e:?}", tool.name));
    }
    played
}

/// Programs as they are after both passes.
#[test]
fn no_verifier_would_refuse_them() {
    for tool in bcc_tools() {
        let bpf = played(tool, Bpf::builder().bcc_object(tool.object)).bpf;
        for program in bpf.program_names() {
            let refused = bpf.verify(program).err().map(|r| r.to_string());
            assert_eq!(refused, None, "{}: {program}", tool.name);
        }
    }
}

#[test]
fn tools_print_what_their_users_expect() {
    for tool in bcc_tools() {
        insta::assert_snapshot!(tool.name, play(tool, Bpf::builder().bcc_object(tool.object)));
    }
}

#[test]
fn texts_give_what_their_committed_objects_give() {
    if let Err(why) = Clang::find() {
        eprintln!("skipped: {why}");
        return;
    }
    for tool in bcc_tools() {
        let object = play(tool, Bpf::builder().bcc_object(tool.object));
        let text = play(tool, Bpf::builder().text(tool.source));
        assert_eq!(text.to_string(), object.to_string(), "{}", tool.name);
        assert_eq!(serde_json::to_value(&text).ok(), serde_json::to_value(&object).ok(), "{}", tool.name);
    }
}

#[test]
fn every_tool_has_a_scenario_that_prints() {
    for tool in bcc_tools() {
        assert!(tool.scenario.contains("[[print]]"), "{}", tool.name);
        assert!(tool.source.starts_with("// SPDX-License-Identifier: MIT OR Apache-2.0\n"), "{}", tool.name);
    }
}
