//! Where on the host the guest's files are: at the same paths below one of several roots.
//!
//! For guests of this machine's architecture the only root is `/`. What programs for another one need is either there too
//! (Debian's multiarch folders have a name for each architecture), or in a system root: the folder of a cross compiler's C
//! library, or the one that the user names. A file at `ROOT/lib/x` is at `/lib/x` in the guest.

use std::path::{Path, PathBuf};

use super::guest;
use super::needs;
use super::qemu::is_executable;
use crate::kernels::Arch;

/// Where the guest looks for programs.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A file of the host and its path in the guest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rooted {
    /// Where it starts, on the host.
    pub(super) root: PathBuf,
    /// Its absolute path in the guest.
    pub(super) path: PathBuf,
}

impl Rooted {
    pub(super) fn new(root: &Path, path: impl Into<PathBuf>) -> Self {
        Self { root: root.to_path_buf(), path: path.into() }
    }

    /// A file that is at the same path on both.
    pub(super) fn same(path: impl Into<PathBuf>) -> Self {
        Self::new(Path::new("/"), path)
    }

    /// Its path on the host.
    pub(super) fn host(&self) -> PathBuf {
        below(&self.root, &self.path)
    }

    /// The folder that it really lies in, as the guest sees it: what `$ORIGIN` is.
    pub(super) fn origin(&self) -> Option<PathBuf> {
        let real = self.host().canonicalize().ok()?;
        let root = self.root.canonicalize().ok()?;
        let folder = real.strip_prefix(root).ok()?.parent()?;
        Some(Path::new("/").join(folder))
    }
}

/// A guest's path on the host.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The roots for guests of one architecture, the first to be preferred.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    /// Of what architecture files have to be; `None` takes any.
    arch: Option<Arch>,
    /// The user named one.
    named: bool,
    all: Vec<PathBuf>,
}

impl Roots {
    /// The named root, or this machine's and those that cross compilers bring.
    pub(super) fn new(arch: Option<Arch>, sysroot: Option<&Path>) -> Self {
        if let Some(root) = sysroot {
            return Self { arch, named: true, all: vec![root.to_path_buf()] };
        }
        let mut all = vec![PathBuf::from("/")];
        if let Some(foreign) = arch.filter(|arch| *arch != Arch::of_host()) {
            let cpu = foreign.cpu();
            // Debian's, Ubuntu's and Arch's; Fedora's.
            for folder in [format!("/usr/{cpu}-linux-gnu"), format!("/usr/{cpu}-linux-gnu/sys-root")] {
                all.extend(Some(PathBuf::from(folder)).filter(|folder| folder.join("lib").exists()));
            }
        }
        Self { arch, named: false, all }
    }

    /// All of them, in the order of preference.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.all.iter().map(PathBuf::as_path)
    }

    /// Where a path that an object names is looked for: also where the program itself is.
    pub(super) fn with_host(&self) -> impl Iterator<Item = &Path> {
        let host = Some(Path::new("/")).filter(|host| !self.all.iter().any(|root| root == host));
        self.iter().chain(host)
    }

    /// The first file at this path that a guest of the architecture can execute.
    pub(super) fn find(&self, path: &Path) -> Option<Rooted> {
        self.iter().map(|root| Rooted::new(root, path)).find(|file| self.takes(file))
    }

    /// The same, and its root comes first from then on: a loader goes with its own C library.
    pub(super) fn prefer(&mut self, path: &Path) -> Option<Rooted> {
        let found = self.find(path)?;
        self.all.sort_by_key(|root| *root != found.root);
        Some(found)
    }

    /// The program of this name in a root that the user named.
    pub(super) fn program(&self, name: &Path) -> Option<Rooted> {
        let folders = PATH.split(':').filter(|_| self.named && name.components().count() == 1);
        folders
            .flat_map(|folder| self.iter().map(move |root| Rooted::new(root, Path::new(folder).join(name))))
            .find(|file| is_executable(&file.host()))
    }

    fn takes(&self, file: &Rooted) -> bool {
        let host = file.host();
        match (self.arch, needs::machine(&host)) {
            (Some(arch), Some(machine)) => guest::arch(machine).is_none_or(|is| is == arch),
            // A script, which says itself what it needs.
            _ => is_executable(&host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_of_a_root_is_at_its_path_below_it() {
        let file = Rooted::new(Path::new("/usr/aarch64-linux-gnu"), "/lib/libc.so.6");
        assert_eq!(file.host(), Path::new("/usr/aarch64-linux-gnu/lib/libc.so.6"));
        assert_eq!(Rooted::same("/bin/sh").host(), Path::new("/bin/sh"));
    }

    #[test]
    fn what_an_object_calls_its_origin_is_a_path_of_the_guest() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(dir.path().join("usr/lib")).expect("folders");
        fs::write(dir.path().join("usr/lib/libx.so"), "").expect("a file");
        std::os::unix::fs::symlink("usr/lib", dir.path().join("lib")).expect("a link");
        let file = Rooted::new(dir.path(), "/lib/libx.so");
        assert_eq!(file.origin().as_deref(), Some(Path::new("/usr/lib")));
    }

    #[test]
    fn guests_of_this_machines_kind_have_its_own_files_and_others_have_cross_compilers_too() {
        let own = Roots::new(Some(Arch::of_host()), None);
        assert_eq!(own.iter().collect::<Vec<_>>(), [Path::new("/")]);
        let foreign = if Arch::of_host() == Arch::Amd64 { Arch::Arm64 } else { Arch::Amd64 };
        let mut roots = Roots::new(Some(foreign), None);
        assert_eq!(roots.iter().next(), Some(Path::new("/")));
        // The host's own shell is of no use there.
        assert_eq!(own.find(Path::new("/bin/sh")), Some(Rooted::same("/bin/sh")));
        assert_eq!(roots.prefer(Path::new("/bin/sh")), None);
    }

    #[test]
    fn a_named_root_is_the_only_one_but_paths_are_looked_for_on_the_host_too() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(dir.path().join("usr/bin")).expect("folders");
        fs::copy("/bin/true", dir.path().join("usr/bin/true")).expect("a program");
        let roots = Roots::new(Some(Arch::of_host()), Some(dir.path()));
        assert_eq!(roots.iter().collect::<Vec<_>>(), [dir.path()]);
        assert_eq!(roots.with_host().collect::<Vec<_>>(), [dir.path(), Path::new("/")]);
        assert_eq!(roots.program(Path::new("true")), Some(Rooted::new(dir.path(), "/usr/bin/true")));
        assert_eq!(roots.program(Path::new("./true")), None);
        assert_eq!(roots.program(Path::new("false")), None);
        // Without a named root, programs are found on PATH.
        assert_eq!(Roots::new(None, None).program(Path::new("true")), None);
    }
}
