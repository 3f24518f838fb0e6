//! `bpf-harness diff`, with a script in the place of `bpf-vm`: what it "runs on a kernel" runs on the simulator, as it is
//! or changed. Real kernels are the affair of bpf-kernel-tests.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn object(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/objects").join(format!("{name}.o"))
}

/// Runs `diff` of an object with a `bpf-vm` that runs the command behind `--` and pipes it through something.
fn diff(name: &str, through: &str, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let tool = dir.path().join("bpf-vm");
    let script = format!("#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\n\"$@\" | {through}\n");
    fs::write(&tool, script).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpf-harness"));
    command.arg("diff").arg(object(name)).args(args).arg("--bpf-vm").arg(&tool);
    command.args(["--kernel", "6.12"]).env_remove("BPF_HARNESS_TIER").output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn tiers_that_agree_end_with_status_0() {
    let done = diff("progs/packets", "cat", &[]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(text(&done).contains("3 the same, 0 differ"), "{}", text(&done));
}

#[test]
fn what_differs_is_shown_and_ends_with_status_1_unless_it_is_ignored() {
    // A time that a kernel would not have.
    let through = "sed s/1000000000/1234567890/";
    let done = diff("progs/vfsreadlat", through, &[]);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done));
    insta::assert_snapshot!(text(&done));
    let done = diff("progs/vfsreadlat", through, &["--ignore", "start"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
}

#[test]
fn a_scenario_of_stimuli_is_compared_by_what_it_leaves_and_redacted() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = dir.path().join("reads.toml");
    let stimuli = r#"
redact = [{ path = ".key", text = "[slot]" }]

[globals]
target_tgid = "$actor.tgid"

[[stimulus]]
do = "read_file"
path = "/etc/hostname"

[output]
tables = ["sizes"]
"#;
    fs::write(&scenario, stimuli).unwrap();
    let args = ["--scenario", scenario.to_str().unwrap()];
    let done = diff("progs/vfsreadlat", "cat", &args);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    // How often programs ran is not among what is compared: a kernel does not tell.
    let done = diff("progs/vfsreadlat", r#"sed 's/slot/place/g; s/"runs":\[[^]]*\]/"runs":[]/g'"#, &args);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done));
    assert!(text(&done).contains(r#""[slot]": 1"#), "{}", text(&done));
}

#[test]
fn what_cannot_run_on_a_kernel_is_no_agreement() {
    let through = r#"sed 's/"runs":\[[^]]*\]/"not_run":"a reason","runs":[]/g'"#;
    let done = diff("progs/packets", through, &["--program", "count"]);
    assert_eq!(done.status.code(), Some(3), "{}", text(&done));
    assert!(text(&done).contains("not compared: count: a reason"), "{}", text(&done));
}

#[test]
fn a_run_that_fails_or_says_nothing_is_an_error() {
    for (through, words) in [("false", "the run on the kernel failed"), ("true", "gave no facts")] {
        let done = diff("progs/packets", through, &[]);
        assert_eq!(done.status.code(), Some(2), "{}", text(&done));
        assert!(text(&done).contains(words), "{}", text(&done));
    }
    let done = diff("progs/packets", "cat", &["--program", "nobody"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done).contains("there is no program 'nobody'"), "{}", text(&done));
}
