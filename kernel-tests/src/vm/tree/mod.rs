//! The files a guest starts with: a plan by guest path, written as one newc archive.
//!
//! Host files keep their paths and are seen through the same symbolic links as on the host, so that a program finds
//! itself, its loader and its libraries where it was linked to look (`/lib` → `usr/lib`, `libfoo.so.1` → `libfoo.so.1.2`).

mod collect;
mod output;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::snapshot::hex;
pub(super) use collect::TooLarge;

/// Where a guest has file systems of its own (`guest/setup.rs`), which hide what was unpacked there at its boot.
const MOUNTED: [&str; 3] = ["/dev", "/proc", "/sys"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// With the permissions of one that was brought along; else they are whatever the guest's own is made with.
    Folder(Option<u32>),
    Link(PathBuf),
    Bytes(Vec<u8>, u32),
    Host(HostFile),
    Console,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct HostFile {
    path: PathBuf,
    mode: u32,
    size: u64,
    /// Every byte is wanted, also those of debug information: it is data as well.
    whole: bool,
}

/// A guest's first files. Iteration and output are in the order of paths, so parents come before children.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Tree {
    /// The folders every guest has, the guest's init and the few files the C library asks for.
    pub(super) fn with_init(init: &[u8]) -> Self {
        let mut tree = Self::default();
        for folder in ["dev", "etc", "proc", "root", "run", "sys", "tmp", "var/tmp"] {
            tree.add_folder(&Path::new("/").join(folder));
        }
        tree.nodes.insert("/dev/console".into(), Node::Console);
        tree.add_bytes("/init", init.to_vec(), 0o755);
        for (path, text) in [
            (
                "/etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
            ),
            ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
            ("/etc/hostname", "bpf-vm\n"),
            ("/etc/hosts", "127.0.0.1 localhost bpf-vm\n::1 localhost bpf-vm\n"),
            ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ] {
            tree.add_bytes(path, text.into(), 0o644);
        }
        tree
    }

    /// Adds a file made of `bytes`.
    pub(super) fn add_bytes(&mut self, path: impl AsRef<Path>, bytes: Vec<u8>, mode: u32) {
        self.add_parents(path.as_ref());
        self.nodes.insert(path.as_ref().to_path_buf(), Node::Bytes(bytes, mode));
    }

    /// Adds a folder and its parents.
    pub(super) fn add_folder(&mut self, path: &Path) {
        self.add_parents(path);
        if path != Path::new("/") {
            self.nodes.entry(path.to_path_buf()).or_insert(Node::Folder(None));
        }
    }

    fn add_parents(&mut self, path: &Path) {
        for parent in path.ancestors().skip(1) {
            if parent != Path::new("/") {
                self.nodes.entry(parent.to_path_buf()).or_insert(Node::Folder(None));
            }
        }
    }

    /// Whether something is at `path`.
    #[cfg(test)]
    #[must_use]
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.nodes.contains_key(path)
    }

    /// The bytes of all files together.
    #[must_use]
    pub(super) fn size(&self) -> u64 {
        let size = |node: &Node| match node {
            Node::Host(file) => file.size,
            Node::Bytes(bytes, _) => bytes.len() as u64,
            Node::Folder(_) | Node::Link(_) | Node::Console => 0,
        };
        self.nodes.values().map(size).sum()
    }

    /// A hash of what the guest gets, by paths, sizes and times, not by reading every file; `None` if one is gone.
    /// `whole` is with debug information.
    pub(super) fn identity(&self, whole: bool) -> Option<String> {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(&[u8::from(whole)]);
        for (path, node) in &self.nodes {
            add(path.as_os_str().as_bytes());
            match node {
                Node::Folder(None) | Node::Console => add(b""),
                Node::Folder(Some(mode)) => add(&mode.to_le_bytes()),
                Node::Link(target) => add(target.as_os_str().as_bytes()),
                Node::Bytes(bytes, mode) => {
                    add(bytes);
                    add(&mode.to_le_bytes());
                }
                Node::Host(file) => {
                    let found = fs::metadata(&file.path).ok()?;
                    add(file.path.as_os_str().as_bytes());
                    add(&[u8::from(file.whole)]);
                    add(&file.mode.to_le_bytes());
                    for number in [found.len(), found.ino(), found.dev()] {
                        add(&number.to_le_bytes());
                    }
                    add(&found.mtime().to_le_bytes());
                    add(&found.mtime_nsec().to_le_bytes());
                }
            }
        }
        Some(hex(&hash.finalize(), 12))
    }

    /// What a guest that boots does not see of its files: it has mounted something there, or their names are no text, which
    /// they have to be in an archive of the crate `cpio`.
    #[must_use]
    pub(super) fn hidden(&self) -> Self {
        let below = |path: &Path| {
            MOUNTED.iter().any(|at| path.starts_with(at) && path != Path::new(at)) || path.to_str().is_none()
        };
        let nodes = self.nodes.iter().filter(|(path, _)| below(path));
        Self { nodes: nodes.map(|(path, node)| (path.clone(), node.clone())).collect() }
    }
}

#[cfg(test)]
mod tests;
