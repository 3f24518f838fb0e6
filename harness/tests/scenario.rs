//! Scenarios and the command line, as users of other languages see them.

use std::path::{Path, PathBuf};
use std::process::Command;

use bpf_harness::scenario::{ScenarioError, play};
use bpf_harness::{Bpf, BpfBuilder};
use bpf_vm_shim::object::Object;

const SCENARIO: &str = r#"
[kernel]
version = "6.12"
cpus = 2

[[task]]
pid = 42
comm = "cat"

[globals]
target_tgid = 42

[[event]]
probe = "kprobe/vfs_read"
task = 42
args = [0x1000, 0, 512]

[[event]]
probe = "kretprobe/vfs_read"
task = 42
after = 15000
ret = 512

[output]
tables = ["start", "sizes"]
log2 = [{ map = "latency", type = "usecs" }]
globals = ["target_tgid"]
"#;

fn object() -> Object {
    Object::parse_named("vfsreadlat", bpf_fixtures::object("vfsreadlat").expect("a fixture"))
        .expect("an object")
}

fn try_play(text: &str) -> Result<String, ScenarioError> {
    let played = play(Path::new("s.toml"), text, object(), Bpf::builder())?;
    assert!(played.runs.iter().all(|r| r.diagnostic.is_none()), "no program faults");
    Ok(played.output.to_string())
}

#[test]
fn a_scenario_prints_tables_and_histograms() {
    insta::assert_snapshot!(try_play(SCENARIO).unwrap(), @r#"
    start:
    sizes:
      {"comm":"cat","slot":10}: 1
    latency:
         usecs               : count     distribution
             0 -> 1          : 0        |                                        |
             2 -> 3          : 0        |                                        |
             4 -> 7          : 0        |                                        |
             8 -> 15         : 1        |****************************************|
    target_tgid = 42
    "#);
}

#[test]
fn what_the_caller_chooses_wins_over_the_scenario() {
    let cpus = |builder: BpfBuilder| {
        play(Path::new("s.toml"), SCENARIO, object(), builder).unwrap().bpf.machine().kernel.profile.cpus
    };
    assert_eq!(cpus(Bpf::builder()), 2);
    assert_eq!(cpus(Bpf::builder().cpus(6)), 6);
}

#[track_caller]
fn check_error(from: &str, to: &str, line: usize, message: &str) {
    let text = SCENARIO.replacen(from, to, 1);
    let error = try_play(&text).expect_err("the scenario is wrong");
    assert_eq!(error.place.map(|(line, _)| line), Some(line), "{error}");
    assert!(error.message.contains(message), "{error}");
}

#[test]
fn errors_point_at_the_line() {
    check_error("\"6.12\"", "\"six\"", 3, "no kernel version");
    check_error("cpus = 2", "cpus = 0", 4, "1 to 8192 CPUs");
    check_error("pid = 42", "pid = \"x\"", 7, "u32");
    check_error("target_tgid = 42", "target = 42", 11, "there are: target_tgid");
    check_error("kprobe/vfs_read", "kprobe/vfs_write", 14, "nothing is attached to kprobe/vfs_write");
    check_error("kprobe/vfs_read", "kprobes/vfs_read", 14, "no kind of probe point");
    check_error("task = 42", "task = 43", 15, "there is no task 43");
    check_error("task = 42", "cpu = 2", 15, "there is no CPU 2: there are 2");
    check_error("task = 42", "repeat = 4294967295", 13, "more than 1000000 events");
    check_error("0x1000, 0", "\"$nothing\", 0", 16, "nothing is called 'nothing'");
    check_error("\"start\", ", "\"strat\", ", 25, "there is no map 'strat'");
}

fn cli(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bpf-harness")).args(args).output().expect("the tool runs");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).expect("text"))
}

fn fixture(folder: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/objects").join(folder).join(name)
}

#[test]
fn run_prints_one_object_per_program() {
    let (status, out) =
        cli(&["run", "--format", "json", fixture("fail", "null_deref.o").to_str().expect("UTF-8")]);
    assert_eq!(status, 1);
    for line in out.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["outcome"], "fault");
        assert_eq!(line["fault"]["id"], "null-deref");
        assert!(line["fault"]["source"].as_str().is_some_and(|s| s.contains("null_deref.bpf.c:")), "{line}");
        assert_eq!(line["matches"], serde_json::Value::Null);
    }
}

