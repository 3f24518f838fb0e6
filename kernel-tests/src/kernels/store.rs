//! The folder where kernels are kept, one folder each. A kernel is built beside its place and moved there whole, under
//! a lock, so that any number of processes may ask for it at once and none sees half of one.
//!
//! ```text
//! kernels/amd64/6.12.38+deb12-cloud-amd64/{image.json, vmlinuz, vmlinux, btf, config, modules/*.ko}
//! kernels/amd64/6.12.38+deb12-cloud-amd64.lock
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs4::fs_std::FileExt;
use serde::{Deserialize, Serialize};

use super::btf;
use super::error::KernelsError;
use super::image::{KernelImage, Module};
use super::parts::{BOOT, Parts};
use super::report::{Event, Report};
use super::version::{Arch, Version};
use super::vmlinuz;

/// Raised when what is written changes, so that folders of an older form are made again.
const FORM: u32 = 2;
const DESCRIPTION: &str = "image.json";
/// How folders that are being filled are named, and after what time nobody fills them any more.
const SCRATCH: &str = ".new-";
const STALE: Duration = Duration::from_secs(24 * 3600);

/// How the folders of kernels in files of the user's are named.
pub(super) const FILE_NAME: &str = "file-";

/// What `image.json` holds.
#[derive(Serialize, Deserialize)]
struct Description {
    form: u32,
    /// Paths in it are relative to the folder, which may be moved.
    image: KernelImage,
    /// The size of every file, by which damage shows.
    files: BTreeMap<PathBuf, u64>,
}

/// The kept kernels of one architecture.
#[derive(Clone, Debug)]
pub(super) struct Store {
    dir: PathBuf,
}

