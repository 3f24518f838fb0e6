//! What snapshots do where machines, or their hosts, misbehave. QEMU is played by a shell script, as in
//! `session_tests.rs`; besides, it answers on its control socket before it is asked, and its saved state is a word.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::error::VmError;
use super::guest::has_guest;
use super::job::Job;
use super::protocol::FromGuest;
use super::qemu::{Machine, Qemu};
use super::session::{Output, Report};
use super::session_tests::{hello, need_guest, run_true};
use crate::kernels::Arch;

/// `$how` is how the machine starts: cold, save or restore. The scripts of a trial follow.
const QEMU: &str = r#"how=cold
for arg; do case $arg in
    -incoming) how=restore;;
    *mem-path=*) folder=${arg##*mem-path=}; folder=${folder%/ram}; test $how = restore || how=save;;
esac; done
echo $how >> starts
answers() { echo '{"QMP":{}}'; for i in 1 2 3; do echo '{"return":{}}'; done; }
case $how in
    save) echo saved > "$folder/state"; { answers; echo '{"return":{}}'; echo '{"return":{"status":"completed"}}'; } >&8;;
    restore) { answers; echo '{"return":{"status":"paused"}}'; echo '{"return":{}}'; } >&8;;
esac
# Takes its files and the program, which has ended by then.
work() {
    exec 5<&0
    cat <&5 > got.$$ &
    cat hello >&0
    until grep -aq BPF_VM_RESULTS got.$$; do sleep 0.02; done
    cat exit >&0
}
"#;

struct Trial {
    dir: TempDir,
    qemu: Qemu,
    machine: Machine,
}

impl Trial {
    /// What a machine does that was started to be saved, and one that was restored.
    fn new(save: &str, restore: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let program = dir.path().join("qemu");
        let here = dir.path().display();
        let rest = format!("case $how in cold) work;; save) {save};; restore) {restore};; esac");
        fs::write(&program, format!("#!/bin/sh\ncd {here}\n{QEMU}\n{rest}\nexec sleep 60\n"))
            .expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is executable");
        let mut machine = Machine::new(dir.path().join("kernel"));
        fs::write(&machine.kernel, "kernel").expect("a file");
        machine.snapshots = Some(dir.path().join("snapshots"));
        let trial = Self { qemu: Qemu::at(&program).expect("it is there"), dir, machine };
        trial.say("booted", &[hello(), FromGuest::Note(b"odd".to_vec()), FromGuest::Synced]);
        trial.say("hello", &[hello()]);
        trial.say("exit", &[FromGuest::Exit(0), FromGuest::Done]);
        trial
    }

    fn say(&self, name: &str, messages: &[FromGuest]) {
        let mut bytes = Vec::new();
        messages.iter().try_for_each(|message| message.write(&mut bytes)).expect("they can be framed");
        fs::write(self.dir.path().join(name), bytes).expect("a file");
    }

    fn run(&self, change: impl FnOnce(&mut Job)) -> Result<Report, VmError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut output = Output { stdout: &mut stdout, stderr: &mut stderr };
        run_true(&self.qemu, &self.machine, change, &mut output, None)
    }

    /// How machines were started, from the first on.
    fn starts(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("starts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn snapshots(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.machine.snapshots.as_ref().expect("set above"));
        let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        paths.filter(|path| path.join("state").exists()).collect()
    }
}

#[test]
fn what_the_agent_found_odd_is_said_of_every_machine_restored() {
    need_guest!();
    let trial = Trial::new("cat booted >&0", "work");
    for _ in 0..2 {
        assert_eq!(trial.run(|_| {}).expect("it runs").notes, ["odd"]);
    }
    assert_eq!(trial.starts(), ["save", "restore", "restore"]);
}

#[test]
fn a_note_before_the_first_word_is_heard() {
    need_guest!();
    let trial = Trial::new("cat booted >&0", "cat late >&0; work");
    trial.say("late", &[FromGuest::Note(b"late".to_vec())]);
    assert_eq!(trial.run(|_| {}).expect("it runs").notes, ["odd", "late"]);
    assert_eq!(trial.snapshots().len(), 1);
}

#[test]
fn runs_that_start_together_boot_once() {
    need_guest!();
    let trial = Trial::new("sleep 0.3; cat booted >&0", "work");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| trial.run(|_| {}).expect("it runs"));
        }
    });
    let mut starts = trial.starts();
    starts.sort();
    assert_eq!(starts, ["restore", "restore", "restore", "restore", "save"]);
}

#[test]
fn a_folder_with_a_long_name_has_snapshots_like_any_other() {
    need_guest!();
    let mut trial = Trial::new("cat booted >&0", "work");
    trial.machine.snapshots = Some(trial.dir.path().join("x".repeat(200)).join("y".repeat(200)));
    assert_eq!(trial.run(|_| {}).expect("it runs").notes, ["odd"]);
    assert_eq!(trial.starts(), ["save", "restore"]);
}

#[test]
fn a_boot_for_want_of_a_snapshot_is_said_with_its_reason() {
    need_guest!();
    let trial = Trial::new("echo 'qemu: no such option' >&2; exit 1", "work");
    for _ in 0..2 {
        let report = trial.run(|_| {}).expect("it boots");
        let [note] = report.notes.as_slice() else { panic!("{:?}", report.notes) };
        assert!(note.starts_with("booting, because the snapshot was of no use: "), "{note}");
        assert!(note.contains("QEMU ended before the program did (exit status 1)"), "{note}");
    }
    assert_eq!(trial.starts(), ["save", "cold", "cold"], "it is not tried every time");
}

#[test]
fn a_machine_that_somebody_kills_says_nothing_about_what_is_possible() {
    need_guest!();
    let trial = Trial::new("kill -9 $$", "work");
    for _ in 0..2 {
        trial.run(|_| {}).expect("it boots");
    }
    assert_eq!(trial.starts(), ["save", "cold", "save", "cold"]);
}

#[test]
fn only_a_snapshot_that_is_rejected_is_removed() {
    need_guest!();
    // Whether it is there after a run that could not use it.
    for (restore, stays) in
        [("kill -9 $$", true), ("echo 'qemu: unknown section' >&2; exit 1", false), ("cat other >&0", false)]
    {
        let trial = Trial::new("cat booted >&0", restore);
        trial.say("other", &[FromGuest::Hello(0, Vec::new())]);
        let report = trial.run(|_| {}).expect("it boots");
        assert!(!report.notes.is_empty(), "{restore}");
        assert_eq!(trial.snapshots().len(), usize::from(stays), "{restore}");
        assert_eq!(trial.starts(), ["save", "restore", "restore", "cold"], "{restore}");
    }
    // A QEMU that is not there.
    let trial = Trial::new("cat booted >&0", "work");
    trial.run(|_| {}).expect("it runs");
    let folder = trial.machine.snapshots.clone().expect("set above");
    fs::rename(&folder, trial.dir.path().join("kept")).expect("aside");
    fs::write(&folder, "in the way").expect("a file");
    trial.run(|_| {}).expect("it boots");
}

#[test]
fn a_machine_that_reads_no_files_is_left_in_time() {
    need_guest!();
    let trial = Trial::new("cat booted >&0", "cat hello >&0");
    let large = trial.dir.path().join("large");
    fs::write(&large, vec![1; 3 << 20]).expect("a file");
    let started = Instant::now();
    let report = trial.run(|job| {
        job.timeout = Duration::from_secs(2);
        job.bring.push(large);
    });
    let notes = report.expect("it boots instead").notes;
    assert!(notes.iter().any(|note| note.contains("does not read the files that it is sent")), "{notes:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
}
