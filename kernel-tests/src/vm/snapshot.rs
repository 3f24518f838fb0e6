//! Machines that were booted once and saved when their agent was ready: restoring one takes a tenth of a second. So does
//! restoring one that was saved again with a program's files in its memory.
//!
//! A snapshot is a folder named by a hash of all that it depends on. It is made beside its place and renamed into it, so
//! there is never half of one; two makers at once make it twice. A snapshot that cannot be made leaves a mark, so that
//! the time is not spent again, and one that QEMU or the agent rejects is removed. Both fall back to a boot.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fs4::fs_std::FileExt;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::error::VmError;
use super::process::Process;
use super::protocol::{self, FromGuest};
use super::qemu::{Accel, Link, Machine, Qemu, RAM, Start};
use super::qmp::Qmp;
use super::signals::Signals;
use super::sparse;

/// The file of a snapshot that holds the devices' state.
const STATE: &str = "state";
/// The file of a snapshot with what its agent said of the machine, in frames of the protocol.
const TOLD: &str = "told";
/// How the mark is named that stands beside the place of a snapshot that cannot be made here.
const IMPOSSIBLE: &str = ".impossible-";
/// Snapshots kept, each of 85 MB on disk and more: the most recently used, and no more bytes of them than this or than a
/// quarter of what the disk has for them.
const KEPT: usize = 96;
const KEPT_BYTES: u64 = 8 << 30;
/// How long it is believed that there can be none.
const IMPOSSIBLE_FOR: Duration = Duration::from_secs(3600);
/// Beginnings of names: of what is being made, and of a file that says by whom.
const NEW: &str = ".new-";
const TURN: &str = ".turn-";
/// What is older than this was left behind by a maker that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// The place of this machine's snapshot, or nothing where there can be none: over the serial line files would take
/// minutes, and under KVM a boot is short and restoring is untried.
pub(super) fn place(qemu: &Qemu, machine: &Machine, memory_mib: u64, init: &[u8]) -> Option<PathBuf> {
    let folder = machine.snapshots.as_deref()?;
    if machine.link != Link::Virtio || machine.accel != Accel::Tcg {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(protocol::VERSION.to_le_bytes());
    hash.update(init);
    hash.update(&machine.config);
    hash.update([0]);
    for arg in qemu.arguments(machine, memory_mib, Start::Save { folder: Path::new("") }) {
        hash.update(arg.as_encoded_bytes());
        hash.update([0]);
    }
    for file in
        [qemu.program(), &machine.kernel].into_iter().chain(machine.modules.iter().map(PathBuf::as_path))
    {
        let metadata = fs::metadata(file).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update(metadata.len().to_le_bytes());
        hash.update(modified.as_nanos().to_le_bytes());
    }
    Some(folder.join(hex(&hash.finalize(), 12)))
}

/// The place of the same machine with a program's files, with debug information (`whole`) or not; what decides about
/// them hashes to `identity`.
pub(super) fn with_files(booted: &Path, program: &Path, whole: bool, identity: &str) -> PathBuf {
    let mut name = family(booted, program, whole);
    name.push(identity);
    booted.with_file_name(name)
}

/// What the snapshots of all builds of one program have in common: only the last one is of use.
fn family(booted: &Path, program: &Path, whole: bool) -> OsString {
    let hash =
        Sha256::new_with_prefix([u8::from(whole)]).chain_update(program.as_os_str().as_encoded_bytes());
    let program = hex(&hash.finalize(), 4);
    let mut name = booted.file_name().unwrap_or_default().to_os_string();
    name.push(format!("-{program}-"));
    name
}

/// The first bytes of a hash as text.
pub(super) fn hex(hash: &[u8], bytes: usize) -> String {
    hash.iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

/// Why there can be none here, if that was found out not long ago.
pub(super) fn impossible(place: &Path) -> Option<String> {
    let mark = beside(place, IMPOSSIBLE);
    let modified = fs::metadata(&mark).and_then(|mark| mark.modified()).ok()?;
    if modified.elapsed().unwrap_or_default() >= IMPOSSIBLE_FOR {
        return None;
    }
    Some(fs::read_to_string(&mark).unwrap_or_default())
}

/// Remembers that.
pub(super) fn mark_impossible(place: &Path, why: &str) {
    let _ = fs::write(beside(place, IMPOSSIBLE), why.lines().next().unwrap_or_default());
}

/// The file beside a snapshot whose name begins so.
fn beside(place: &Path, beginning: &str) -> PathBuf {
    let mut name = OsString::from(beginning);
    name.push(place.file_name().unwrap_or_default());
    place.with_file_name(name)
}

/// Notes that it is in use, so that others are removed before it.
pub(super) fn used(place: &Path) {
    let _ = fs::File::open(place).and_then(|folder| folder.set_modified(SystemTime::now()));
}

/// The right to make a snapshot, given to one process at a time.
#[derive(Debug)]
pub(super) struct Turn {
    path: PathBuf,
    _file: fs::File,
}

impl Turn {
    /// Waits until nobody else makes this snapshot; `None` at the deadline, or where there are no locks.
    pub(super) fn wait(place: &Path, patience: Duration) -> Option<Self> {
        let path = beside(place, TURN);
        fs::create_dir_all(path.parent()?).ok()?;
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).ok()?;
        let deadline = Instant::now() + patience;
        loop {
            // False is somebody else's turn.
            if FileExt::try_lock_exclusive(&file).ok()? {
                return Some(Self { path, _file: file });
            }
            if Instant::now() > deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Whoever waits for the old file and whoever makes a new one both find the snapshot there.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether it is there.
pub(super) fn exists(place: &Path) -> bool {
    place.join(STATE).exists()
}

/// What its agent said of the machine.
pub(super) fn told(place: &Path) -> Vec<FromGuest> {
    let bytes = fs::read(place.join(TOLD)).unwrap_or_default();
    let mut rest = bytes.as_slice();
    std::iter::from_fn(|| FromGuest::read(&mut rest).ok().flatten()).collect()
}

/// Removes one that does not restore.
pub(super) fn forget(place: &Path) {
    // Gone at once for whoever looks, though its files take a while.
    let aside = beside(place, &format!("{NEW}{}-", std::process::id()));
    let _ = fs::remove_dir_all(if fs::rename(place, &aside).is_ok() { &aside } else { place });
}

/// Where a snapshot is being made.
#[derive(Debug)]
pub(super) struct Making {
    folder: tempfile::TempDir,
}

impl Making {
    pub(super) fn new(place: &Path) -> Result<Self, VmError> {
        let parent = place.parent().unwrap_or(place);
        fs::create_dir_all(parent).map_err(VmError::io(format!("make {}", parent.display())))?;
        let folder = tempfile::TempDir::with_prefix_in(NEW, parent);
        Ok(Self { folder: folder.map_err(VmError::io("make a folder for a snapshot"))? })
    }

    /// Starts the machine that is to be saved.
    pub(super) fn start(
        &self,
        qemu: &Qemu,
        machine: &Machine,
        memory_mib: u64,
        initramfs: &fs::File,
        signals: Option<&Signals>,
    ) -> Result<Process, VmError> {
        let start = Start::Save { folder: self.folder.path() };
        Process::start(qemu, machine, memory_mib, start, Some(initramfs), signals)
    }

    /// Copies the memory of a snapshot, for a machine that will change it.
    pub(super) fn copy_memory(&self, from: &Path) -> io::Result<()> {
        sparse::copy(&from.join(RAM), &self.folder.path().join(RAM))
    }

    /// Goes on with a saved machine, in memory that becomes the new snapshot's.
    pub(super) fn restore(
        &self,
        qemu: &Qemu,
        machine: &Machine,
        memory_mib: u64,
        from: &Path,
        signals: Option<&Signals>,
    ) -> Result<Process, VmError> {
        let start = Start::Restore { folder: self.folder.path(), changes: true };
        resume(Process::start(qemu, machine, memory_mib, start, None, signals)?, from)
    }

    /// Saves the machine, whose agent waits and `told` this, and puts the snapshot into its place.
    pub(super) fn save(self, place: &Path, qmp: &mut Qmp, told: &[FromGuest]) -> io::Result<()> {
        qmp.command("stop", json!({}))?;
        qmp.ignore_shared()?;
        let state = self.folder.path().join(STATE);
        qmp.command("migrate", json!({ "uri": format!("exec:cat > {}", quoted(&state)) }))?;
        qmp.wait("query-migrate", &["completed"])?;
        if fs::metadata(&state)?.len() == 0 {
            return Err(io::Error::other("the saved state is empty"));
        }
        let mut frames = Vec::new();
        told.iter().try_for_each(|message| message.write(&mut frames))?;
        fs::write(self.folder.path().join(TOLD), frames)?;
        self.put(place)?;
        let _ = fs::remove_file(beside(place, IMPOSSIBLE));
        prune(place);
        Ok(())
    }

    fn put(self, place: &Path) -> io::Result<()> {
        let mut renamed = fs::rename(self.folder.path(), place);
        if renamed.is_err() && !exists(place) {
            // What is there is no snapshot.
            forget(place);
            renamed = fs::rename(self.folder.path(), place);
        }
        match renamed {
            Ok(()) => {
                let _ = self.folder.keep();
                Ok(())
            }
            // Somebody else was faster; theirs is as good.
            Err(_) if exists(place) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Starts a machine from its snapshot, up to where its agent goes on waiting.
pub(super) fn restore(
    qemu: &Qemu,
    machine: &Machine,
    memory_mib: u64,
    place: &Path,
    signals: Option<&Signals>,
) -> Result<Process, VmError> {
    let start = Start::Restore { folder: place, changes: false };
    resume(Process::start(qemu, machine, memory_mib, start, None, signals)?, place)
}

/// Has a QEMU that waits for it go on with what was saved.
fn resume(mut process: Process, from: &Path) -> Result<Process, VmError> {
    let mut talk = || {
        let qmp = process.qmp()?;
        qmp.ignore_shared()?;
        let uri = format!("exec:cat {}", quoted(&from.join(STATE)));
        qmp.command("migrate-incoming", json!({ "uri": uri }))?;
        qmp.wait("query-status", &["paused", "running", "prelaunch", "postmigrate"])?;
        qmp.command("cont", json!({})).map(drop)
    };
    match talk() {
        Ok(()) => Ok(process),
        Err(error) => Err(process.not_restored(&error)),
    }
}

/// A path as one word of the shell that QEMU's `exec:` starts.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Removes all but the most recently used snapshots, those of the new one's program from before, and what a killed
/// maker left behind.
fn prune(new: &Path) {
    let Some(entries) = new.parent().and_then(|folder| fs::read_dir(folder).ok()) else { return };
    let mut dated: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    dated.sort();
    let all: u64 = dated.iter().map(|(_, path)| on_disk(path)).sum();
    let budget = KEPT_BYTES.min((free(new) + all) / 4);
    let (mut count, mut bytes) = (0, 0);
    for (modified, path) in dated.into_iter().rev() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let age = modified.elapsed().unwrap_or_default();
        if [TURN, NEW, IMPOSSIBLE].iter().any(|beginning| name.starts_with(beginning)) {
            if age > LEFT_BEHIND {
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
            continue;
        }
        count += 1;
        bytes += on_disk(&path);
        if path != new && (count > KEPT || bytes > budget || older_build(&path, new)) {
            forget(&path);
        }
    }
}

/// Whether both are of the same machine and program.
fn older_build(path: &Path, new: &Path) -> bool {
    let family = |path: &Path| Some(path.file_name()?.to_str()?.rsplit_once('-')?.0.to_owned());
    family(new).is_some_and(|new| family(path) == Some(new))
}

/// What this user may still write where a snapshot is.
fn free(place: &Path) -> u64 {
    let folder = place.parent().unwrap_or(place);
    rustix::fs::statvfs(folder).map_or(u64::MAX / 2, |found| found.f_bavail * found.f_frsize)
}

/// What a snapshot's files take; memory files have holes.
fn on_disk(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.blocks() * 512)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_path_as_one_word() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }

    #[test]
    fn only_the_most_recent_snapshots_are_kept() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for index in 0..KEPT + 3 {
            fs::create_dir(dir.path().join(format!("{index}"))).expect("a folder");
        }
        prune(&dir.path().join("0"));
        let left = fs::read_dir(dir.path()).expect("the folder").count();
        // The new one is never removed.
        assert!(left == KEPT || left == KEPT + 1 && dir.path().join("0").exists(), "{left}");
    }

    #[test]
    fn a_program_that_was_built_again_has_one_snapshot() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let booted = dir.path().join("0123");
        let place = |program: &str, whole, id: &str| with_files(&booted, Path::new(program), whole, id);
        let (old, new) = (place("/a", false, "1"), place("/a", false, "2"));
        let (other, debug) = (place("/b", false, "1"), place("/a", true, "1"));
        for folder in [&booted, &old, &new, &other, &debug] {
            fs::create_dir(folder).expect("a folder");
        }
        prune(&new);
        let left = [&booted, &old, &new, &other, &debug].map(|folder| folder.exists());
        assert_eq!(left, [true, false, true, true, true]);
    }

    #[test]
    fn a_mark_and_what_else_is_in_the_way_do_not_keep_a_snapshot_from_being_made() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let place = dir.path().join("x");
        // As marks were kept once.
        fs::create_dir(&place).and_then(|()| fs::write(place.join("impossible"), "")).expect("a folder");
        assert_eq!(impossible(&place), None);
        mark_impossible(&place, "QEMU says\nthis");
        assert_eq!(impossible(&place).as_deref(), Some("QEMU says"));
        let past = SystemTime::now() - IMPOSSIBLE_FOR - Duration::from_secs(1);
        fs::File::open(beside(&place, IMPOSSIBLE)).and_then(|mark| mark.set_modified(past)).expect("older");
        assert_eq!(impossible(&place), None);
        let making = Making::new(&place).expect("a folder");
        fs::write(making.folder.path().join(STATE), "state").expect("a file");
        making.put(&place).expect("it takes its place");
        assert!(exists(&place));
        // Another one that comes later is dropped.
        let making = Making::new(&place).expect("a folder");
        making.put(&place).expect("there is one");
        assert!(exists(&place));
    }

    #[test]
    fn what_an_agent_said_is_kept_with_its_machine() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let said = [FromGuest::Note(b"odd".to_vec()), FromGuest::Unloaded(b"000-x.ko".to_vec(), Vec::new())];
        let mut frames = Vec::new();
        said.iter().try_for_each(|message| message.write(&mut frames)).expect("frames");
        assert_eq!(told(dir.path()), []);
        fs::write(dir.path().join(TOLD), frames).expect("a file");
        assert_eq!(told(dir.path()), said);
    }

    #[test]
    fn one_process_makes_a_snapshot_at_a_time() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let place = dir.path().join("x");
        let turn = Turn::wait(&place, Duration::ZERO).expect("nobody else is there");
        assert!(Turn::wait(&place, Duration::from_millis(30)).is_none());
        drop(turn);
        assert!(Turn::wait(&place, Duration::ZERO).is_some());
        assert_eq!(fs::read_dir(dir.path()).expect("the folder").count(), 0);
    }
}