/// A lock on something in the store; let go when it is dropped, by the system if the process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Store {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Every kept kernel that is whole, oldest first; each that is damaged is told.
    pub(super) fn list(&self, damaged: &dyn Fn(KernelsError)) -> Vec<KernelImage> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names =
            entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| !n.starts_with(SCRATCH));
        let load = |name: String| self.load(&name).map_err(damaged).ok().flatten();
        let mut images: Vec<KernelImage> = names.filter_map(load).collect();
        images.sort_by(|a, b| (a.version, &a.release).cmp(&(b.version, &b.release)));
        images
    }

    /// The kept kernel of a name, if it is there.
    pub(super) fn load(&self, name: &str) -> Result<Option<KernelImage>, KernelsError> {
        let dir = self.dir.join(name);
        let file = dir.join(DESCRIPTION);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(e)
                if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(KernelsError::io("read", &file)(e)),
        };
        let bad = |what: String| KernelsError::BadCache { path: dir.clone(), what };
        let form: Form = serde_json::from_slice(&text).map_err(|e| bad(format!("{DESCRIPTION}: {e}")))?;
        if form.form != FORM {
            return Ok(None);
        }
        let Description { mut image, files, .. } =
            serde_json::from_slice(&text).map_err(|e| bad(format!("{DESCRIPTION}: {e}")))?;
        for (file, size) in &files {
            match fs::metadata(dir.join(file)) {
                Ok(meta) if meta.len() == *size => {}
                Ok(meta) => {
                    return Err(bad(format!("{} has {} bytes, not {size}", file.display(), meta.len())));
                }
                Err(e) => return Err(bad(format!("{}: {e}", file.display()))),
            }
        }
        // Absolute paths (a vmlinux of the user's) stay what they are.
        rebase(&mut image, &|path| dir.join(path));
        Ok(Some(image))
    }

    /// Takes the lock of a name, waiting for whoever has it.
    pub(super) fn lock(&self, name: &str, report: &dyn Report) -> Result<Lock, KernelsError> {
        fs::create_dir_all(&self.dir).map_err(KernelsError::io("create", &self.dir))?;
        let path = self.dir.join(format!("{name}.lock"));
        let file =
            File::options().create(true).append(true).open(&path).map_err(KernelsError::io("open", &path))?;
        if !file.try_lock_exclusive().map_err(KernelsError::io("lock", &path))? {
            report.event(Event::Waiting { what: name.to_owned() });
            file.lock_exclusive().map_err(KernelsError::io("lock", &path))?;
            report.event(Event::Done);
        }
        Ok(Lock { _file: file })
    }

    /// A folder beside the kernels, on the same file system; gone when dropped.
    pub(super) fn scratch(&self) -> Result<tempfile::TempDir, KernelsError> {
        self.sweep();
        tempfile::Builder::new()
            .prefix(SCRATCH)
            .tempdir_in(&self.dir)
            .map_err(KernelsError::io("create a folder in", &self.dir))
    }

    /// Removes what was kept of a file before it was written again (`name` is what it is now), and of files that are gone,
    /// unless it is so new that somebody may be about to boot it.
    pub(super) fn prune_files(&self, name: &str, origin: &str, older: Duration) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let Ok(other) = entry.file_name().into_string() else { continue };
            if !other.starts_with(FILE_NAME) || other == name || !entry.path().is_dir() {
                continue;
            }
            let age = entry.metadata().and_then(|m| m.modified()).map(|t| t.elapsed().unwrap_or_default());
            let Ok(Some(image)) = self.load(&other) else { continue };
            let gone = || image.origin.split_once('/').is_some_and(|(_, p)| !Path::new("/").join(p).exists());
            if age.is_ok_and(|age| age >= older) && (image.origin == origin || gone()) {
                // It is tried again the next time.
                let _ = fs::remove_dir_all(entry.path());
                let _ = fs::remove_file(self.dir.join(format!("{other}.lock")));
            }
        }
    }

    /// Removes folders that a killed process left long ago.
    fn sweep(&self) {
        let long_ago = |e: &fs::DirEntry| {
            let age = e.metadata().and_then(|m| m.modified()).map(|t| t.elapsed().unwrap_or_default());
            e.file_name().to_string_lossy().starts_with(SCRATCH) && age.is_ok_and(|age| age > STALE)
        };
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten().filter(long_ago) {
            // It is tried again the next time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }

    /// Writes a kernel from its parts and gives it back from its place. The caller holds the name's lock.
    pub(super) fn put(
        &self,
        name: &str,
        parts: &Parts,
        from: &Source<'_>,
        _lock: &Lock,
    ) -> Result<KernelImage, KernelsError> {
        let scratch = self.scratch()?;
        let dir = scratch.path();
        let bad = |what: String| KernelsError::BadImage { path: from.path.to_owned(), what };
        let (named, packed) = parts.vmlinuz.as_ref().ok_or_else(|| bad("no vmlinuz is in it".to_owned()))?;
        let unpacked = vmlinuz::open(packed).map_err(&bad)?;
        let (release, version) = identify(unpacked.banner.as_deref(), named, from.version)
            .ok_or_else(|| bad("it does not say its version".to_owned()))?;

        let mut files = BTreeMap::new();
        let mut write = |file: &Path, content: &[u8]| {
            let path = dir.join(file);
            fs::write(&path, content).map_err(KernelsError::io("write", &path))?;
            files.insert(file.to_owned(), content.len() as u64);
            Ok::<PathBuf, KernelsError>(file.to_owned())
        };
        // An image that needs no unpacking may stay where the user has it.
        let in_place = from.in_place.filter(|_| unpacked.vmlinux == *packed).map(Path::to_owned);
        let (vmlinuz, vmlinux) = match in_place {
            Some(path) => (path.clone(), path),
            None => {
                let vmlinuz = write(Path::new("vmlinuz"), packed)?;
                // arm64's is not packed.
                let same = unpacked.vmlinux == *packed;
                let vmlinux =
                    if same { vmlinuz.clone() } else { write(Path::new("vmlinux"), &unpacked.vmlinux)? };
                (vmlinuz, vmlinux)
            }
        };
        let raw_btf = btf::of_kernel(&unpacked.vmlinux);
        let btf = raw_btf.map(|btf| write(Path::new("btf"), btf)).transpose()?;
        let builtin = match &parts.builtin {
            Some(names) => names.iter().cloned().collect(),
            None => btf::builtin(raw_btf.unwrap_or_default()),
        };
        let modules = dir.join("modules");
        fs::create_dir(&modules).map_err(KernelsError::io("create", &modules))?;
        let mut available = Vec::new();
        for kept in parts.kept_modules().map_err(&bad)? {
            let path = write(&Path::new("modules").join(format!("{}.ko", kept.name)), &kept.bytes)?;
            available.push(Module { name: kept.name, path, depends: kept.depends });
        }
        let mut image = KernelImage {
            version,
            release,
            arch: unpacked.arch,
            vmlinuz,
            vmlinux,
            modules: Vec::new(),
            available,
            builtin,
            btf,
            config: parts.config.clone(),
            origin: from.origin.to_owned(),
        };
        // One that is not there is built in: no kernel of the cloud flavour lacks it.
        let boot: Vec<&str> =
            BOOT.into_iter().filter(|b| image.available.iter().any(|m| m.name == *b)).collect();
        image.modules = load_present(&image, &boot);
        let description = Description { form: FORM, image, files };
        let text = serde_json::to_vec_pretty(&description).map_err(|e| bad(e.to_string()))?;
        let file = dir.join(DESCRIPTION);
        fs::write(&file, text).map_err(KernelsError::io("write", &file))?;

        let place = self.dir.join(name);
        // Whatever is there is of an older form or damaged, or it would not be made again.
        if place.exists() {
            fs::remove_dir_all(&place).map_err(KernelsError::io("remove", &place))?;
        }
        fs::rename(dir, &place).map_err(KernelsError::io("move a new kernel to", &place))?;
        // It is the place now, and not to be removed.
        let _ = scratch.keep();
        self.load(name)?.ok_or_else(|| KernelsError::BadCache { path: place, what: "it is gone".to_owned() })
    }
}

/// Only the form, which every version of a description has.
#[derive(Deserialize)]
struct Form {
    form: u32,
}

/// Where parts came from.
#[derive(Debug)]
pub(super) struct Source<'a> {
    /// For error messages.
    pub(super) path: &'a Path,
    /// For people.
    pub(super) origin: &'a str,
    /// The upstream version, where a package's version says it.
    pub(super) version: Option<Version>,
    /// The user's own file.
    pub(super) in_place: Option<&'a Path>,
}

