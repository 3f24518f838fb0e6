//! Sends the regular files below the results folder to the host.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::channel::Writer;
use crate::protocol::{CHUNK, FilePiece, FromGuest, RESULTS_DIR};

pub(crate) fn send_all(to: &Writer) -> io::Result<()> {
    let root = Path::new(RESULTS_DIR);
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(|entry| entry.file_name());
        for entry in entries {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                send(to, root, &entry.path())?;
            }
        }
    }
    Ok(())
}

fn send(to: &Writer, root: &Path, path: &Path) -> io::Result<()> {
    let Ok(relative) = path.strip_prefix(root) else { return Ok(()) };
    let (Ok(mut file), Ok(metadata)) = (File::open(path), fs::metadata(path)) else { return Ok(()) };
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        let count = file.read(&mut buffer).unwrap_or(0);
        // An empty file is one empty piece.
        if count == 0 && offset > 0 {
            return Ok(());
        }
        to.send(&FromGuest::Result(FilePiece {
            path: relative.as_os_str().as_bytes().to_vec(),
            mode: metadata.permissions().mode() & 0o777,
            offset,
            data: buffer[..count].to_vec(),
        }))?;
        if count == 0 {
            return Ok(());
        }
        offset += count as u64;
    }
}
