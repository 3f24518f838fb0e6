//! Programs in real virtual machines.

mod support;

use std::env;
use std::fs;

use bpf_kernel_tests::vm::{self, Link, VmError};
use serial_test::serial;
use support::{machine, sh, tool};

#[test]
#[serial(vm)]
fn a_program_runs_as_root_with_its_arguments_environment_folder_and_results() {
    let Some((qemu, machine)) = machine() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("input"), "brought along\n").expect("a file");
    let script = r#"
        echo "$GREETING from $PWD"; read line < input; echo "$line"; echo problem >&2
        echo result > "$BPF_VM_RESULTS/file"; echo changed > input
        while read _ at kind _; do case $kind in tracefs|debugfs|bpf|cgroup2|devtmpfs) echo "$kind $at";; esac
        done < /proc/mounts
        ulimit -l; exit 42"#;
    let ran = sh(&qemu, &machine, script, |job| {
        job.env.insert("GREETING".into(), "hello".into());
        job.cwd = dir.path().to_path_buf();
        job.bring = vec!["input".into()];
        job.results = Some(dir.path().join("results"));
    });
    let report = ran.result.expect("it ran");
    assert_eq!(report.status, 42);
    assert_eq!(ran.stderr, "problem\n");
    let mut lines: Vec<_> = ran.stdout.lines().collect();
    lines.sort_unstable();
    let greeting = format!("hello from {}", dir.path().display());
    assert_eq!(
        lines,
        [
            "bpf /sys/fs/bpf",
            "brought along",
            "cgroup2 /sys/fs/cgroup",
            "debugfs /sys/kernel/debug",
            "devtmpfs /dev",
            greeting.as_str(),
            "tracefs /sys/kernel/tracing",
            "unlimited",
        ]
    );
    assert_eq!(fs::read_to_string(dir.path().join("results/file")).expect("a result"), "result\n");
    // The guest wrote into a copy.
    assert_eq!(fs::read_to_string(dir.path().join("input")).expect("the input"), "brought along\n");
}

#[test]
#[serial(vm)]
fn the_serial_line_carries_the_same_where_there_is_no_driver() {
    let Some((qemu, mut machine)) = machine() else { return };
    machine.link = Link::Serial;
    machine.modules.clear();
    let ran = sh(&qemu, &machine, "printf '\\000\\r\\n\\003\\021é'; kill -TERM $$", |_| {});
    assert_eq!(ran.result.expect("it ran").status, 128 + 15);
    assert_eq!(ran.stdout, "\0\r\n\u{3}\u{11}é");
}