#[test]
fn exactly_the_field_of_the_outcome_is_filled() {
    for (folder, name) in [("progs", "packets.o"), ("fail", "null_deref.o"), ("progs", "no such object")] {
        let (_, out) = cli(&["run", "--format", "json", fixture(folder, name).to_str().expect("UTF-8")]);
        assert!(!out.is_empty());
        for line in out.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let filled = [
                ("returned", "retval"),
                ("fault", "fault"),
                ("unsupported", "unsupported"),
                ("error", "error"),
            ];
            for (outcome, field) in filled {
                assert_eq!(line["outcome"] == outcome, !line[field].is_null(), "{line}");
            }
        }
    }
}

#[test]
fn types_of_the_kernel_come_from_an_elf_file_too() {
    let object = fixture("progs", "vfsreadlat.o");
    let object = object.to_str().expect("UTF-8");
    let (status, out) = cli(&["run", "--format", "json", object, "--btf", object]);
    assert_eq!(status, 0, "{out}");
}

#[test]
fn inspect_says_what_is_in_an_object() {
    let path = fixture("progs", "vfsreadlat.o");
    let (status, out) = cli(&["inspect", "--format", "json", path.to_str().expect("UTF-8")]);
    let line: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((status, &line["ok"], &line["license"]), (0, &true.into(), &"GPL".into()));
    assert_eq!(line["programs"][0]["type"], "kprobe");
    assert_eq!(line["programs"][0]["supported"], true);
    assert_eq!(line["maps"][0]["name"], "start");
}

#[test]
fn what_is_no_object_is_an_error_and_not_a_panic() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), b"\x7fELF, but not really").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let (status, out) = cli(&["inspect", "--format", "json", path]);
    assert!(status == 1 && out.contains("\"ok\":false"), "{out}");
    let (status, out) = cli(&["run", "--format", "json", path]);
    assert!(status == 2 && out.contains("\"outcome\":\"error\""), "{out}");
}

#[test]
fn helpers_lists_what_is_known() {
    let (status, out) = cli(&["helpers", "--format", "json"]);
    assert_eq!(status, 0);
    assert!(out.lines().count() > 211, "every helper of the kernel has a line");
    assert!(out.contains(r#""name":"bpf_map_lookup_elem","supported":true"#));
}

#[test]
fn maps_have_elements_and_variables_the_actors_numbers_from_the_start() {
    let text = r#"
[globals]
target_tgid = "$actor.tgid"

[maps]
start = [{ key = 7, value = 70 }, { key = "$actor.pid", value = 1 }]

[output]
tables = ["start"]
globals = ["target_tgid"]
"#;
    insta::assert_snapshot!(try_play(text).expect("right"), @r"
    start:
      7: 70
      1000: 1
    target_tgid = 1000
    ");
    for (wrong, why, line) in [
        ("[maps]\nstart = [{ key = 1 }]", "missing field `value`", 2),
        ("[maps]\nstart = [\n  { key = 1, value = \"x\" },\n]", "", 3),
        ("[maps]\nnone = [{ key = 1, value = 1 }]", "none", 2),
        ("[maps]\nstart = [{ key = \"$actor.comm\", value = 1 }]", "'$actor.comm' is no number", 2),
        ("[maps]\nstart = [{ value = 1 }]", "", 2),
    ] {
        let error = try_play(wrong).unwrap_err();
        assert!(error.message.contains(why), "{wrong}: {error}");
        assert_eq!(error.place.map(|p| p.0), Some(line), "{wrong}: {error}");
    }
}

#[test]
fn what_is_shown_at_the_end_is_redacted_too() {
    let text = r#"
redact = ["pids", { member = "target_tgid", text = "[target]" }, { path = ".key", kind = "task" }]

[globals]
target_tgid = 9

[maps]
start = [{ key = 7, value = 70 }]

[output]
tables = ["start"]
globals = ["target_tgid"]
"#;
    insta::assert_snapshot!(try_play(text).expect("right"), @r#"
    start:
      "[task 1]": 70
    target_tgid = "[target]"
    "#);
}
