//! Files from the guest's results folder, written below one folder of the host.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::VmError;
use super::protocol::FilePiece;

/// Takes pieces of files. A guest is not trusted: only plain names below the folder are written, only into files that were
/// made for it, never through a symbolic link, and never more than the limit. A file gets its name when it is whole, so
/// that runs with the same folder have files of one or the other.
#[derive(Debug)]
pub(super) struct Results<'a> {
    folder: Option<&'a Path>,
    limit: u64,
    taken: u64,
    /// The file whose pieces come.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// The guest's name.
    name: Vec<u8>,
    /// Where it is to be.
    path: PathBuf,
    file: NamedTempFile,
}

impl<'a> Results<'a> {
    pub(super) fn new(folder: Option<&'a Path>, limit: u64) -> Self {
        Self { folder, limit, taken: 0, open: None }
    }

    /// Writes one piece, or drops it where no results are wanted.
    pub(super) fn take(&mut self, piece: &FilePiece) -> Result<(), VmError> {
        let Some(folder) = self.folder else { return Ok(()) };
        self.taken = self.taken.saturating_add(piece.data.len() as u64);
        // An offset beyond what was sent would make a file larger than its bytes.
        if self.taken > self.limit || piece.offset > self.limit {
            return Err(VmError::Flood { stream: "results", limit: self.limit });
        }
        if piece.offset == 0 {
            self.finish()?;
            self.open = Some(self.begin(folder, piece)?);
        }
        let name = Path::new(std::ffi::OsStr::from_bytes(&piece.path));
        let Some(Open { file, .. }) = self.open.as_mut().filter(|open| open.name == piece.path) else {
            let reason = "a result of the guest goes on with a file that it did not begin".to_owned();
            return Err(VmError::BadFile { path: name.to_path_buf(), reason });
        };
        file.seek(SeekFrom::Start(piece.offset))
            .and_then(|_| file.write_all(&piece.data))
            .map_err(VmError::io(format!("write the result {}", folder.join(name).display())))
    }

    /// A new file beside its place.
    fn begin(&self, folder: &Path, piece: &FilePiece) -> Result<Open, VmError> {
        let path = self.place(folder, &piece.path)?;
        let file = tempfile::Builder::new()
            .prefix(".bpf-vm-")
            .permissions(Permissions::from_mode(piece.mode & 0o777))
            .tempfile_in(path.parent().unwrap_or(folder))
            .map_err(VmError::io(format!("write the result {}", path.display())))?;
        Ok(Open { name: piece.path.clone(), path, file })
    }

    /// Puts the last file into its place. What was there is replaced, not written into: it might be a link, or a file that
    /// is shared with others.
    pub(super) fn finish(&mut self) -> Result<(), VmError> {
        let Some(Open { path, file, .. }) = self.open.take() else { return Ok(()) };
        let placed = file.persist(&path).map_err(|error| error.error);
        placed.map(drop).map_err(VmError::io(format!("write the result {}", path.display())))
    }

    fn place(&self, folder: &Path, name: &[u8]) -> Result<PathBuf, VmError> {
        let name = Path::new(std::ffi::OsStr::from_bytes(name));
        let bad = |reason: &str| VmError::BadFile { path: name.to_path_buf(), reason: reason.to_owned() };
        let mut path = folder.to_path_buf();
        fs::create_dir_all(&path).map_err(VmError::io(format!("make the folder {}", path.display())))?;
        let mut parts = name.components().peekable();
        if parts.peek().is_none() {
            return Err(bad("a result of the guest has no name"));
        }
        while let Some(part) = parts.next() {
            let Component::Normal(part) = part else {
                return Err(bad("a result of the guest has a name outside its folder"));
            };
            path.push(part);
            if parts.peek().is_none() {
                break;
            }
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    return Err(bad(
                        "a result of the guest needs a folder where the host has something else",
                    ));
                }
                Err(_) => match fs::create_dir(&path) {
                    // Another run may be faster.
                    Err(error) if error.kind() != ErrorKind::AlreadyExists || !is_folder(&path) => {
                        return Err(VmError::io(format!("make {}", path.display()))(error));
                    }
                    _ => {}
                },
            }
        }
        Ok(path)
    }
}

