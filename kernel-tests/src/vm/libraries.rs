//! Which shared libraries a program needs, found as glibc's loader finds them (ld.so(8)), but by reading ELF files only:
//! `ldd` runs the program's loader, and is not there for another root or architecture.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::VmError;
use super::{ld_cache, needs};

/// Where the loader looks after the cache. The Debian multiarch folders are built into Debian's loader.
const DEFAULT_FOLDERS: &[&str] = &[
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// Where libraries are looked for besides what the objects themselves say.
#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    /// `LD_LIBRARY_PATH`, in order.
    pub library_path: Vec<PathBuf>,
    /// The contents of `/etc/ld.so.cache`.
    pub cache: Vec<u8>,
    /// The last resort.
    pub default_folders: Vec<PathBuf>,
}

impl Search {
    /// The host's: its cache, its default folders, the given `LD_LIBRARY_PATH`.
    #[must_use]
    pub(super) fn of_host(library_path: &str) -> Self {
        Self {
            library_path: library_path
                .split([':', ';'])
                .filter(|folder| folder.starts_with('/'))
                .map(PathBuf::from)
                .collect(),
            cache: fs::read("/etc/ld.so.cache").unwrap_or_default(),
            default_folders: DEFAULT_FOLDERS.iter().map(PathBuf::from).collect(),
        }
    }

    /// The paths of everything that `program` loads at its start: the interpreter (PT_INTERP) and the closure of
    /// DT_NEEDED. Empty for a static program. The paths are as found, links unresolved.
    pub(super) fn closure(&self, program: &Path) -> Result<Vec<PathBuf>, VmError> {
        let mut found = BTreeSet::new();
        let mut names = BTreeSet::new();
        // Each object with the RPATHs of those that loaded it: DT_RPATH is inherited, DT_RUNPATH is not.
        let mut pending = VecDeque::from([(program.to_path_buf(), Vec::new())]);
        let mut first = true;
        while let Some((path, inherited)) = pending.pop_front() {
            let needs = needs::read(&path).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => {
                    let reason = format!("not a program for Linux (ELF): {error}");
                    VmError::BadFile { path: path.clone(), reason }
                }
                _ => VmError::io(format!("read {}", path.display()))(error),
            })?;
            if std::mem::take(&mut first)
                && let Some(interpreter) = needs.interpreter
            {
                found.insert(PathBuf::from(interpreter));
            }
            let origin = path.canonicalize().ok().and_then(|real| real.parent().map(Path::to_path_buf));
            let expand = |lists: &[String]| -> Vec<PathBuf> {
                let folders =
                    lists.iter().flat_map(|list| list.split(':')).filter(|folder| !folder.is_empty());
                folders.map(|folder| expand_tokens(folder, origin.as_deref())).collect()
            };
            let runpath = expand(&needs.runpaths);
            let mut rpath = inherited;
            if runpath.is_empty() {
                rpath.splice(0..0, expand(&needs.rpaths));
            }
            for library in &needs.libraries {
                if !names.insert(library.clone()) {
                    continue;
                }
                let place = self.find(library, &rpath, &runpath, needs.machine).ok_or_else(|| {
                    VmError::LibraryMissing {
                        library: library.clone(),
                        needed_by: path.clone(),
                        searched: self.searched(&rpath, &runpath),
                    }
                })?;
                if found.insert(place.clone()) {
                    pending.push_back((place, rpath.clone()));
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    fn find(&self, library: &str, rpath: &[PathBuf], runpath: &[PathBuf], machine: u16) -> Option<PathBuf> {
        if library.contains('/') {
            return Some(PathBuf::from(library)).filter(|path| is_for(path, machine));
        }
        let before = if runpath.is_empty() { rpath } else { &[] };
        let folders = before.iter().chain(&self.library_path).chain(runpath);
        let cached = ld_cache::lookup(&self.cache, library).into_iter().map(PathBuf::from);
        folders
            .map(|folder| folder.join(library))
            .chain(cached)
            .chain(self.default_folders.iter().map(|folder| folder.join(library)))
            .find(|path| is_for(path, machine))
    }

    fn searched(&self, rpath: &[PathBuf], runpath: &[PathBuf]) -> Vec<String> {
        let mut folders = Vec::new();
        for folder in rpath.iter().chain(runpath).chain(&self.library_path).chain(&self.default_folders) {
            let folder = folder.display().to_string();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders.push("/etc/ld.so.cache".to_owned());
        folders
    }
}

/// A library of another architecture is passed over, as the loader does.
fn is_for(path: &Path, machine: u16) -> bool {
    let mut header = [0u8; 20];
    let read = fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut header));
    read.is_ok() && header.starts_with(b"\x7fELF") && header.get(18..20) == Some(&machine.to_le_bytes())
}

fn expand_tokens(folder: &str, origin: Option<&Path>) -> PathBuf {
    let origin = origin.map(|path| path.display().to_string()).unwrap_or_default();
    let mut text = folder.to_owned();
    for (token, value) in [("ORIGIN", origin.as_str()), ("LIB", "lib64"), ("PLATFORM", "x86_64")] {
        text = text.replace(&format!("${{{token}}}"), value).replace(&format!("${token}"), value);
    }
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_binary_finds_its_c_library_and_loader() {
        let program = std::env::current_exe().expect("the test's path");
        let paths = Search::of_host("").closure(&program).expect("a program that runs has its libraries");
        let names: Vec<_> = paths.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert!(names.iter().any(|name| name.starts_with("libc.so")), "{names:?}");
        assert!(
            names.iter().any(|name| name.starts_with("ld-linux") || name.starts_with("ld-musl")),
            "{names:?}"
        );
    }

    #[test]
    fn a_missing_library_is_named_with_the_one_that_needs_it() {
        let program = std::env::current_exe().expect("the test's path");
        let error = Search::default().closure(&program).expect_err("nothing is searched");
        let VmError::LibraryMissing { needed_by, searched, .. } = &error else { panic!("{error}") };
        assert_eq!(*needed_by, program);
        assert_eq!(*searched, ["/etc/ld.so.cache"]);
    }

    #[test]
    fn the_library_path_comes_before_the_defaults() {
        let program = std::env::current_exe().expect("the test's path");
        let host = Search::of_host("");
        let libc =
            host.closure(&program).expect("found").into_iter().find(|path| path.ends_with("libc.so.6"));
        let Some(libc) = libc else { return };
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::copy(&libc, dir.path().join("libc.so.6")).expect("a copy of the C library");
        let search = Search::of_host(&dir.path().display().to_string());
        let paths = search.closure(&program).expect("found");
        assert!(paths.contains(&dir.path().join("libc.so.6")), "{paths:?}");
        assert!(!paths.contains(&libc), "{paths:?}");
    }

    #[test]
    fn text_is_not_a_program() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("notes.txt");
        fs::write(&path, "hello").expect("a file");
        let error = Search::of_host("").closure(&path).expect_err("it is no ELF file");
        assert!(error.to_string().contains("not a program for Linux"), "{error}");
    }

    #[test]
    fn tokens_of_a_run_path_are_replaced() {
        let origin = Some(Path::new("/opt/x/bin"));
        assert_eq!(expand_tokens("$ORIGIN/../lib", origin), Path::new("/opt/x/bin/../lib"));
        assert_eq!(expand_tokens("${ORIGIN}/l", origin), Path::new("/opt/x/bin/l"));
    }
}
