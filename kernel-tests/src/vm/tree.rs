//! The files a guest starts with: a plan by guest path, written as one newc archive.
//!
//! Host files keep their paths and are seen through the same symbolic links as on the host, so that a program finds
//! itself, its loader and its libraries where it was linked to look (`/lib` → `usr/lib`, `libfoo.so.1` → `libfoo.so.1.2`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use cpio::newc;
use rustix::fs::{Access, access};
use sha2::{Digest, Sha256};

use super::debug_info;
use super::error::VmError;
use super::protocol::{self, FilePiece};
use super::roots::{Rooted, below};
use super::snapshot::hex;

/// Symbolic links followed on the way to one file, as in the kernel (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

/// Where a guest has file systems of its own (`guest/setup.rs`), which hide what was unpacked there at its boot.
const MOUNTED: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Of those the ones whose files are the kernel's own words.
const KERNELS: [&str; 2] = ["/proc", "/sys"];

/// More of a workspace is brought along when it is asked for.
const MAX_SOURCES: usize = 10_000;
const MAX_SOURCE_BYTES: u64 = 64 << 20;
/// Bytes of a file in one message to a running guest.
const SENT_AT_ONCE: usize = 64 << 10;

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

/// What was brought along of a path.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// The regular files.
    pub(super) files: Vec<PathBuf>,
    /// Whether it is a folder, whose files are there for whatever reason.
    pub(super) folder: bool,
    /// What in it this user may not read.
    unreadable: Vec<PathBuf>,
    /// Links in it to folders that are not in it.
    outward: Vec<PathBuf>,
}

impl Brought {
    /// What of it the guest does not get, in words.
    pub(super) fn notes(&self, path: &Path) -> Vec<String> {
        let note = |left: &[PathBuf], what: &str| {
            let first = left.first()?;
            Some(format!("{}: {} {what}, such as {}", path.display(), left.len(), first.display()))
        };
        let unreadable = note(&self.unreadable, "files cannot be read and were left out");
        let outward = note(&self.outward, "links lead to folders elsewhere, which were not brought along");
        unreadable.into_iter().chain(outward).collect()
    }
}

