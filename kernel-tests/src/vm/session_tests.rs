//! What a run makes of a machine that misbehaves. QEMU is played by a shell script here, so these need no QEMU, no kernel
//! and no time: its standard input is the agent's channel, its standard output the console.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::error::VmError;
use super::guest::has_guest;
use super::job::Job;
use super::process::Event;
use super::protocol::{FilePiece, FromGuest, VERSION};
use super::qemu::{Machine, Qemu};
use super::session::{Output, Report, run};
use super::signals::Signals;
use crate::kernels::Arch;

/// A folder with the script, and what the run printed.
struct Trial {
    dir: TempDir,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Trial {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder"), stdout: Vec::new(), stderr: Vec::new() }
    }

    /// A QEMU that does what the script does.
    fn qemu(&self, script: &str) -> Qemu {
        let program = self.dir.path().join("qemu");
        fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}\n", self.dir.path().display()))
            .expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is executable");
        Qemu::at(&program).expect("it is there")
    }

    /// Runs `true` in a machine that does what the script does.
    fn run(&mut self, script: &str, change: impl FnOnce(&mut Job)) -> Result<Report, VmError> {
        let qemu = self.qemu(script);
        let mut output = Output { stdout: &mut self.stdout, stderr: &mut self.stderr };
        run_true(&qemu, &Machine::new("/no/kernel"), change, &mut output, None)
    }

    /// A file that the script can `cat` into the channel.
    fn say(&self, name: &str, messages: &[FromGuest]) {
        let mut bytes = Vec::new();
        for message in messages {
            message.write(&mut bytes).expect("it can be framed");
        }
        fs::write(self.dir.path().join(name), bytes).expect("a file");
    }
}

/// Runs `true`.
pub(super) fn run_true(
    qemu: &Qemu,
    machine: &Machine,
    change: impl FnOnce(&mut Job),
    output: &mut Output<'_>,
    signals: Option<&Signals>,
) -> Result<Report, VmError> {
    let mut job = Job::new("true", []);
    job.workspace = None;
    job.boot_timeout = Duration::from_secs(20);
    job.timeout = Duration::from_secs(20);
    change(&mut job);
    loop {
        match run(qemu, machine, &job, output, signals) {
            // Another test's child had the script open between its fork and its exec.
            Err(VmError::QemuEnded { said, .. }) if said.contains("Text file busy") => {}
            other => return other,
        }
    }
}

pub(super) fn hello() -> FromGuest {
    FromGuest::Hello(VERSION, b"6.12.0-test".to_vec())
}

/// A crate built without its guest can run nothing; that is its own error, tested where it happens.
macro_rules! need_guest {
    () => {
        if !has_guest(Arch::of_host()) {
            eprintln!("skipped: this build has no guest (no static C library)");
            return;
        }
    };
}
pub(super) use need_guest;

#[test]
fn output_results_and_status_come_through() {
    need_guest!();
    let mut trial = Trial::new();
    let result = FilePiece { path: b"a/b".to_vec(), mode: 0o644, offset: 0, data: b"file".to_vec() };
    trial.say(
        "all",
        &[
            hello(),
            FromGuest::Stdout(b"out".to_vec()),
            FromGuest::Stderr(b"err".to_vec()),
            FromGuest::Note(b"odd".to_vec()),
            FromGuest::Exit(7),
            FromGuest::Result(result),
            FromGuest::Done,
        ],
    );
    let results = trial.dir.path().join("results");
    let report = trial
        .run("echo console; cat all >&0; sleep 60", |job| job.results = Some(results.clone()))
        .expect("a complete run");
    assert_eq!((report.status, report.release.as_str()), (7, "6.12.0-test"));
    assert_eq!(report.notes, ["odd"]);
    assert_eq!((trial.stdout.as_slice(), trial.stderr.as_slice()), (&b"out"[..], &b"err"[..]));
    assert_eq!(fs::read(results.join("a/b")).expect("the result"), b"file");
}

#[test]
fn a_machine_that_says_nothing_is_tried_twice_and_then_did_not_boot() {
    need_guest!();
    let mut trial = Trial::new();
    let error = trial
        .run("echo again >> tries; echo 'stuck at line 9'; exec sleep 60", |job| {
            job.boot_timeout = Duration::from_millis(300);
        })
        .expect_err("it never answers");
    let VmError::NoBoot { console, .. } = &error else { panic!("{error}") };
    assert_eq!(console, "stuck at line 9");
    assert_eq!(fs::read_to_string(trial.dir.path().join("tries")).expect("the tries").lines().count(), 2);
}

