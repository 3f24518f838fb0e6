//! Files from the guest's results folder, written below one folder of the host.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use super::error::VmError;
use super::protocol::FilePiece;

/// Takes pieces of files. A guest is not trusted: only plain names below the folder are written, only into files that were
/// made for it, never through a symbolic link, and never more than the limit.
#[derive(Debug)]
pub(super) struct Results<'a> {
    folder: Option<&'a Path>,
    limit: u64,
    taken: u64,
    /// The file whose pieces come, by the guest's name: what is behind that name by now does not matter.
    open: Option<(Vec<u8>, File)>,
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
            self.open = Some((piece.path.clone(), self.begin(folder, piece)?));
        }
        let name = Path::new(std::ffi::OsStr::from_bytes(&piece.path));
        let Some((_, file)) = self.open.as_mut().filter(|(open, _)| *open == piece.path) else {
            let reason = "a result of the guest goes on with a file that it did not begin".to_owned();
            return Err(VmError::BadFile { path: name.to_path_buf(), reason });
        };
        file.seek(SeekFrom::Start(piece.offset))
            .and_then(|_| file.write_all(&piece.data))
            .map_err(VmError::io(format!("write the result {}", folder.join(name).display())))
    }

    /// A new file, whatever was there.
    fn begin(&self, folder: &Path, piece: &FilePiece) -> Result<File, VmError> {
        let path = self.place(folder, &piece.path)?;
        let failed = |error| VmError::io(format!("write the result {}", path.display()))(error);
        // Not written into: it might be a link, or a file that is shared with others.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mode = piece.mode & 0o777;
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(failed)
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
                Err(_) => fs::create_dir(&path).map_err(VmError::io(format!("make {}", path.display())))?,
            }
        }
        Ok(path)
    }
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
        fs::remove_file(folder.join("mine")).expect("removed");
        std::os::unix::fs::symlink("../outside", folder.join("mine")).expect("a link");
        results.take(&piece("mine", 5, "more")).expect("written to the file that was begun");
        assert_eq!((read("outside"), read("out/before")), ("precious".to_owned(), "older".to_owned()));
        assert!(!folder.join("missing").exists());
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
