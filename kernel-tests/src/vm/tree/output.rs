//! How the files get to a guest: as a newc archive that it boots with, or as messages while it runs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cpio::newc;

use super::{HostFile, Node, Tree};
use crate::vm::debug_info;
use crate::vm::error::VmError;
use crate::vm::protocol::{self, FilePiece};

/// Bytes of a file in one message to a running guest.
const SENT_AT_ONCE: usize = 64 << 10;

impl Tree {
    /// Writes the archive. Owners are root and times are 0, so equal trees give equal bytes.
    pub(in crate::vm) fn write(&self, to: &mut impl Write) -> Result<(), VmError> {
        let failed = |error| VmError::io("write the initramfs")(error);
        for (index, (path, node)) in self.nodes.iter().enumerate() {
            // The others are sent ([`Tree::hidden`]).
            let Some(name) = path.strip_prefix("/").unwrap_or(path).to_str() else { continue };
            let entry = |mode: u32| newc::Builder::new(name).ino(index as u32 + 1).nlink(1).mode(mode);
            match node {
                Node::Folder(mode) => {
                    put(to, entry(0o040_000 | mode.unwrap_or(0o755)), &[]).map_err(failed)?
                }
                Node::Console => {
                    put(to, entry(0o020_600).rdev_major(5).rdev_minor(1), &[]).map_err(failed)?;
                }
                Node::Link(target) => {
                    put(to, entry(0o120_777), target.as_os_str().as_bytes()).map_err(failed)?;
                }
                Node::Bytes(bytes, mode) => put(to, entry(0o100_000 | mode), bytes).map_err(failed)?,
                Node::Host(file) => copy(to, entry(0o100_000 | file.mode), file)
                    .map_err(VmError::io(format!("put {} into the initramfs", file.path.display())))?,
            }
        }
        newc::trailer(to).map(drop).map_err(failed)
    }
    /// Gives the files as messages to a guest that runs already; what every guest has from its boot is left out.
    pub(in crate::vm) fn send(
        &self,
        whole: bool,
        mut to: impl FnMut(FilePiece) -> Result<(), VmError>,
    ) -> Result<(), VmError> {
        for (path, node) in &self.nodes {
            let kernels = [protocol::CONFIG, protocol::MODULES_DIR];
            if path == Path::new("/init") || kernels.iter().any(|at| path.starts_with(at)) {
                continue;
            }
            let mut piece = |mode: u32, offset: u64, data: Vec<u8>| {
                to(FilePiece { path: path.as_os_str().as_bytes().to_vec(), mode, offset, data })
            };
            match node {
                Node::Console => {}
                Node::Folder(mode) => piece(0o040_000 | mode.unwrap_or_default(), 0, Vec::new())?,
                Node::Link(target) => piece(0o120_777, 0, target.as_os_str().as_bytes().to_vec())?,
                Node::Bytes(bytes, mode) => piece(0o100_000 | mode, 0, bytes.clone())?,
                Node::Host(HostFile { path: host, mode, size, whole: as_it_is }) => {
                    let failed = |error| VmError::io(format!("send {} to the guest", host.display()))(error);
                    let mut bytes = Vec::new();
                    File::open(host).and_then(|f| f.take(*size).read_to_end(&mut bytes)).map_err(failed)?;
                    let holes = if whole || *as_it_is { Vec::new() } else { debug_info::empty(&mut bytes) };
                    let mode = 0o100_000 | mode;
                    piece(mode, 0, Vec::new())?;
                    for kept in between(&holes, bytes.len()) {
                        let kept_bytes = bytes.get(kept.clone()).unwrap_or_default();
                        for (index, part) in kept_bytes.chunks(SENT_AT_ONCE).enumerate() {
                            let offset = kept.start + index * SENT_AT_ONCE;
                            // Offset 0 truncates, which the first piece has done.
                            piece(mode, offset as u64, part.to_vec())?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn put(to: &mut impl Write, entry: newc::Builder, bytes: &[u8]) -> io::Result<()> {
    let mut writer = entry.write(to, bytes.len() as u32);
    writer.write_all(bytes)?;
    writer.finish().map(drop)
}

fn copy(to: &mut impl Write, entry: newc::Builder, file: &HostFile) -> io::Result<()> {
    let content = File::open(&file.path)?;
    let mut writer = entry.write(to, file.size as u32);
    if io::copy(&mut content.take(file.size), &mut writer)? != file.size {
        return Err(io::Error::other("the file changed while it was read"));
    }
    writer.finish().map(drop)
}

/// What is left of a file's bytes without the holes.
pub(super) fn between(holes: &[Range<usize>], length: usize) -> Vec<Range<usize>> {
    let mut holes = holes.to_vec();
    holes.sort_by_key(|hole| hole.start);
    let mut kept = Vec::new();
    let mut at = 0;
    for hole in holes {
        if at < hole.start {
            kept.push(at..hole.start);
        }
        at = at.max(hole.end);
    }
    if at < length {
        kept.push(at..length);
    }
    kept
}