/// Release and upstream version. Debian's release says 6.1.0-37, its banner "Debian 6.1.140-1".
fn identify(banner: Option<&str>, named: &str, version: Option<Version>) -> Option<(String, Version)> {
    let banner = banner.unwrap_or_default();
    let release = match banner.split_whitespace().next() {
        Some(release) if Version::of_release(release).is_some() => release,
        _ => named,
    };
    let upstream = || {
        let after = banner.split_once(" Debian ")?.1;
        Version::of_release(after)
    };
    let version = version.or_else(upstream).or_else(|| Version::of_release(release))?;
    Some((release.to_owned(), version))
}

/// Load order without those that a dependency of is missing: the list of built-in modules may be missing too.
fn load_present(image: &KernelImage, names: &[&str]) -> Vec<PathBuf> {
    let mut tolerant = image.clone();
    let missing = image.available.iter().flat_map(|m| &m.depends);
    tolerant.builtin.extend(missing.cloned());
    tolerant.load_order(names).unwrap_or_default()
}

/// Changes every path of an image.
fn rebase(image: &mut KernelImage, change: &dyn Fn(&Path) -> PathBuf) {
    let modules = image.modules.iter_mut().chain(image.available.iter_mut().map(|m| &mut m.path));
    for path in modules.chain([&mut image.vmlinuz, &mut image.vmlinux]).chain(image.btf.as_mut()) {
        *path = change(path);
    }
}

/// The folder of an architecture below the cache.
pub(super) fn folder(cache: &Path, arch: Arch) -> PathBuf {
    cache.join("kernels").join(arch.name())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