/// A folder of sources that is too large to be brought unasked: what had been counted by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge {
    pub(super) files: usize,
    pub(super) bytes: u64,
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

    /// Adds the host's file or folder (with all below it) at its own absolute path; symbolic links on the way are added
    /// as links and followed. In a folder links stay links, and only a file that one leads to elsewhere comes along; what
    /// cannot be brought from there (sockets, devices, files of the kernel) is left out.
    pub(super) fn add_host(&mut self, path: &Path) -> Result<Brought, VmError> {
        let real = self.follow(Path::new("/"), path)?;
        let failed = |error| VmError::io(real.display().to_string())(error);
        let metadata = fs::metadata(&real).map_err(failed)?;
        let refused = |reason: &str| VmError::BadFile { path: real.clone(), reason: reason.to_owned() };
        if is_kernels(&real) {
            return Err(refused(
                "is the host kernel's own (procfs or sysfs), as the guest has it of its kernel",
            ));
        }
        let mut brought = Brought::default();
        if metadata.is_file() {
            self.put_host(&real, HostFile::of(&real, &metadata, true)?);
            brought.files.push(real);
            return Ok(brought);
        }
        if !metadata.is_dir() {
            return Err(refused("is neither a regular file nor a folder, so it cannot be brought along"));
        }
        fs::read_dir(&real).map_err(failed)?;
        brought.folder = true;
        let mut folders = vec![real.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else {
                brought.unreadable.push(folder);
                continue;
            };
            if let Ok(metadata) = fs::metadata(&folder) {
                self.put_folder(&folder, metadata.permissions().mode() & 0o7777);
            }
            for entry in entries.flatten() {
                // What is gone by now is not missed.
                let Ok(metadata) = entry.metadata() else { continue };
                let path = entry.path();
                if is_kernels(&path) {
                    continue;
                } else if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_symlink() {
                    self.add_link(path, &real, &mut brought)?;
                } else if metadata.is_file() {
                    self.add_met(path, &metadata, &mut brought)?;
                }
            }
        }
        brought.files.sort();
        Ok(brought)
    }

    /// Adds a file that was met in a folder, if it can be read.
    fn add_met(
        &mut self,
        path: PathBuf,
        metadata: &fs::Metadata,
        brought: &mut Brought,
    ) -> Result<(), VmError> {
        if access(&path, Access::READ_OK).is_err() {
            brought.unreadable.push(path);
            return Ok(());
        }
        self.put_host(&path, HostFile::of(&path, metadata, true)?);
        brought.files.push(path);
        Ok(())
    }

    /// Adds a link that was met in the folder `root`.
    fn add_link(&mut self, path: PathBuf, root: &Path, brought: &mut Brought) -> Result<(), VmError> {
        let Ok(target) = fs::read_link(&path) else { return Ok(()) };
        self.nodes.insert(path.clone(), Node::Link(target));
        // One that leads nowhere, or round and round, does so in the guest as well.
        let Ok(end) = path.canonicalize() else { return Ok(()) };
        let Ok(metadata) = fs::metadata(&end) else { return Ok(()) };
        if end.starts_with(root) || is_kernels(&end) {
            return Ok(());
        }
        if metadata.is_dir() {
            brought.outward.push(path);
        } else if metadata.is_file() {
            let end = self.follow(Path::new("/"), &path)?;
            self.add_met(end, &metadata, brought)?;
        }
        Ok(())
    }

    /// Where a file is wanted whole, it stays so.
    fn put_host(&mut self, at: &Path, file: HostFile) {
        let known = self.nodes.get(at);
        if !matches!(known, Some(Node::Host(known)) if known.whole && known.path == file.path) {
            self.nodes.insert(at.to_path_buf(), Node::Host(file));
        }
    }

    fn put_folder(&mut self, at: &Path, mode: u32) {
        self.add_folder(at);
        if let Some(Node::Folder(known)) = self.nodes.get_mut(at) {
            *known = Some(mode);
        }
    }

    /// Adds a program or library that lies below some root on the host; links on the way mean what they mean below that
    /// root. What it is started with is wanted, so debug information may be left out.
    pub(super) fn add_rooted(&mut self, file: &Rooted) -> Result<(), VmError> {
        let real = self.follow(&file.root, &file.path)?;
        let host = below(&file.root, &real);
        let metadata = fs::metadata(&host).map_err(VmError::io(host.display().to_string()))?;
        if !metadata.is_file() {
            return Err(VmError::BadFile { path: host, reason: "is not a regular file".to_owned() });
        }
        let real = self.behind_links(&real);
        self.add_parents(&real);
        self.put_host(&real, HostFile::of(&host, &metadata, false)?);
        Ok(())
    }

    /// Where a path ends up with the links that are in the tree already: another root may have a link where this one has
    /// a folder, and a file is not unpacked through a link whose target comes after it.
    fn behind_links(&self, path: &Path) -> PathBuf {
        let mut real = PathBuf::from("/");
        let mut rest = components(path);
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == Path::new("..") {
                real.pop();
                continue;
            }
            let next = real.join(&part);
            match self.nodes.get(&next) {
                Some(Node::Link(target)) if links < MAX_LINKS && !rest.is_empty() => {
                    links += 1;
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    rest.extend(components(target));
                }
                _ => real = next,
            }
        }
        real
    }

    /// Adds what is below a folder of sources, links as links. What cargo builds and git keeps is left out. Nothing is
    /// added if that is more than a guest should get unasked.
    pub(super) fn add_sources(&mut self, root: &Path) -> Result<Option<TooLarge>, VmError> {
        let root = self.follow(Path::new("/"), root)?;
        let mut found = BTreeMap::new();
        let (mut files, mut bytes) = (0, 0);
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            // `target` says so itself (https://bford.info/cachedir/); a file that is gone by now is not missed.
            if folder.join("CACHEDIR.TAG").exists() || folder.file_name().is_some_and(|name| name == ".git") {
                continue;
            }
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_symlink() {
                    found.extend(fs::read_link(&path).ok().map(|target| (path, Node::Link(target))));
                } else if metadata.is_file() {
                    (files, bytes) = (files + 1, bytes + metadata.len());
                    if bytes > MAX_SOURCE_BYTES || files > MAX_SOURCES {
                        return Ok(Some(TooLarge { files, bytes }));
                    }
                    let file = HostFile::of(&path, &metadata, true)?;
                    found.insert(path, Node::Host(file));
                }
            }
            found.insert(folder, Node::Folder(None));
        }
        self.nodes.extend(found);
        Ok(None)
    }

    /// Adds the content of a host file at another path.
    pub(super) fn add_host_at(&mut self, host: &Path, at: &Path) -> Result<(), VmError> {
        let metadata = fs::metadata(host).map_err(VmError::io(host.display().to_string()))?;
        self.add_parents(at);
        self.nodes.insert(at.to_path_buf(), Node::Host(HostFile::of(host, &metadata, true)?));
        Ok(())
    }

    /// Walks a path below a root of the host, adding the folders and links on the way; gives the path without links, in
    /// the guest. A folder that is in the tree stays one, though it is a link below another root than the first: files in
    /// it would be lost.
    fn follow(&mut self, root: &Path, path: &Path) -> Result<PathBuf, VmError> {
        let mut real = PathBuf::from("/");
        let mut rest: Vec<PathBuf> = components(path);
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == Path::new("..") {
                real.pop();
                continue;
            }
            let next = real.join(&part);
            let host = below(root, &next);
            let metadata = fs::symlink_metadata(&host).map_err(VmError::io(host.display().to_string()))?;
            let stays = root != Path::new("/") && matches!(self.nodes.get(&next), Some(Node::Folder(_)));
            if metadata.is_symlink() && !stays {
                links += 1;
                if links > MAX_LINKS {
                    let reason = "too many symbolic links".to_owned();
                    return Err(VmError::BadFile { path: path.to_path_buf(), reason });
                }
                let target = fs::read_link(&host).map_err(VmError::io(host.display().to_string()))?;
                self.add_parents(&next);
                self.nodes.insert(next, Node::Link(target.clone()));
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                rest.extend(components(&target));
            } else {
                real = next;
            }
        }
        self.add_parents(&real);
        Ok(real)
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

    /// Gives the files as messages to a guest that runs already; what every guest has from its boot is left out.
    pub(super) fn send(
        &self,
        whole: bool,
        mut to: impl FnMut(FilePiece) -> Result<(), VmError>,
    ) -> Result<(), VmError> {
        for (path, node) in &self.nodes {
            if path == Path::new("/init") || path.starts_with(protocol::MODULES_DIR) {
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

    /// Writes the archive. Owners are root and times are 0, so equal trees give equal bytes.
    pub(super) fn write(&self, to: &mut impl Write) -> Result<(), VmError> {
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
}

impl HostFile {
    fn of(path: &Path, metadata: &fs::Metadata, whole: bool) -> Result<Self, VmError> {
        if u32::try_from(metadata.len()).is_err() {
            let reason = "is 4 GiB or more, which an initramfs cannot hold".to_owned();
            return Err(VmError::BadFile { path: path.to_path_buf(), reason });
        }
        let mode = metadata.permissions().mode() & 0o7777;
        Ok(Self { path: path.to_path_buf(), mode, size: metadata.len(), whole })
    }
}

fn is_kernels(path: &Path) -> bool {
    KERNELS.iter().any(|at| path.starts_with(at))
}

/// What is left of a file's bytes without the holes.
fn between(holes: &[Range<usize>], length: usize) -> Vec<Range<usize>> {
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

/// The parts of a path, last first; `.` and the root are dropped.
fn components(path: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect();
    parts.reverse();
    parts
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

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(tree: &Tree) -> Vec<(String, u32, Vec<u8>)> {
        let mut bytes = Vec::new();
        tree.write(&mut bytes).expect("the tree can be written");
        let mut rest = bytes.as_slice();
        let mut entries = Vec::new();
        loop {
            let mut reader = newc::Reader::new(rest).expect("a well-formed entry");
            if reader.entry().is_trailer() {
                return entries;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut content = Vec::new();
            io::Read::read_to_end(&mut reader, &mut content).expect("its content");
            entries.push((name, mode, content));
            rest = reader.finish().expect("the next entry");
        }
    }

    #[test]
    fn sources_come_without_what_is_built_from_them() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = dir.path().canonicalize().expect("its real path");
        for (path, text) in [
            ("Cargo.lock", ""),
            ("member/tests/data.txt", "data"),
            ("target/CACHEDIR.TAG", ""),
            ("target/debug/large", ""),
            (".git/config", ""),
        ] {
            fs::create_dir_all(root.join(path).parent().expect("a folder")).expect("folders");
            fs::write(root.join(path), text).expect("a file");
        }
        let mut tree = Tree::default();
        assert_eq!(tree.add_sources(&root).expect("it can be read"), None);
        let below = |path: &Path| Some(path.strip_prefix(&root).ok()?.to_str()?.to_owned());
        let names: Vec<_> = tree.nodes.keys().filter_map(|path| below(path)).collect();
        assert_eq!(names, ["", "Cargo.lock", "member", "member/tests", "member/tests/data.txt"]);

        fs::File::create(root.join("huge")).and_then(|f| f.set_len(MAX_SOURCE_BYTES + 1)).expect("a file");
        let mut tree = Tree::default();
        let large = tree.add_sources(&root).expect("it can be read").expect("it is too large");
        assert!(large.bytes > MAX_SOURCE_BYTES, "{large:?}");
        assert!(!tree.nodes.contains_key(&root.join("Cargo.lock")));
    }

    #[test]
    fn parents_come_before_their_children() {
        let mut tree = Tree::with_init(b"init");
        tree.add_bytes("/a/b/c", b"text".to_vec(), 0o640);
        let names: Vec<String> = listing(&tree).into_iter().map(|(name, ..)| name).collect();
        for name in &names {
            if let Some((parent, _)) = name.rsplit_once('/') {
                let at = |wanted: &str| names.iter().position(|name| name == wanted);
                assert!(at(parent) < at(name) && at(parent).is_some(), "{parent} before {name}");
            }
        }
        assert!(names.iter().any(|name| name == "init") && names.iter().any(|name| name == "a/b/c"));
    }

    #[test]
    fn host_files_are_seen_through_the_same_links() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = dir.path().canonicalize().expect("its real path");
        fs::create_dir_all(root.join("usr/lib")).expect("folders");
        fs::write(root.join("usr/lib/libx.so.1.2"), "elf").expect("a file");
        std::os::unix::fs::symlink("usr/lib", root.join("lib")).expect("a link");
        std::os::unix::fs::symlink("libx.so.1.2", root.join("usr/lib/libx.so.1")).expect("a link");

        let mut tree = Tree::default();
        let files = tree.add_host(&root.join("lib/libx.so.1")).expect("it can be added");
        assert_eq!(files.files, [root.join("usr/lib/libx.so.1.2")]);
        let below = |(name, mode, content): (String, u32, Vec<u8>)| {
            let path = Path::new("/").join(name);
            let name = path.strip_prefix(&root).ok()?.to_str()?.to_owned();
            Some((name, mode & 0o170_000, String::from_utf8(content).ok()?))
        };
        let entries: Vec<_> =
            listing(&tree).into_iter().filter_map(below).filter(|entry| !entry.0.is_empty()).collect();
        assert_eq!(
            entries,
            [
                ("lib".to_owned(), 0o120_000, "usr/lib".to_owned()),
                ("usr".to_owned(), 0o040_000, String::new()),
                ("usr/lib".to_owned(), 0o040_000, String::new()),
                ("usr/lib/libx.so.1".to_owned(), 0o120_000, "libx.so.1.2".to_owned()),
                ("usr/lib/libx.so.1.2".to_owned(), 0o100_000, "elf".to_owned()),
            ]
        );
    }

    #[test]
    fn files_of_a_root_are_at_their_paths_below_it_whatever_links_another_root_has() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for (root, folder) in [(&a, "usr/lib"), (&a, "opt"), (&b, "lib"), (&b, "real")] {
            fs::create_dir_all(root.join(folder)).expect("folders");
        }
        for (target, link) in [
            ("usr/lib", a.join("lib")),
            ("/usr/lib/liba.so.1", a.join("usr/lib/liba.so")),
            ("real", b.join("opt")),
        ] {
            std::os::unix::fs::symlink(target, link).expect("a link");
        }
        for path in ["a/usr/lib/liba.so.1", "a/opt/x", "b/lib/libb.so", "b/real/y"] {
            fs::write(dir.path().join(path), path).expect("a file");
        }
        let mut tree = Tree::default();
        for (root, path) in [(&a, "/lib/liba.so"), (&a, "/opt/x"), (&b, "/lib/libb.so"), (&b, "/opt/y")] {
            tree.add_rooted(&Rooted::new(root, path)).expect("it can be added");
        }
        let entries: Vec<_> = listing(&tree)
            .into_iter()
            .filter(|(_, mode, _)| mode & 0o170_000 != 0o040_000)
            .map(|(name, _, content)| format!("{name}: {}", String::from_utf8_lossy(&content)))
            .collect();
        assert_eq!(
            entries,
            [
                "lib: usr/lib",
                "opt/x: a/opt/x",
                "opt/y: b/real/y",
                "usr/lib/liba.so: /usr/lib/liba.so.1",
                "usr/lib/liba.so.1: a/usr/lib/liba.so.1",
                "usr/lib/libb.so: b/lib/libb.so",
            ]
        );
    }

    #[test]
    fn in_a_folder_links_stay_links_and_what_cannot_be_brought_is_left_out() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = dir.path().canonicalize().expect("its real path");
        let root = dir.join("root");
        for folder in ["root/sub", "elsewhere/deep"] {
            fs::create_dir_all(dir.join(folder)).expect("folders");
        }
        for file in ["root/sub/file", "elsewhere/deep/file", "elsewhere/single"] {
            fs::write(dir.join(file), file).expect("a file");
        }
        for (target, link) in [
            ("sub", "folder"),
            ("sub/file", "inner"),
            ("nowhere", "dangling"),
            ("loop", "loop"),
            ("../elsewhere", "outer"),
            ("../elsewhere/single", "single"),
            ("/proc/self", "process"),
            ("/proc/version", "version"),
            ("/dev/null", "device"),
        ] {
            std::os::unix::fs::symlink(target, root.join(link)).expect("a link");
        }
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket");
        let mode = |path: &str, mode| {
            fs::set_permissions(dir.join(path), fs::Permissions::from_mode(mode)).expect("other permissions");
        };
        mode("root/sub", 0o2750);
        mode("root/sub/file", 0o666);
        let mut tree = Tree::default();
        let brought = tree.add_host(&root).expect("it is harmless");
        assert_eq!(brought.files, [dir.join("elsewhere/single"), root.join("sub/file")]);
        let notes = brought.notes(&root);
        assert!(matches!(notes.as_slice(), [one] if one.ends_with("root/outer")), "{notes:?}");
        let below =
            |path: &str| Some(Path::new("/").join(path).strip_prefix(&dir).ok()?.to_str()?.to_owned());
        let entries: Vec<_> = listing(&tree)
            .into_iter()
            .filter_map(|(name, mode, content)| {
                Some(format!("{} {mode:o} {}", below(&name)?, String::from_utf8_lossy(&content)))
            })
            .filter(|line| line.starts_with("root/") || line.starts_with("elsewhere/"))
            .collect();
        assert_eq!(
            entries,
            [
                "elsewhere/single 100644 elsewhere/single",
                "root/dangling 120777 nowhere",
                "root/device 120777 /dev/null",
                "root/folder 120777 sub",
                "root/inner 120777 sub/file",
                "root/loop 120777 loop",
                "root/outer 120777 ../elsewhere",
                "root/process 120777 /proc/self",
                "root/single 120777 ../elsewhere/single",
                "root/sub 42750 ",
                "root/sub/file 100666 root/sub/file",
                "root/version 120777 /proc/version",
            ]
        );
        let error = tree.add_host(Path::new("/proc/version")).expect_err("it is the kernel's");
        assert!(error.to_string().contains("the guest has it of its kernel"), "{error}");
    }

    #[test]
    fn a_file_whose_name_is_no_text_is_sent() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
        fs::write(&path, "odd length").expect("a file");
        let mut tree = Tree::default();
        tree.add_host(&path).expect("it can be added");
        let mut bytes = Vec::new();
        tree.write(&mut bytes).expect("it can be written");
        assert!(!bytes.windows(3).any(|window| window == b"caf"), "the archive has text only");
        let mut sent = Vec::new();
        let hidden = tree.hidden();
        let take = |piece: FilePiece| {
            sent.push((piece.path, piece.data));
            Ok(())
        };
        hidden.send(true, take).expect("it can be read");
        assert_eq!(sent.len(), 2, "the file is made, then filled");
        assert_eq!(sent.last(), Some(&(path.as_os_str().as_bytes().to_vec(), b"odd length".to_vec())));
    }

    #[test]
    fn a_file_that_was_asked_for_is_sent_whole_and_a_program_without_its_debug_information() {
        let program = std::env::current_exe().expect("the test's path");
        let size = fs::metadata(&program).expect("it is there").len();
        let sent = |tree: &Tree| {
            let mut sent = 0;
            let count = |piece: FilePiece| {
                sent += piece.data.len() as u64;
                Ok(())
            };
            tree.send(false, count).expect("it can be read");
            sent
        };
        let mut tree = Tree::default();
        tree.add_rooted(&Rooted::same(&program)).expect("it can be added");
        let (slim, before) = (sent(&tree), tree.identity(false));
        assert!(slim < size, "{slim} of {size}");
        tree.add_host(&program).expect("it can be added");
        assert!(sent(&tree) >= size);
        assert_ne!(tree.identity(false), before);
        // The order does not matter.
        tree.add_rooted(&Rooted::same(&program)).expect("it can be added");
        assert!(sent(&tree) >= size);
    }

    #[test]
    fn what_a_booted_guest_hides_is_known() {
        let mut tree = Tree::with_init(b"init");
        tree.add_bytes("/dev/shm/program", b"x".to_vec(), 0o755);
        tree.add_bytes("/device", b"x".to_vec(), 0o755);
        let hidden = tree.hidden();
        let paths: Vec<_> = hidden.nodes.keys().filter_map(|path| path.to_str()).collect();
        assert_eq!(paths, ["/dev/console", "/dev/shm", "/dev/shm/program"]);
    }

    #[test]
    fn what_lies_between_holes_is_kept() {
        assert_eq!(between(&[6..8, 2..4, 8..9], 10), [0..2, 4..6, 9..10]);
        assert_eq!(between(&[], 3), vec![0..3; 1]);
        assert!(between(&[], 0).is_empty());
    }

    #[test]
    fn a_loop_of_links_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::os::unix::fs::symlink("b", dir.path().join("a")).expect("a link");
        std::os::unix::fs::symlink("a", dir.path().join("b")).expect("a link");
        let error = Tree::default().add_host(&dir.path().join("a")).expect_err("it has no end");
        assert!(error.to_string().contains("too many symbolic links"), "{error}");
    }

    #[test]
    fn equal_trees_give_equal_bytes() {
        let write = || {
            let mut bytes = Vec::new();
            Tree::with_init(b"init").write(&mut bytes).expect("the tree can be written");
            bytes
        };
        assert_eq!(write(), write());
    }
}