#[test]
#[serial(vm)]
fn machines_of_one_snapshot_differ_in_random_numbers_and_know_the_time() {
    let Some((qemu, mut machine)) = machine() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    machine.snapshots = Some(dir.path().to_path_buf());
    let script = "read uuid < /proc/sys/kernel/random/uuid; echo $uuid; exec date +%s";
    let mut seen = Vec::new();
    for _ in 0..3 {
        let ran = sh(&qemu, &machine, script, |job| job.bring = vec!["/bin/date".into()]);
        let report = ran.result.expect("it ran");
        assert_eq!((report.status, report.notes), (0, Vec::new()), "{}", ran.stderr);
        let (uuid, seconds) = ran.stdout.trim().split_once('\n').expect("two lines");
        let now = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs();
        let seconds: u64 = seconds.parse().expect("a number");
        assert!(now.abs_diff(seconds) < 30, "{now} {seconds}");
        seen.push(uuid.to_owned());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
    // Without KVM there was one boot; with it, no snapshot is made.
    let made = fs::read_dir(dir.path()).expect("the folder").count();
    assert_eq!(made, usize::from(machine.accel == vm::Accel::Tcg));
}

#[test]
#[serial(vm)]
fn a_snapshot_that_does_not_restore_costs_a_boot_and_is_removed() {
    let Some((qemu, mut machine)) = machine() else { return };
    if machine.accel != vm::Accel::Tcg {
        eprintln!("skipped: no snapshots under KVM");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    machine.snapshots = Some(dir.path().to_path_buf());
    sh(&qemu, &machine, "exit 0", |_| {}).result.expect("it ran and made a snapshot");
    let snapshot = fs::read_dir(dir.path()).expect("the folder").flatten().next().expect("a snapshot").path();
    fs::write(snapshot.join("state"), "damaged").expect("the damage");
    let report = sh(&qemu, &machine, "exit 9", |_| {}).result.expect("it booted");
    assert_eq!(report.status, 9);
    assert!(report.notes.iter().any(|note| note.contains("snapshot")), "{:?}", report.notes);
    assert!(!snapshot.exists());
}

#[test]
#[serial(vm)]
fn a_crash_of_the_kernel_comes_with_its_trace() {
    let Some((qemu, machine)) = machine() else { return };
    let ran = sh(&qemu, &machine, "echo before; echo c > /proc/sysrq-trigger", |_| {});
    let error = ran.result.expect_err("the kernel crashed");
    let VmError::Panic { reason, trace } = &error else { panic!("{error}") };
    assert!(reason.contains("sysrq triggered crash"), "{reason}");
    assert!(trace.contains("sysrq_handle_crash"), "{trace}");
}

#[test]
#[serial(vm)]
fn a_program_that_eats_all_memory_is_named() {
    let Some((qemu, machine)) = machine() else { return };
    let ran = sh(&qemu, &machine, "exec tail /dev/zero", |job| job.bring = vec!["/usr/bin/tail".into()]);
    let error = ran.result.expect_err("no memory is left");
    let VmError::OutOfMemory { victim, .. } = &error else { panic!("{error}") };
    assert!(victim.contains("tail"), "{victim}");
}

#[test]
#[serial(vm)]
fn files_that_do_not_fit_are_out_of_memory_too() {
    let Some((qemu, mut machine)) = machine() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    machine.memory_mib = Some(192);
    // A boot holds them twice for a while, a restored guest once.
    for (size, snapshots) in [(80 << 20, None), (190 << 20, machine.snapshots.clone())] {
        let file = fs::File::create(dir.path().join("large")).expect("a file");
        file.set_len(size).expect("a large file");
        machine.snapshots = snapshots;
        let ran = sh(&qemu, &machine, "echo fits", |job| job.bring = vec![dir.path().join("large")]);
        let error = ran.result.expect_err("it does not fit");
        assert!(matches!(error, VmError::OutOfMemory { memory_mib: 192, .. }), "{error}");
    }
}

#[test]
#[serial(vm)]
fn the_tool_is_a_cargo_runner() {
    let run = |args: &[&str]| {
        let mut command = tool()?;
        command.arg("--").arg(env::current_exe().expect("this test's path")).args(args);
        Some(command.output().expect("the tool starts"))
    };
    // This very binary runs in the guest, where a filter chooses the one test that is made for it.
    let wanted = ["--exact", "this_test_runs_on_the_host_and_in_a_guest", "--nocapture"];
    let Some(finished) = run(&wanted) else { return };
    let text = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.status.success(), "{text}{}", String::from_utf8_lossy(&finished.stderr));
    assert!(text.contains("1 passed") && text.contains("tier=Ok(\"kernel\")"), "{text}");
    let Some(refused) = run(&["--no-such-flag"]) else { return };
    assert_eq!(refused.status.code(), Some(101), "{}", String::from_utf8_lossy(&refused.stderr));
}

/// Also run by the test above, in a guest.
#[test]
fn this_test_runs_on_the_host_and_in_a_guest() {
    println!("tier={:?}", env::var("BPF_HARNESS_TIER"));
    assert!(std::process::id() > 1);
    // Files beside the sources are there too.
    let manifest = format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    assert!(fs::read_to_string(manifest).expect("a file of the package").contains("bpf-kernel-tests"));
}

#[test]
#[serial(vm)]
fn large_files_are_kept_in_a_snapshot_until_they_change() {
    let Some((qemu, mut machine)) = machine() else { return };
    if machine.accel != vm::Accel::Tcg {
        eprintln!("skipped: no snapshots under KVM");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    machine.snapshots = Some(dir.path().join("snapshots"));
    let large = dir.path().join("large");
    for (content, snapshots) in [("first", 2), ("first", 2), ("second", 2)] {
        let mut bytes = vec![b'x'; 12 << 20];
        bytes.extend(content.bytes());
        if fs::read(&large).ok().as_ref() != Some(&bytes) {
            fs::write(&large, &bytes).expect("a large file");
        }
        let script = format!("exec tail -c 6 {}", large.display());
        let ran = sh(&qemu, &machine, &script, |job| job.bring = vec![large.clone(), "/usr/bin/tail".into()]);
        let report = ran.result.expect("it ran");
        assert!(ran.stdout.ends_with(content), "{}", ran.stdout);
        assert_eq!((report.status, report.notes), (0, Vec::new()));
        // One of the machine that was booted, one with the files as they are now.
        let made = fs::read_dir(machine.snapshots.as_ref().expect("set above")).expect("the folder").count();
        assert_eq!(made, snapshots);
    }
}
