//! `bpf-vm verify` on real kernels: the newest that is kept, and the oldest; or the ones that BPF_VM_TEST_KERNEL names,
//! separated by commas. Skipped, or failed, as `vm.rs` says.
#![cfg(feature = "kernel")]

mod support;

use std::env;
use std::process::Command;

use bpf_kernel_tests::kernels::{Arch, Kernels};
use serde_json::Value;
use serial_test::serial;
use support::{KERNEL, or_skip, qemu};

/// The kernels to ask, or nothing and the reason on standard error.
fn kernels() -> Option<Vec<String>> {
    or_skip(KERNEL, find())
}

fn find() -> Result<Vec<String>, String> {
    qemu(Arch::of_host())?;
    if let Ok(named) = env::var(KERNEL) {
        return Ok(named.split(',').map(str::to_owned).collect());
    }
    let kept = Kernels::new(Arch::of_host()).map_err(|error| error.to_string())?.kept();
    let mut versions: Vec<_> = kept.iter().map(|image| image.version).collect();
    versions.sort_unstable();
    versions.dedup();
    let ends = [versions.first(), versions.last().filter(|_| versions.len() > 1)];
    let ends: Vec<String> = ends.into_iter().flatten().map(ToString::to_string).collect();
    if ends.is_empty() {
        return Err("no kernel is kept here (bpf-vm kernels fetch 6.12)".to_owned());
    }
    Ok(ends)
}

fn verify(kernels: &[String], args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpf-vm"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/objects")).arg("verify").args(args);
    for kernel in kernels {
        command.args(["--kernel", kernel]);
    }
    let done = command.output().expect("bpf-vm runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code().is_some_and(|code| code < 2), "{said}");
    (done.status.code(), String::from_utf8(done.stdout).expect("text"))
}

/// What matters of a row on every kernel: words differ, places and verdicts do not.
fn essence(row: &Value) -> String {
    let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut essence = format!("{} {} {}", text("object"), text("program"), text("verdict"));
    let id = text("id");
    if !id.is_empty() {
        essence.push_str(&format!(" [{id}]"));
    }
    if let Some(line) = row.pointer("/source/line") {
        let file = row.pointer("/source/file").and_then(Value::as_str).unwrap_or_default();
        essence.push_str(&format!(" {file}:{line}"));
    }
    essence
}

const OBJECTS: [&str; 6] = [
    "bcc/opensnoop.o",
    "fail/invalid_mem_access.o",
    "fail/null_deref.o",
    "fail/unresolved_relocation.o",
    "progs/legacy_maps.o",
    "progs/packets.o",
];

/// What every kernel says of them.
const EXPECTED: &str = "\
bcc/opensnoop.o trace_entry accepted
bcc/opensnoop.o trace_return accepted
fail/invalid_mem_access.o reads_task_directly refused [invalid-mem-access] fixtures/fail/invalid_mem_access.bpf.c:13
fail/invalid_mem_access.o wild_pointer refused [invalid-mem-access] fixtures/fail/invalid_mem_access.bpf.c:22
fail/null_deref.o unchecked_lookup refused [null-deref] fixtures/fail/null_deref.bpf.c:20
fail/null_deref.o unchecked_store refused [null-deref] fixtures/fail/null_deref.bpf.c:29
fail/unresolved_relocation.o reads_absent_type refused [unresolved-relocation] fixtures/fail/unresolved_relocation.bpf.c:22
progs/legacy_maps.o unlinked accepted
progs/packets.o";

#[test]
#[serial(vm)]
fn maps_of_local_storage_keep_their_size_of_none() {
    let Some(kernels) = kernels() else { return };
    let (_, report) = verify(&kernels, &["progs/storages.o", "--format", "json"]);
    for row in report.lines().map(|line| serde_json::from_str::<Value>(line).expect("a row")) {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut version = text("kernel").split('.').map(|n| n.parse().unwrap_or(0)).collect::<Vec<u32>>();
        version.truncate(2);
        if version >= vec![6, 2] {
            assert_eq!(text("verdict"), "accepted", "{row}");
        }
    }
}

#[test]
#[serial(vm)]
fn the_report_is_the_same_every_time_and_names_c_lines_on_every_kernel() {
    let Some(kernels) = kernels() else { return };
    let args = [&OBJECTS[..], &["--format", "json"]].concat();
    let (status, report) = verify(&kernels, &args);
    assert_eq!(status, Some(1), "some are refused");
    let (_, again) = verify(&kernels, &args);
    assert_eq!(report, again, "no times, no addresses");
    let rows: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    let names: std::collections::BTreeSet<&str> =
        rows.iter().filter_map(|row| row.get("kernel")?.as_str()).collect();
    assert_eq!(names.len(), kernels.len());
    for name in names {
        let of_kernel = rows.iter().filter(|row| row.get("kernel").and_then(Value::as_str) == Some(name));
        let said: Vec<String> = of_kernel.map(essence).collect();
        let expected: Vec<&str> = EXPECTED.lines().filter(|line| *line != "progs/packets.o").collect();
        let (known, packets) = said.split_at(expected.len().min(said.len()));
        assert_eq!(known, expected, "on {name}");
        assert!(
            !packets.is_empty() && packets.iter().all(|p| p.ends_with(" accepted")),
            "on {name}: {packets:?}"
        );
    }
    let accepted = rows.iter().filter(|row| row.get("verdict").is_some_and(|v| v == "accepted"));
    for row in accepted {
        for count in
            ["insns_processed", "total_states", "peak_states", "stack_depth", "xlated_bytes", "jited_bytes"]
        {
            assert!(row.get(count).is_some_and(Value::is_u64), "{count}: {row}");
        }
    }
}

#[test]
#[serial(vm)]
fn one_program_is_explained_with_its_path_and_log() {
    let Some(kernels) = kernels() else { return };
    let args = ["fail/null_deref.o", "--program", "unchecked_store", "--explain", "--log"];
    let (status, text) = verify(kernels.get(..1).unwrap_or_default(), &args);
    assert_eq!(status, Some(1));
    for part in [
        "error[null-deref]: R0 invalid mem access",
        "*v = 1; //~ ERROR[null-deref]",
        "call bpf_map_lookup_elem#1",
        "= help: test the pointer for NULL",
        "processed ",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(!text.contains("unchecked_lookup"), "{text}");
}
