//! Machines that were booted once and saved when their agent was ready: restoring one takes a tenth of a second.
//!
//! A snapshot is a folder named by a hash of all that it depends on. It is made beside its place and renamed into it, so
//! there is never half of one; two makers at once make it twice. A snapshot that cannot be made leaves a mark, so that
//! the time is not spent again, and one that cannot be restored is removed. Both fall back to a boot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::error::VmError;
use super::process::Process;
use super::protocol;
use super::qemu::{Accel, Link, Machine, Qemu, Start};
use super::qmp::Qmp;
use super::signals::Signals;

/// The file of a snapshot that holds the devices' state.
const STATE: &str = "state";
/// In place of a snapshot that cannot be made here.
const IMPOSSIBLE: &str = "impossible";
/// Snapshots kept, each of some 85 MB on disk: the most recently made.
const KEPT: usize = 16;

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
    let nowhere = Path::new("");
    for arg in
        qemu.arguments(machine, memory_mib, Start::Save { initramfs: nowhere, folder: nowhere, qmp: nowhere })
    {
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
    let name: String = hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    Some(folder.join(name))
}

/// Whether it was found out that there can be none here.
pub(super) fn impossible(place: &Path) -> bool {
    place.join(IMPOSSIBLE).exists()
}

/// Remembers that.
pub(super) fn mark_impossible(place: &Path, why: &str) {
    let _ = fs::create_dir_all(place);
    let _ = fs::write(place.join(IMPOSSIBLE), why);
}

/// Whether it is there.
pub(super) fn exists(place: &Path) -> bool {
    place.join(STATE).exists()
}

/// Removes one that does not restore.
pub(super) fn forget(place: &Path) {
    let _ = fs::remove_dir_all(place);
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
        let folder = tempfile::TempDir::with_prefix_in(".new-", parent);
        Ok(Self { folder: folder.map_err(VmError::io("make a folder for a snapshot"))? })
    }

    /// Starts the machine that is to be saved.
    pub(super) fn start(
        &self,
        qemu: &Qemu,
        machine: &Machine,
        memory_mib: u64,
        initramfs: &Path,
        signals: Option<&Signals>,
    ) -> Result<Process, VmError> {
        let qmp = self.qmp();
        let start = Start::Save { initramfs, folder: self.folder.path(), qmp: &qmp };
        Process::start(qemu, machine, memory_mib, start, signals)
    }

    /// Saves the machine, whose agent waits, and puts the snapshot into its place.
    pub(super) fn save(self, place: &Path) -> io::Result<()> {
        let mut qmp = Qmp::connect(&self.qmp())?;
        qmp.command("stop", json!({}))?;
        qmp.ignore_shared()?;
        let state = self.folder.path().join(STATE);
        qmp.command("migrate", json!({ "uri": format!("exec:cat > {}", quoted(&state)) }))?;
        qmp.wait("query-migrate", &["completed"])?;
        fs::remove_file(self.qmp())?;
        if fs::metadata(&state)?.len() == 0 {
            return Err(io::Error::other("the saved state is empty"));
        }
        match fs::rename(self.folder.path(), place) {
            Ok(()) => {
                let _ = self.folder.keep();
            }
            // Somebody else was faster; theirs is as good.
            Err(_) if exists(place) => {}
            Err(error) => return Err(error),
        }
        prune(place.parent().unwrap_or(place));
        Ok(())
    }

    fn qmp(&self) -> PathBuf {
        self.folder.path().join("qmp")
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
    let folder =
        tempfile::TempDir::with_prefix("bpf-vm-").map_err(VmError::io("make a folder for QEMU's socket"))?;
    let qmp = folder.path().join("qmp");
    let start = Start::Restore { folder: place, qmp: &qmp };
    let process = Process::start(qemu, machine, memory_mib, start, signals)?;
    let resume = || -> io::Result<()> {
        let mut qmp = Qmp::connect(&qmp)?;
        qmp.ignore_shared()?;
        let uri = format!("exec:cat {}", quoted(&place.join(STATE)));
        qmp.command("migrate-incoming", json!({ "uri": uri }))?;
        qmp.wait("query-status", &["paused", "running", "prelaunch", "postmigrate"])?;
        qmp.command("cont", json!({})).map(drop)
    };
    resume().map_err(VmError::io("restore a snapshot"))?;
    Ok(process)
}

/// A path as one word of the shell that QEMU's `exec:` starts.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Removes all but the most recent snapshots, and what a killed maker left behind.
fn prune(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut dated: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    dated.sort();
    let old = |path: &Path, age: Duration| {
        let new = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".new-"));
        new && age > Duration::from_secs(3600)
    };
    let count = dated.len();
    for (index, (modified, path)) in dated.into_iter().enumerate() {
        if index + KEPT < count || old(&path, modified.elapsed().unwrap_or_default()) {
            let _ = fs::remove_dir_all(path);
        }
    }
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
        prune(dir.path());
        assert_eq!(fs::read_dir(dir.path()).expect("the folder").count(), KEPT);
    }
}
