//! Compiled objects, kept by what they were made of.
//!
//! Nothing is ever changed in place: a file is written beside its place and moved there, so that tests in parallel see
//! all of it or nothing. Whatever goes wrong with the cache costs time, never a result.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::depfile::Dependency;
use super::error::CompileError;

/// Where results are kept.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    dir: PathBuf,
}

/// Counts the files that this process writes.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Cache {
    /// The user's cache: `BPF_HARNESS_CACHE`, or `bpf-harness` in the directory that the system has for it, or in that
    /// for temporary files.
    pub(super) fn open() -> Self {
        use etcetera::BaseStrategy;
        let own = std::env::var_os("BPF_HARNESS_CACHE").filter(|d| !d.is_empty()).map(PathBuf::from);
        let system = || etcetera::choose_base_strategy().ok().map(|s| s.cache_dir().join("bpf-harness"));
        let writable = |dir: &PathBuf| std::fs::create_dir_all(dir).is_ok();
        let dir = own.or_else(|| system().filter(writable));
        Self { dir: dir.unwrap_or_else(|| std::env::temp_dir().join("bpf-harness-cache")) }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A name in the cache's directory that nobody else uses. All are as long as each other: objects keep the room that
    /// the names of their sources took.
    pub(super) fn fresh(&self) -> PathBuf {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("tmp.{:010}.{number:010}", std::process::id()))
    }

    /// The file of a name, made by `make` (which is given the path to write to) if it is not there.
    pub(super) fn file(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), CompileError>,
    ) -> Result<PathBuf, CompileError> {
        let path = self.dir.join(name);
        if path.exists() {
            return Ok(path);
        }
        std::fs::create_dir_all(&self.dir).map_err(|e| CompileError::io(&self.dir, &e))?;
        let fresh = self.fresh();
        let made = make(&fresh);
        let moved = made.and_then(|()| match std::fs::rename(&fresh, &path) {
            // Directories do not replace each other: another process was faster.
            Err(_) if path.exists() => Ok(()),
            other => other.map_err(|e| CompileError::io(&path, &e)),
        });
        if moved.is_err() || fresh.exists() {
            remove(&fresh);
        }
        moved.map(|()| path)
    }

    /// The object of a key, if all files that it was made of are still the same.
    pub(super) fn object(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.dir.join(format!("{key}.o"));
        let bytes = std::fs::read(path).ok()?;
        let end = bytes.windows(2).position(|w| w == b"\n\n")?;
        let (deps, object) = bytes.split_at(end);
        let deps = std::str::from_utf8(deps).ok()?;
        let unchanged = deps.lines().all(|line| Dependency::parse(line).is_some_and(|d| d.is_unchanged()));
        unchanged.then(|| object.get(2..).unwrap_or_default().to_vec())
    }

    /// Keeps the object of a key, and the files that it was made of.
    pub(super) fn keep_object(&self, key: &str, deps: &[Dependency], object: &[u8]) {
        let mut bytes: Vec<u8> = deps.iter().flat_map(|d| format!("{d}\n").into_bytes()).collect();
        // The empty line ends the list; an empty list has a line of its own.
        bytes.extend_from_slice(if deps.is_empty() { b"\n\n" } else { b"\n" });
        bytes.extend_from_slice(object);
        let fresh = self.fresh();
        if std::fs::write(&fresh, &bytes).is_ok() {
            // Unlike `file`, this replaces: the old one was of other files.
            let _ = std::fs::rename(&fresh, self.dir.join(format!("{key}.o")));
        }
    }
}

fn remove(path: &Path) {
    // It may be either, or nothing.
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_dir_all(path);
}
