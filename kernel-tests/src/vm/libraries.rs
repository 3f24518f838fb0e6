//! Which shared libraries a program needs, found as glibc's loader finds them (ld.so(8)), but by reading ELF files only:
//! `ldd` runs the program's loader, and is not there for another root or architecture.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use super::error::VmError;
use super::guest;
use super::roots::{Rooted, Roots, below};
use super::{ld_cache, needs};
use crate::kernels::Arch;

/// Where the loader keeps what it knows.
pub(super) const CACHE: &str = "/etc/ld.so.cache";
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
#[derive(Debug, Clone)]
pub(super) struct Search {
    /// `LD_LIBRARY_PATH`, in order, as it is written.
    library_path: Vec<String>,
    /// The same as folders, for one program.
    named: Vec<PathBuf>,
    /// Where relative paths begin.
    cwd: PathBuf,
    /// Where files are on the host.
    pub(super) roots: Roots,
}

impl Search {
    /// Those of a host or a system root, with the given `LD_LIBRARY_PATH`, for a program in the folder `cwd`.
    #[must_use]
    pub(super) fn new(roots: Roots, library_path: &str, cwd: &Path) -> Self {
        let folders = library_path.split([':', ';']).filter(|_| !library_path.is_empty());
        let library_path = folders.map(str::to_owned).collect();
        Self { library_path, named: Vec::new(), cwd: cwd.to_path_buf(), roots }
    }

    /// Everything that `program` loads at its start: the interpreter (PT_INTERP) and the closure of DT_NEEDED. Empty for
    /// a static program. The paths are as found, links unresolved.
    pub(super) fn closure(&self, program: &Rooted) -> Result<Vec<Rooted>, VmError> {
        self.collect(program, &mut Err)
    }

    /// What of that is there, for a file that may never be started.
    pub(super) fn found(&self, file: &Rooted) -> Vec<Rooted> {
        self.collect(file, &mut |_| Ok(())).unwrap_or_default()
    }

