//! What can go wrong on the way to a kernel.

use std::path::{Path, PathBuf};

/// Why there is no kernel. Every variant says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelsError {
    /// A `--kernel` that is none of the known forms.
    #[error(
        "`{spec}` does not say which kernel: {why}. Give a version (6.12, 6.12.38), a range (5.10..7.3), `newest`, \
         `host`, or a path to a vmlinuz, vmlinux or .deb"
    )]
    BadSpec {
        /// What was given.
        spec: String,
        /// What is wrong with it.
        why: String,
    },

    /// No kernel is like that.
    #[error(
        "there is no kernel {spec} for {arch}; there are: {known}. `bpf-vm kernels list --update` looks for new ones"
    )]
    NoSuchKernel {
        /// What was asked for.
        spec: String,
        /// The machine.
        arch: &'static str,
        /// The series that are known.
        known: String,
    },

    /// apt is not installed.
    #[error(
        "kernels are found with apt, and `{program}` did not start: {source}. Install it, or give the path of a kernel"
    )]
    NoApt {
        /// What was run.
        program: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },

    /// No Debian archive among this machine's package sources, and no keys to trust Debian's own with.
    #[error(
        "this machine's apt sources name no Debian archive to fetch kernels from, and Debian's keys are not installed, \
         with which its public one would do. Install the package debian-archive-keyring (Debian and Ubuntu), set \
         {variable} to the address of a mirror that apt trusts (what stands before `bookworm` in a sources line), or \
         give the path of a kernel"
    )]
    NoMirror {
        /// The environment variable that names one.
        variable: &'static str,
    },

    /// Neither an index nor an answer from the archive.
    #[error("the archive cannot be read (no network?), and no list of kernels was kept: {message}")]
    Offline {
        /// What apt said.
        message: String,
    },

    /// A package that is listed is not to be had.
    #[error(
        "{package} {package_version} is listed and yet not to be had: {message}. Packages leave the archive: try \
         `bpf-vm kernels list --update`, or another version"
    )]
    Gone {
        /// The package.
        package: String,
        /// Its Debian version.
        package_version: String,
        /// What apt said.
        message: String,
    },

    /// apt failed for another reason.
    #[error("{what} failed: {message}")]
    Apt {
        /// What was tried.
        what: String,
        /// What apt said.
        message: String,
    },

    /// A package without what a kernel package has.
    #[error("{} is not a kernel package: {what}", path.display())]
    BadPackage {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },

    /// A file that is no kernel image, or a damaged one.
    #[error("{} is not a kernel image that can be booted: {what}", path.display())]
    BadImage {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },

    /// A kept kernel whose files are not what was written.
    #[error("the kept kernel {} is damaged: {what}. Remove that folder and fetch it again", path.display())]
    BadCache {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },

    /// A module that a kernel does not have.
    #[error(
        "kernel {release} has no module `{module}`: neither built in nor among the modules kept from its package"
    )]
    NoModule {
        /// Its name.
        module: String,
        /// `uname -r`.
        release: String,
    },

    /// The running kernel's image is not readable.
    #[error("the image of the running kernel {release} is not to be found or not readable: {what}")]
    NoHostImage {
        /// `uname -r`.
        release: String,
        /// Where was looked.
        what: String,
    },

    /// There is no cache folder.
    #[error("there is no cache folder: set {variable} or HOME")]
    NoCacheDir {
        /// The environment variable that names one.
        variable: &'static str,
    },

    /// The file system said no.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried ("write", "read", ..).
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl KernelsError {
    /// Names what was tried with a file; for `map_err`.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
