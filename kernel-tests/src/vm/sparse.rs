//! Copies files that are mostly holes, and keeps the holes: the memory of a machine.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom as At, Write};
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// Bytes copied at once.
const STEP: usize = 1 << 20;

/// Copies a file, data only, to one that is not there yet.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = OpenOptions::new().write(true).create_new(true).open(to)?;
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    while at < length {
        let start = match seek(&from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(&from, SeekFrom::Hole(start))?;
        from.seek(At::Start(start))?;
        to.seek(At::Start(start))?;
        at = start;
        while at < end {
            let part = buffer.get_mut(..STEP.min((end - at) as usize)).unwrap_or_default();
            from.read_exact(part)?;
            to.write_all(part)?;
            at += part.len() as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_has_the_same_bytes_and_no_more_blocks() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let mut file = File::create(&from).expect("a file");
        for at in [0u64, 5 << 20, (9 << 20) + 17] {
            file.seek(At::Start(at)).expect("a place");
            file.write_all(b"data").expect("written");
        }
        file.set_len(64 << 20).expect("a long file");
        copy(&from, &to).expect("a copy");
        assert_eq!(std::fs::read(&from).expect("bytes"), std::fs::read(&to).expect("bytes"));
        assert!(to.metadata().expect("there").blocks() * 512 < 8 << 20);
    }
}