/// Itself, not through a link.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(path: &str, offset: u64, data: &str) -> FilePiece {
        FilePiece { path: path.into(), mode: 0o644, offset, data: data.into() }
    }

    #[test]
    fn pieces_become_files_below_the_folder() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join("out");
        let mut results = Results::new(Some(&folder), 100);
        results.take(&piece("a/b.txt", 0, "hello ")).expect("written");
        results.take(&piece("a/b.txt", 6, "world")).expect("written");
        assert!(!folder.join("a/b.txt").exists(), "there is never half of a file");
        results.finish().expect("put into its place");
        assert_eq!(fs::read_to_string(folder.join("a/b.txt")).expect("there"), "hello world");
    }

    #[test]
    fn nothing_outside_the_folder_can_be_written() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join("out");
        fs::create_dir(&folder).expect("a folder");
        fs::write(dir.path().join("mine"), "precious").expect("a file");
        std::os::unix::fs::symlink(dir.path(), folder.join("up")).expect("a link");
        std::os::unix::fs::symlink(dir.path().join("mine"), folder.join("link")).expect("a link");
        let mut results = Results::new(Some(&folder), 100);
        for name in ["../mine", "/etc/passwd", "a/../../mine", "up/mine", "", "."] {
            assert!(results.take(&piece(name, 0, "x")).is_err(), "{name}");
        }
        results.take(&piece("link", 0, "x")).expect("replaces the link itself");
        results.finish().expect("put into its place");
        assert_eq!(fs::read_to_string(folder.join("link")).expect("there"), "x");
        assert_eq!(fs::read_to_string(dir.path().join("mine")).expect("there"), "precious");
    }

    #[test]
    fn a_file_that_the_guest_did_not_begin_is_not_written_into() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join("out");
        fs::create_dir(&folder).expect("a folder");
        for (path, text) in [(dir.path().join("outside"), "precious"), (folder.join("before"), "older")] {
            fs::write(path, text).expect("a file");
        }
        std::os::unix::fs::symlink("../outside", folder.join("latest")).expect("a link");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("it is there");
        let mut results = Results::new(Some(&folder), 100);
        results.take(&piece("mine", 0, "begun")).expect("written");
        for name in ["latest", "before", "missing"] {
            assert!(results.take(&piece(name, 1, "x")).is_err(), "{name}");
        }
        // A link that takes the place of a file meanwhile leads nowhere.
        std::os::unix::fs::symlink("../outside", folder.join("mine")).expect("a link");
        results.take(&piece("mine", 5, "more")).expect("written to the file that was begun");
        results.finish().expect("put into its place");
        assert_eq!(read("out/mine"), "begunmore");
        assert_eq!((read("outside"), read("out/before")), ("precious".to_owned(), "older".to_owned()));
        assert!(!folder.join("missing").exists());
    }

    #[test]
    fn runs_may_leave_the_same_files_at_once() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join("out");
        std::thread::scope(|scope| {
            for text in ["one", "two", "six"] {
                let folder = &folder;
                scope.spawn(move || {
                    let mut results = Results::new(Some(folder), 100_000);
                    for round in 0..50 {
                        let name = format!("{round}/deep/file");
                        results.take(&piece(&name, 0, text)).expect("written");
                        results.take(&piece(&name, 3, text)).expect("written");
                    }
                    results.finish().expect("put into its place");
                });
            }
        });
        for round in 0..50 {
            let file = folder.join(format!("{round}/deep"));
            let text = fs::read_to_string(file.join("file")).expect("there");
            assert!(["oneone", "twotwo", "sixsix"].contains(&&*text), "{text}");
            assert_eq!(fs::read_dir(file).expect("a folder").count(), 1, "nothing else is left");
        }
    }

    #[test]
    fn more_than_the_limit_is_a_flood() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut results = Results::new(Some(dir.path()), 4);
        results.take(&piece("a", 0, "1234")).expect("within the limit");
        assert!(matches!(results.take(&piece("a", 4, "5")), Err(VmError::Flood { stream: "results", .. })));
        let mut results = Results::new(Some(dir.path()), 4);
        assert!(matches!(results.take(&piece("a", 1 << 40, "5")), Err(VmError::Flood { .. })));
    }
}
