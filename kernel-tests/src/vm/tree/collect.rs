//! What is brought along of the host: its files, folders, programs and sources, through the links that lead to them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, access};

use super::{HostFile, Node, Tree};
use crate::vm::error::VmError;
use crate::vm::roots::{Rooted, below};

/// Symbolic links followed on the way to one file, as in the kernel (MAXSYMLINKS).
const MAX_LINKS: usize = 40;
/// File systems whose files are the kernel's own words.
const KERNELS: [&str; 2] = ["/proc", "/sys"];

/// More of a workspace is brought along when it is asked for.
const MAX_SOURCES: usize = 10_000;
pub(super) const MAX_SOURCE_BYTES: u64 = 64 << 20;

/// What was brought along of a path.
#[derive(Debug, Default)]
pub(in crate::vm) struct Brought {
    /// The regular files.
    pub(in crate::vm) files: Vec<PathBuf>,
    /// Whether it is a folder, whose files are there for whatever reason.
    pub(in crate::vm) folder: bool,
    /// What in it this user may not read.
    unreadable: Vec<PathBuf>,
    /// Links in it to folders that are not in it.
    outward: Vec<PathBuf>,
}

impl Brought {
    /// What of it the guest does not get, in words.
    pub(in crate::vm) fn notes(&self, path: &Path) -> Vec<String> {
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
pub(in crate::vm) struct TooLarge {
    pub(in crate::vm) files: usize,
    pub(in crate::vm) bytes: u64,
}

impl Tree {
    /// Adds the host's file or folder (with all below it) at its own absolute path; symbolic links on the way are added
    /// as links and followed. In a folder links stay links, and only a file that one leads to elsewhere comes along; what
    /// cannot be brought from there (sockets, devices, files of the kernel) is left out.
    pub(in crate::vm) fn add_host(&mut self, path: &Path) -> Result<Brought, VmError> {
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
    pub(in crate::vm) fn add_rooted(&mut self, file: &Rooted) -> Result<(), VmError> {
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
    pub(in crate::vm) fn add_sources(&mut self, root: &Path) -> Result<Option<TooLarge>, VmError> {
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
    pub(in crate::vm) fn add_host_at(&mut self, host: &Path, at: &Path) -> Result<(), VmError> {
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