#[test]
fn a_panic_is_told_from_the_console_though_qemu_ends_with_status_0() {
    need_guest!();
    let mut trial = Trial::new();
    trial.say("hello", &[hello()]);
    let script = "cat hello >&0\necho '[ 1.5] Kernel panic - not syncing: sysrq triggered crash'\n\
                  echo '[ 1.6] Call Trace:'\nexit 0";
    let error = trial.run(script, |_| {}).expect_err("it crashed");
    let VmError::Panic { reason, trace } = &error else { panic!("{error}") };
    assert_eq!(reason, "Kernel panic - not syncing: sysrq triggered crash");
    assert!(trace.ends_with("Call Trace:"), "{trace}");
}

#[test]
fn a_panicked_machine_that_stays_is_not_waited_for() {
    need_guest!();
    let mut trial = Trial::new();
    trial.say("hello", &[hello()]);
    let start = Instant::now();
    let error = trial
        .run("cat hello >&0; echo 'Kernel panic - not syncing: stays'; exec sleep 60", |_| {})
        .expect_err("it crashed");
    assert!(matches!(error, VmError::Panic { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn running_out_of_memory_is_told_apart_from_a_kill() {
    need_guest!();
    let mut trial = Trial::new();
    trial.say("killed", &[hello(), FromGuest::Exit(137), FromGuest::Done]);
    let oom =
        "echo '[ 2.0] Out of memory: Killed process 70 (true)'; sleep 0.1; cat killed >&0; exec sleep 60";
    let error = trial.run(oom, |_| {}).expect_err("no memory");
    assert!(matches!(error, VmError::OutOfMemory { memory_mib: 512, .. }), "{error}");
    let report = trial.run("cat killed >&0; exec sleep 60", |_| {}).expect("an ordinary kill");
    assert_eq!(report.status, 137);
}

#[test]
fn a_program_that_does_not_end_is_a_timeout() {
    need_guest!();
    let mut trial = Trial::new();
    trial.say("hello", &[hello(), FromGuest::Stdout(b"before".to_vec())]);
    let error = trial
        .run("cat hello >&0; exec sleep 60", |job| job.timeout = Duration::from_secs(1))
        .expect_err("it never ends");
    assert!(matches!(error, VmError::Timeout { seconds: 1, .. }), "{error}");
    assert_eq!(trial.stdout, b"before");
}

#[test]
fn a_program_that_is_ended_leaves_its_results() {
    need_guest!();
    let mut trial = Trial::new();
    let result = FilePiece { path: b"why".to_vec(), mode: 0o600, offset: 0, data: b"because".to_vec() };
    trial.say("hello", &[hello()]);
    trial.say("rest", &[FromGuest::Exit(137), FromGuest::Result(result), FromGuest::Done]);
    let results = trial.dir.path().join("results");
    let error = trial
        .run("cat hello >&0; sleep 2; cat rest >&0; exec sleep 60", |job| {
            (job.timeout, job.results) = (Duration::from_secs(1), Some(results.clone()));
        })
        .expect_err("it takes too long");
    assert!(matches!(error, VmError::Timeout { .. }), "{error}");
    assert_eq!(fs::read(results.join("why")).expect("the result"), b"because");
}

#[test]
fn a_killed_qemu_and_one_that_refuses_are_told_with_their_words() {
    need_guest!();
    let mut trial = Trial::new();
    trial.say("hello", &[hello()]);
    let error = trial.run("cat hello >&0; kill -9 $$", |_| {}).expect_err("it was killed");
    let VmError::QemuEnded { status, .. } = &error else { panic!("{error}") };
    assert_eq!(status, "killed by signal 9");
    let error = trial.run("echo 'qemu: no such machine' >&2; exit 1", |_| {}).expect_err("it refused");
    let VmError::QemuEnded { status, said } = &error else { panic!("{error}") };
    assert_eq!((status.as_str(), said.as_str()), ("exit status 1", "qemu: no such machine"));
}

#[test]
fn an_agent_that_is_gone_or_talks_nonsense_is_lost() {
    need_guest!();
    let mut trial = Trial::new();
    trial.say("hello", &[hello()]);
    for script in [
        "cat hello >&0; exec sleep 60 <&-",
        "cat hello >&0; printf '\\377\\0\\0\\0\\0' >&0; exec sleep 60",
        "cat hello hello >&0; exec sleep 60",
        "printf GARBAGE-GARBAGE >&0; exec sleep 60",
    ] {
        let error = trial.run(script, |_| {}).expect_err("the agent is lost");
        assert!(matches!(error, VmError::AgentLost { .. }), "{script}: {error}");
    }
    // An end without the sentinel is no success, whatever came before it.
    trial.say("half", &[hello(), FromGuest::Exit(0)]);
    assert!(trial.run("cat half >&0; exit 0", |_| {}).is_err());
}

#[test]
fn floods_end_the_machine() {
    need_guest!();
    let mut trial = Trial::new();
    trial.say("flood", &[hello(), FromGuest::Stdout(vec![b'x'; 5000])]);
    let limit = |job: &mut Job| job.output_limit = 4000;
    let error = trial.run("cat flood >&0; exec sleep 60", limit).expect_err("too much output");
    assert!(matches!(error, VmError::Flood { stream: "output", limit: 4000 }), "{error}");
    let error = trial.run("exec yes", limit).expect_err("too much on the console");
    assert!(matches!(error, VmError::Flood { stream: "console", limit: 4000 }), "{error}");
}

/// A reader that does not read.
struct Blocked;

impl Write for Blocked {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[test]
fn output_that_nobody_reads_keeps_neither_the_time_limit_nor_signals_waiting() {
    need_guest!();
    let trial = Trial::new();
    trial.say("out", &[hello(), FromGuest::Stdout(vec![b'x'; 50_000])]);
    // More than fits into the queue of events, which is where signals used to wait.
    let qemu = trial.qemu("cat out >&0; while cat out >&0; do :; done; exec sleep 60");
    let mut stderr = Vec::new();
    let mut blocked = |signals: Option<&Signals>, timeout| {
        let mut output = Output { stdout: &mut Blocked, stderr: &mut stderr };
        let machine = Machine::new("/no/kernel");
        run_true(&qemu, &machine, |job| job.timeout = Duration::from_secs(timeout), &mut output, signals)
    };
    let started = Instant::now();
    let error = blocked(None, 1).expect_err("it does not end");
    assert!(matches!(error, VmError::Timeout { seconds: 1, .. }), "{error}");
    let signals = Signals::default();
    let user = signals.clone();
    let user = thread::spawn(move || {
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(300));
            while !user.give(Event::Signal(15)) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    });
    let error = blocked(Some(&signals), 600).expect_err("it was interrupted");
    assert!(matches!(error, VmError::Interrupted { signal: 15 }), "{error}");
    user.join().expect("it gave two signals");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_module_that_was_asked_for_and_does_not_load_is_an_error_and_another_one_is_a_note() {
    need_guest!();
    let mut trial = Trial::new();
    let module = trial.dir.path().join("odd.ko");
    fs::write(&module, "no module").expect("a file");
    let unloaded = FromGuest::Unloaded(b"000-odd.ko".to_vec(), b"Exec format error".to_vec());
    trial.say("all", &[hello(), unloaded, FromGuest::Exit(0), FromGuest::Done]);
    let qemu = trial.qemu("cat all >&0; exec sleep 60");
    let mut machine = Machine::new("/no/kernel");
    machine.modules.push(module.clone());
    let mut output = Output { stdout: &mut trial.stdout, stderr: &mut trial.stderr };
    let report = run_true(&qemu, &machine, |_| {}, &mut output, None).expect("it was not asked for");
    assert_eq!(report.notes, ["load module 000-odd.ko: Exec format error"]);
    machine.asked.push(module);
    let error = run_true(&qemu, &machine, |_| {}, &mut output, None).expect_err("it was asked for");
    assert!(error.to_string().ends_with("/odd.ko: Exec format error"), "{error}");
    assert_eq!(error.exit_code(), 125);
}

#[test]
fn a_program_the_guest_cannot_start_has_the_shells_status() {
    need_guest!();
    let mut trial = Trial::new();
    for (errno, code) in [(2, 127), (13, 126), (8, 126)] {
        trial.say("start", &[hello(), FromGuest::StartFailed(errno, b"why".to_vec()), FromGuest::Done]);
        let error = trial.run("cat start >&0; exec sleep 60", |_| {}).expect_err("it did not start");
        assert_eq!(error.exit_code(), code, "{error}");
    }
}

#[test]
fn a_qemu_that_is_not_there_is_missing() {
    let error = Qemu::at(Path::new("/no/such/qemu")).expect_err("it is not there");
    assert!(matches!(error, VmError::QemuMissing { .. }), "{error}");
}