    fn collect(
        &self,
        program: &Rooted,
        missing: &mut dyn FnMut(VmError) -> Result<(), VmError>,
    ) -> Result<Vec<Rooted>, VmError> {
        let mut found = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut search = self.clone();
        // Each object with the RPATHs of those that loaded it: DT_RPATH is inherited, DT_RUNPATH is not.
        let mut pending = VecDeque::from([(program.clone(), Vec::new())]);
        let mut first = true;
        while let Some((object, inherited)) = pending.pop_front() {
            let needs = match needs::of(&object.host()) {
                Ok(needs) => needs,
                Err(error) => {
                    missing(error)?;
                    continue;
                }
            };
            let origin = object.origin();
            let arch = guest::arch(needs.machine).unwrap_or(Arch::of_host());
            let expand = |folder: &str| -> Vec<PathBuf> {
                let folders = expand_tokens(folder, origin.as_deref(), arch);
                folders.into_iter().map(|folder| self.cwd.join(folder)).collect()
            };
            if std::mem::take(&mut first) {
                search.named = self.library_path.iter().flat_map(|folder| expand(folder)).collect();
                if let Some(loader) = needs.interpreter {
                    match search.roots.prefer(Path::new(&loader)) {
                        Some(place) => {
                            found.insert(place);
                        }
                        None => missing(VmError::LoaderMissing {
                            program: program.path.clone(),
                            loader: loader.clone(),
                            searched: self.roots.iter().map(|root| root.display().to_string()).collect(),
                        })?,
                    }
                }
            }
            let expand = |lists: &[String]| -> Vec<PathBuf> {
                let folders =
                    lists.iter().flat_map(|list| list.split(':')).filter(|folder| !folder.is_empty());
                folders.flat_map(expand).collect()
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
                let Some(place) = search.find(library, &rpath, &runpath, needs.machine) else {
                    missing(VmError::LibraryMissing {
                        library: library.clone(),
                        needed_by: object.path.clone(),
                        searched: search.searched(&rpath, &runpath),
                    })?;
                    continue;
                };
                if found.insert(place.clone()) {
                    pending.push_back((place, rpath.clone()));
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    fn find(&self, library: &str, rpath: &[PathBuf], runpath: &[PathBuf], machine: u16) -> Option<Rooted> {
        // What an object or the user names is searched everywhere before anything else.
        let anywhere = |path: &Path| {
            let mut places = self.roots.with_host().map(|root| Rooted::new(root, path));
            places.find(|file| is_for(file, machine))
        };
        if library.contains('/') {
            return anywhere(&self.cwd.join(library));
        }
        let before = if runpath.is_empty() { rpath } else { &[] };
        let mut named = before.iter().chain(&self.named).chain(runpath);
        named.find_map(|folder| anywhere(&folder.join(library))).or_else(|| {
            self.roots.iter().find_map(|root| {
                let cache = fs::read(below(root, Path::new(CACHE))).unwrap_or_default();
                let cached = ld_cache::lookup(&cache, library).into_iter().map(PathBuf::from);
                cached
                    .chain(DEFAULT_FOLDERS.iter().map(|folder| Path::new(folder).join(library)))
                    .map(|path| Rooted::new(root, path))
                    .find(|file| is_for(file, machine))
            })
        })
    }

    fn searched(&self, rpath: &[PathBuf], runpath: &[PathBuf]) -> Vec<String> {
        let named = rpath.iter().chain(runpath).chain(&self.named).cloned();
        let usual = |root: &Path| {
            let folders = DEFAULT_FOLDERS.iter().copied().chain([CACHE]);
            folders.map(|folder| below(root, Path::new(folder))).filter(|f| f.exists()).collect::<Vec<_>>()
        };
        let mut folders = Vec::new();
        for folder in named.chain(self.roots.iter().flat_map(usual)) {
            let folder = folder.display().to_string();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }
}

/// A library of another architecture is passed over, as the loader does.
fn is_for(file: &Rooted, machine: u16) -> bool {
    needs::machine(&file.host()) == Some(machine)
}

/// The folders that one with tokens (ld.so(8)) may mean: what `$LIB` is depends on the distribution that built the loader.
fn expand_tokens(folder: &str, origin: Option<&Path>, arch: Arch) -> Vec<PathBuf> {
    let origin = origin.map(|path| path.display().to_string()).unwrap_or_default();
    let multiarch = format!("lib/{}-linux-gnu", arch.cpu());
    let mut folders: Vec<PathBuf> = Vec::new();
    for lib in [multiarch.as_str(), "lib64", "lib"] {
        let mut text = folder.to_owned();
        for (token, value) in [("ORIGIN", origin.as_str()), ("LIB", lib), ("PLATFORM", arch.cpu())] {
            text = text.replace(&format!("${{{token}}}"), value).replace(&format!("${token}"), value);
        }
        let folder = PathBuf::from(text);
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(root: &Path, library_path: &str) -> Search {
        let named = Some(root).filter(|root| *root != Path::new("/"));
        Search::new(Roots::new(Some(Arch::of_host()), named), library_path, Path::new("/"))
    }

    fn this() -> Rooted {
        Rooted::same(std::env::current_exe().expect("the test's path"))
    }

    fn paths(found: Vec<Rooted>) -> Vec<PathBuf> {
        found.iter().map(Rooted::host).collect()
    }

    fn libc(found: &[PathBuf]) -> Option<PathBuf> {
        found.iter().find(|path| path.ends_with("libc.so.6")).cloned()
    }

    #[test]
    fn this_test_binary_finds_its_c_library_and_loader() {
        let paths = paths(search(Path::new("/"), "").closure(&this()).expect("what runs has its libraries"));
        let names: Vec<_> = paths.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert!(names.iter().any(|name| name.starts_with("libc.so")), "{names:?}");
        assert!(
            names.iter().any(|name| name.starts_with("ld-linux") || name.starts_with("ld-musl")),
            "{names:?}"
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_one_that_needs_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let error = search(dir.path(), "").closure(&this()).expect_err("nothing is there");
        let VmError::LoaderMissing { loader, searched, .. } = &error else { panic!("{error}") };
        assert_eq!(*searched, [dir.path().display().to_string()]);
        // With the loader alone, a library is what is missing.
        let place = below(dir.path(), Path::new(loader));
        fs::create_dir_all(place.parent().expect("a folder")).expect("folders");
        fs::copy(loader, &place).expect("a copy of the loader");
        let error = search(dir.path(), "").closure(&this()).expect_err("nothing else is there");
        let VmError::LibraryMissing { needed_by, searched, .. } = &error else { panic!("{error}") };
        assert_eq!(*needed_by, this().path);
        assert!(searched.iter().all(|folder| Path::new(folder).starts_with(dir.path())), "{searched:?}");
    }

    #[test]
    fn the_library_path_comes_before_the_defaults() {
        let Some(libc) = libc(&paths(search(Path::new("/"), "").closure(&this()).expect("found"))) else {
            return;
        };
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::copy(&libc, dir.path().join("libc.so.6")).expect("a copy of the C library");
        let search = search(Path::new("/"), &dir.path().display().to_string());
        let paths = paths(search.closure(&this()).expect("found"));
        assert!(paths.contains(&dir.path().join("libc.so.6")), "{paths:?}");
        assert!(!paths.contains(&libc), "{paths:?}");
    }

    #[test]
    fn a_system_root_has_its_own_loader_and_libraries_at_the_guests_paths() {
        let host = search(Path::new("/"), "").closure(&this()).expect("found");
        let dir = tempfile::tempdir().expect("a temporary folder");
        // Libraries in another of the default folders than the host has them in.
        let mut expected = Vec::new();
        for file in &host {
            let name = file.path.file_name().expect("a name");
            let loader = name.to_string_lossy().starts_with("ld-");
            let path = if loader { file.path.clone() } else { Path::new("/usr/lib").join(name) };
            let copy = Rooted::new(dir.path(), path);
            fs::create_dir_all(copy.host().parent().expect("a folder")).expect("folders");
            fs::copy(file.host(), copy.host()).expect("a copy");
            expected.push(copy);
        }
        expected.sort();
        assert_eq!(search(dir.path(), "").closure(&this()).expect("found"), expected);
    }

    #[test]
    fn text_is_not_a_program() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("notes.txt");
        fs::write(&path, "hello").expect("a file");
        let error = search(Path::new("/"), "").closure(&Rooted::same(path)).expect_err("it is no ELF file");
        assert!(error.to_string().contains("not a program for Linux"), "{error}");
    }

    #[test]
    fn tokens_of_a_run_path_are_replaced() {
        let origin = Some(Path::new("/opt/x/bin"));
        let expand = |text, arch| expand_tokens(text, origin, arch);
        let one = |path: &str| vec![PathBuf::from(path)];
        assert_eq!(expand("$ORIGIN/../lib", Arch::Amd64), one("/opt/x/bin/../lib"));
        assert_eq!(expand("${ORIGIN}/l", Arch::Amd64), one("/opt/x/bin/l"));
        assert_eq!(expand("/l/$PLATFORM", Arch::Arm64), one("/l/aarch64"));
        let folders = ["/opt/x/bin/../lib/x86_64-linux-gnu", "/opt/x/bin/../lib64", "/opt/x/bin/../lib"];
        assert_eq!(expand("$ORIGIN/../$LIB", Arch::Amd64), folders.map(PathBuf::from));
    }

    #[test]
    fn relative_folders_of_the_library_path_begin_at_the_working_directory() {
        let Some(libc) = libc(&paths(search(Path::new("/"), "").closure(&this()).expect("found"))) else {
            return;
        };
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("own")).expect("a folder");
        let copy = dir.path().join("own/libc.so.6");
        fs::copy(&libc, &copy).expect("a copy of the C library");
        for (path, cwd) in [("own", ""), ("/nonexistent:./own", ""), ("", "own"), ("/nonexistent:", "own")] {
            let roots = Roots::new(Some(Arch::of_host()), None);
            let search = Search::new(roots, path, &dir.path().join(cwd));
            let found = paths(search.closure(&this()).expect("found"));
            // Nothing at all is no folder; an empty part of a list is the current one.
            assert_eq!(
                found.iter().any(|file| file.canonicalize().ok() == copy.canonicalize().ok()),
                !path.is_empty()
            );
        }
    }

    #[test]
    fn of_a_file_that_may_never_be_started_what_is_there_is_found() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert!(search(dir.path(), "").found(&this()).is_empty());
        let text = dir.path().join("corpus");
        fs::write(&text, b"\x7fELF\x02\x01 and noise").expect("a file");
        assert!(search(Path::new("/"), "").found(&Rooted::same(text)).is_empty());
        let all = search(Path::new("/"), "").closure(&this()).expect("found");
        assert_eq!(search(Path::new("/"), "").found(&this()), all);
    }
}
