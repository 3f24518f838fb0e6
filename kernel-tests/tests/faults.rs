//! What goes wrong with a machine is named, soon. `session_tests.rs` has the same with a QEMU that is played by a script,
//! and more of it; here are real machines.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bpf_kernel_tests::vm::{Accel, VmError};
use rustix::process::{Pid, Signal, kill_process};
use serial_test::serial;
use support::{KERNEL, machine, or_skip, sh, tool};

#[test]
#[serial(vm)]
fn a_machine_that_does_not_boot_in_time_shows_how_far_it_came() {
    let Some((qemu, mut machine)) = machine() else { return };
    machine.snapshots = None;
    if machine.accel == Accel::Kvm {
        eprintln!("skipped: under KVM it may well boot in that time");
        return;
    }
    let started = Instant::now();
    let ran = sh(&qemu, &machine, "true", |job| job.boot_timeout = Duration::from_millis(900));
    let error = ran.result.expect_err("nothing boots so fast");
    let VmError::NoBoot { console, .. } = &error else { panic!("{error}") };
    assert!(console.lines().count() > 3, "the second attempt is talkative: {error}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
#[serial(vm)]
fn a_kernel_that_finds_no_init_is_a_crash_with_its_reason() {
    let Some((qemu, mut machine)) = machine() else { return };
    machine.snapshots = None;
    machine.append = vec!["rdinit=/nowhere".into(), "init=/nowhere".into()];
    let error = sh(&qemu, &machine, "true", |_| {}).result.expect_err("it cannot start");
    let VmError::Panic { reason, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("Kernel panic - not syncing"), "{reason}");
}

#[test]
#[serial(vm)]
fn a_program_that_does_not_end_is_a_timeout() {
    let Some((qemu, machine)) = machine() else { return };
    let ran = sh(&qemu, &machine, "echo here; while :; do :; done", |job| {
        job.timeout = Duration::from_secs(2);
    });
    assert!(matches!(ran.result, Err(VmError::Timeout { seconds: 2, .. })), "{:?}", ran.result);
    assert_eq!(ran.stdout, "here\n");
}

#[test]
#[serial(vm)]
fn a_guest_that_powers_off_has_not_finished() {
    let Some((qemu, machine)) = machine() else { return };
    let ran = sh(&qemu, &machine, "echo o > /proc/sysrq-trigger; read nothing", |job| {
        job.timeout = Duration::from_secs(20);
    });
    let error = ran.result.expect_err("there is no exit status");
    assert!(matches!(error, VmError::QemuEnded { .. } | VmError::AgentLost { .. }), "{error}");
}

#[test]
#[serial(vm)]
fn a_flood_of_output_ends_the_machine() {
    let Some((qemu, machine)) = machine() else { return };
    let ran = sh(&qemu, &machine, "while :; do echo 0123456789012345678901234567890123456789; done", |job| {
        job.output_limit = 1 << 20;
    });
    assert!(matches!(ran.result, Err(VmError::Flood { stream: "output", .. })), "{:?}", ran.result);
    assert!(ran.stdout.len() <= 1 << 20);
}

#[test]
#[serial(vm)]
fn a_flood_of_the_console_ends_the_machine() {
    let Some((qemu, machine)) = machine() else { return };
    let ran = sh(&qemu, &machine, "while :; do echo '<1>flood flood flood' > /dev/kmsg; done", |job| {
        job.output_limit = 1 << 16;
    });
    assert!(matches!(ran.result, Err(VmError::Flood { stream: "console", .. })), "{:?}", ran.result);
}

#[test]
#[serial(vm)]
fn the_disk_of_a_guest_is_full_before_its_memory_is() {
    let Some((qemu, machine)) = machine() else { return };
    let script = "cat /dev/zero > /tmp/all; echo $?; echo still here; : > /tmp/all; echo more > /tmp/more";
    let ran = sh(&qemu, &machine, script, |job| job.bring = vec!["/bin/cat".into()]);
    assert_eq!(ran.result.expect("it goes on").status, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "1\nstill here\n");
    assert!(ran.stderr.contains("No space left on device"), "{}", ran.stderr);
}

#[test]
#[serial(vm)]
fn a_qemu_that_is_killed_is_named() {
    let Some(mut command) = tool() else { return };
    let mut child = command
        .args(["--", "sh", "-c", "echo ready; while :; do read x < /dev/null; done"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut ready).expect("it is there");
    for qemu in children(child.id()) {
        kill_process(qemu, Signal::KILL).expect("a signal");
    }
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("QEMU ended before the program did (killed by signal 9)"), "{text}");
    assert_eq!(output.status.code(), Some(125));
}

fn children(parent: u32) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("its children");
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// A program that is root in its guest can take the agent's device away.
#[test]
#[serial(vm)]
fn an_agent_that_loses_its_device_is_named() {
    let Some((qemu, machine)) = machine() else { return };
    let script = "cd /sys/bus/virtio/drivers/virtio_console || exit 3; echo before
        for device in virtio*; do echo $device > unbind; done; while :; do :; done";
    let ran = sh(&qemu, &machine, script, |_| {});
    if matches!(&ran.result, Ok(report) if report.status == 3) {
        eprintln!("skipped: the channel is a serial line here");
        return;
    }
    let error = ran.result.expect_err("nobody hears the program any more");
    assert!(matches!(error, VmError::AgentLost { .. }), "{error}");
    assert_eq!(ran.stdout, "before\n");
    assert_eq!(error.exit_code(), 125);
}

#[test]
#[serial(vm)]
fn a_machine_without_qemu_says_what_to_install() {
    let Some(mut command) = tool() else { return };
    let empty = tempfile::tempdir().expect("a temporary folder");
    let output = command
        .args(["--", "/bin/true"])
        .env("PATH", empty.path())
        .env_remove("BPF_VM_QEMU")
        .stdin(Stdio::null())
        .output()
        .expect("the tool starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("was not found on PATH: install it"), "{text}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0));
    let named = command.env("BPF_VM_QEMU", empty.path().join("none")).output().expect("the tool starts");
    let text = String::from_utf8_lossy(&named.stderr);
    assert!(text.contains("none") && !named.status.success(), "{text}");
}

#[test]
#[serial(vm)]
fn a_tool_that_is_killed_takes_its_machine_along() {
    let Some(mut command) = tool() else { return };
    let mut child = command
        .args(["--", "sh", "-c", "echo ready; while :; do read x < /dev/null; done"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut ready).expect("it is there");
    let machines = children(child.id());
    child.kill().expect("a signal");
    child.wait().expect("it ends");
    let deadline = Instant::now() + Duration::from_secs(20);
    let alive = |pid: &Pid| Path::new(&format!("/proc/{}/exe", pid.as_raw_nonzero())).exists();
    while machines.iter().any(alive) {
        assert!(Instant::now() < deadline, "QEMU is still there");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Also where no agent can notice: at any moment of a start, and in a machine that does not boot.
#[test]
#[serial(vm)]
fn a_tool_that_is_killed_while_its_machine_starts_takes_it_along() {
    let Some(tool) = tool() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (pids, script) = (dir.path().join("pids"), dir.path().join("qemu"));
    let text = format!("#!/bin/sh\necho $$ >> {}\nexec sleep 600\n", pids.display());
    fs::write(&script, text).expect("a script");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let started = || fs::read_to_string(&pids).unwrap_or_default();
    for (round, kind) in ["--cold", "--no-workspace"].iter().cycle().take(8).enumerate() {
        let mut command = Command::new(tool.get_program());
        command.args(tool.get_args()).args([kind, "--", "true"]).env("BPF_VM_QEMU", &script);
        command.env("BPF_VM_ACCEL", "tcg").stdin(Stdio::null()).stderr(Stdio::null());
        let mut child = command.env("TMPDIR", dir.path()).spawn().expect("the tool starts");
        let before = started().lines().count();
        let deadline = Instant::now() + Duration::from_secs(20);
        while started().lines().count() == before && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(round as u64));
        child.kill().expect("a signal");
        child.wait().expect("it ends");
    }
    assert!(started().lines().count() >= 8, "{}", started());
    let deadline = Instant::now() + Duration::from_secs(20);
    let alive = |pid: &str| Path::new(&format!("/proc/{pid}/exe")).exists();
    while started().lines().any(alive) {
        assert!(Instant::now() < deadline, "QEMU is still there");
        thread::sleep(Duration::from_millis(20));
    }
    let left: Vec<_> =
        fs::read_dir(dir.path()).expect("the folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "only what this test made: {left:?}");
}

#[test]
#[serial(vm)]
fn output_that_nobody_reads_does_not_outlive_the_time_limit() {
    let Some(tool) = tool() else { return };
    let args = tool.get_args().map(|arg| if arg == "60" { "3".as_ref() } else { arg });
    let script = "while :; do echo 0123456789012345678901234567890123456789; done";
    let mut child = Command::new(tool.get_program())
        .args(args)
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be asked") {
            break status;
        }
        assert!(Instant::now() < deadline, "it waits for its reader");
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(124));
}

#[test]
#[serial(vm)]
fn a_full_standard_output_is_an_error() {
    let Some(mut command) = tool() else { return };
    let full = fs::File::options().write(true).open("/dev/full").expect("a full device");
    let output =
        command.args(["--", "echo", "x"]).stdin(Stdio::null()).stdout(full).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("write to standard output: No space left on device"), "{text}");
    assert_eq!(output.status.code(), Some(125));
}

/// In a namespace of its own the tool sees a small file system at a folder, where it may mount one.
fn with_small_disk(tool: &Command, folder: &Path, size: &str, args: &[&str]) -> Option<std::process::Output> {
    let script = format!("mount -t tmpfs -o size={size} none \"$0\" && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(folder);
    command.arg(tool.get_program()).args(tool.get_args()).args(args).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("unshare: {error}"));
    let output = or_skip(KERNEL, output)?;
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("unshare:") || text.contains("mount:") {
        eprintln!("skipped: {text}");
        return None;
    }
    Some(output)
}

#[test]
#[serial(vm)]
fn a_full_disk_for_results_is_an_error() {
    let Some(tool) = tool() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = dir.path().to_str().expect("text");
    let script = "head -c 3000000 /dev/zero > $BPF_VM_RESULTS/large";
    let args = ["--ro", "/usr/bin/head", "--results", folder, "--", "sh", "-c", script];
    let Some(output) = with_small_disk(&tool, dir.path(), "1m", &args) else { return };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("write the result") && text.contains("No space left on device"), "{text}");
    assert_eq!(output.status.code(), Some(125));
}

#[test]
#[serial(vm)]
fn a_full_disk_for_snapshots_costs_a_boot() {
    let (Some(tool), Some((_, machine))) = (tool(), machine()) else { return };
    let folder = machine.snapshots.expect("set by the helper");
    fs::create_dir_all(&folder).expect("a folder");
    let Some(output) = with_small_disk(&tool, &folder, "20m", &["--", "echo", "done"]) else { return };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_eq!(output.stdout, b"done\n");
    assert!(text.contains("the snapshot was of no use"), "{text}");
}
