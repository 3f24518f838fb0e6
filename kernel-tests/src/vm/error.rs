//! What can go wrong between "run this" and its exit status, each with its own name.

use std::io;
use std::path::PathBuf;

use super::guest::guest_variable;
use super::hardware::Hardware;
use crate::kernels::Arch;

/// Why a run in a virtual machine has no exit status of the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// QEMU is not installed.
    #[error(
        "{program} was not found on PATH: install it ({}) or name it with {}",
        Hardware::of(*arch).install,
        Hardware::of(*arch).variable
    )]
    QemuMissing {
        /// What was looked for.
        program: String,
        /// The architecture of the guests that it is for.
        arch: Arch,
    },
    /// QEMU was killed or refused its arguments.
    #[error("QEMU ended before the program did ({status}){}", block("QEMU said", said))]
    QemuEnded {
        /// Its exit status, in words.
        status: String,
        /// Its standard error, and the console's last lines.
        said: String,
    },
    /// The guest's agent did not answer in time.
    #[error("the guest did not boot within {seconds} s{}", block("last console lines", console))]
    NoBoot {
        /// The deadline.
        seconds: u64,
        /// The console's last lines.
        console: String,
    },
    /// The guest's kernel panicked or hit an oops.
    #[error("the guest kernel crashed: {reason}{}", block("console", trace))]
    Panic {
        /// The line that names it.
        reason: String,
        /// The console from the first line of the report on.
        trace: String,
    },
    /// A kernel module that was asked for does not load.
    #[error("the kernel does not load the module {}: {reason}{}", module.display(), block("last console lines", console))]
    ModuleNotLoaded {
        /// The host's file.
        module: PathBuf,
        /// The kernel's answer.
        reason: String,
        /// The console's last lines, where the kernel says more.
        console: String,
    },
    /// QEMU does not go on from a snapshot.
    #[error("the snapshot is not restored: {reason}")]
    NotRestored {
        /// What QEMU said, or that it ended.
        reason: String,
    },
    /// No snapshot could be made here, not long ago.
    #[error("there is none, and making one failed not long ago: {reason}")]
    NoSnapshot {
        /// Why.
        reason: String,
    },
    /// The guest ran out of memory and its kernel killed something for it.
    #[error("the guest ran out of memory ({memory_mib} MiB): {victim}; give it more with --memory")]
    OutOfMemory {
        /// The kernel's line that names the victim.
        victim: String,
        /// How much the machine has.
        memory_mib: u64,
    },
    /// The program did not end in time.
    #[error("the program did not end within {seconds} s{}", block("last console lines", console))]
    Timeout {
        /// The limit.
        seconds: u64,
        /// The console's last lines.
        console: String,
    },
    /// The guest is alive but its agent is not, or speaks nonsense.
    #[error("the guest's agent was lost: {what}{}", block("last console lines", console))]
    AgentLost {
        /// What happened to the channel.
        what: String,
        /// The console's last lines.
        console: String,
    },
    /// More output than anyone reads.
    #[error(
        "more than {limit} bytes of {stream} came from the guest, so it was ended; --output-limit {}M allows for more",
        (*limit >> 20).saturating_mul(4).max(1)
    )]
    Flood {
        /// `output`, `console` or `results`.
        stream: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// The program is not there or could not be executed.
    #[error("cannot run {program:?} in the guest: {reason}")]
    CannotStart {
        /// The program as given.
        program: String,
        /// Why.
        reason: String,
        /// Whether it was not found (exit status 127) rather than not executable (126).
        missing: bool,
    },
    /// A program for another architecture than the kernel's.
    #[error("{} is a program for {is}, the guest is {kernel}: {}", program.display(), remedy(*can_be, *kernel))]
    ForeignProgram {
        /// The file.
        program: PathBuf,
        /// Its architecture.
        is: String,
        /// The same, if there are kernels for it.
        can_be: Option<Arch>,
        /// The kernel's.
        kernel: Arch,
    },
    /// A program's loader (PT_INTERP) is nowhere.
    #[error(
        "{}: needs the loader {loader}, which is in none of: {}; install the C library of that architecture{}, name the \
         folder of its files with --sysroot, or link the program statically",
        program.display(),
        searched.join(", "),
        c_library(loader)
    )]
    LoaderMissing {
        /// The program.
        program: PathBuf,
        /// Its path.
        loader: String,
        /// The system roots that were searched.
        searched: Vec<String>,
    },
    /// A shared library that the program needs is nowhere.
    #[error("{needed_by}: needs the shared library {library}, which is in none of: {}", searched.join(", "))]
    LibraryMissing {
        /// The library, by its DT_NEEDED name.
        library: String,
        /// The object that needs it.
        needed_by: PathBuf,
        /// The folders that were searched.
        searched: Vec<String>,
    },
    /// A file of the program cannot go into the guest.
    #[error("{}: {reason}", path.display())]
    BadFile {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// This build carries no guest for the kernel's architecture.
    #[error(
        "this bpf-vm was built without its guest for {arch}: run `rustup target add {}-unknown-linux-musl` (or install the \
         standard library for {}-unknown-linux-gnu and {}) and build bpf-vm again, or name a guest that was built \
         elsewhere with {}",
        arch.cpu(),
        arch.cpu(),
        libc(*arch),
        guest_variable(*arch)
    )]
    GuestMissing {
        /// The kernel's architecture.
        arch: Arch,
    },
    /// The user ended it.
    #[error("interrupted by signal {signal}")]
    Interrupted {
        /// Which signal.
        signal: i32,
    },
    /// The host refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl VmError {
    /// The exit status a command line reports for it: 124 for a timeout (as `timeout`), 126 and 127 for a program that
    /// cannot be started (as a shell: 127 if it, its loader or a library of it is missing), 128+n for an interruption, 125
    /// for everything else (as `docker run`).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Timeout { .. } => 124,
            Self::CannotStart { missing: false, .. } | Self::ForeignProgram { .. } => 126,
            Self::CannotStart { missing: true, .. }
            | Self::LoaderMissing { .. }
            | Self::LibraryMissing { .. } => 127,
            Self::Interrupted { signal } => 128u8.wrapping_add(*signal as u8),
            _ => 125,
        }
    }

    /// Whether another attempt would end in the same way.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Interrupted { .. } | Self::OutOfMemory { .. } | Self::ModuleNotLoaded { .. })
    }

    /// Whether it is about a snapshot, which is of no use then; everything else is about the host, which may be better
    /// the next time.
    pub(super) fn blames_snapshot(&self) -> bool {
        match self {
            Self::QemuEnded { .. } => !self.is_killed(),
            Self::NotRestored { .. } | Self::NoBoot { .. } | Self::AgentLost { .. } | Self::Panic { .. } => {
                true
            }
            _ => false,
        }
    }

    /// Whether somebody ended QEMU. A signal that it sends itself (SIGABRT, SIGSEGV) is its own fault.
    pub(super) fn is_killed(&self) -> bool {
        const BY_OTHERS: [u8; 5] = [1, 2, 3, 9, 15];
        let Self::QemuEnded { status, .. } = self else { return false };
        let signal = status.strip_prefix(KILLED).and_then(|signal| signal.parse().ok());
        signal.is_some_and(|signal| BY_OTHERS.contains(&signal))
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// How the status of a QEMU begins that a signal ended.
pub(super) const KILLED: &str = "killed by signal ";

/// What to do about a program for another machine.
fn remedy(program: Option<Arch>, kernel: Arch) -> String {
    let build = format!("build it for that ({}-unknown-linux-gnu)", kernel.cpu());
    match program {
        Some(arch) => format!("{build}, or take a kernel for the program (--arch {arch})"),
        None => build,
    }
}

/// The package of a C library, by its loader's name.
fn c_library(loader: &str) -> &'static str {
    match loader.rsplit('/').next() {
        Some("ld-linux-aarch64.so.1") => " (Debian, Ubuntu: libc6-arm64-cross)",
        Some("ld-linux-x86-64.so.2") => " (Debian, Ubuntu: libc6-amd64-cross)",
        _ => "",
    }
}

/// What linking a static program for glibc takes.
fn libc(arch: Arch) -> String {
    if arch == Arch::of_host() {
        return "a static C library (Debian: libc6-dev; Fedora: glibc-static)".to_owned();
    }
    let cpu = arch.cpu();
    format!("{cpu}-linux-gnu-gcc with its C library (Debian: gcc-{}-linux-gnu)", cpu.replace('_', "-"))
}

fn block(title: &str, text: &str) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    let mut out = format!("\n  {title}:");
    for line in text.lines() {
        out.push_str("\n  | ");
        out.push_str(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_machine_has_a_status_no_test_binary_uses() {
        let table = [
            (VmError::Timeout { seconds: 1, console: String::new() }, 124),
            (VmError::NoBoot { seconds: 1, console: String::new() }, 125),
            (VmError::CannotStart { program: "x".into(), reason: "?".into(), missing: false }, 126),
            (VmError::CannotStart { program: "x".into(), reason: "?".into(), missing: true }, 127),
            (
                VmError::LibraryMissing {
                    library: "libx.so".into(),
                    needed_by: "/x".into(),
                    searched: Vec::new(),
                },
                127,
            ),
            (VmError::Interrupted { signal: 2 }, 130),
        ];
        for (error, code) in table {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }

    #[test]
    fn a_qemu_that_somebody_killed_says_nothing_about_its_snapshot() {
        let ended = |status: &str| VmError::QemuEnded { status: status.into(), said: String::new() };
        let answers = ["killed by signal 9", "killed by signal 6", "exit status 1"]
            .map(|status| (ended(status).is_killed(), ended(status).blames_snapshot()));
        assert_eq!(answers, [(true, false), (false, true), (false, true)]);
        assert!(!VmError::io("start QEMU")(io::ErrorKind::NotFound.into()).blames_snapshot());
    }

    #[test]
    fn a_console_is_quoted_line_by_line_and_left_out_when_empty() {
        let error = VmError::NoBoot { seconds: 3, console: "a\nb".into() };
        assert_eq!(
            error.to_string(),
            "the guest did not boot within 3 s\n  last console lines:\n  | a\n  | b"
        );
        let error = VmError::NoBoot { seconds: 3, console: "\n".into() };
        assert_eq!(error.to_string(), "the guest did not boot within 3 s");
    }
}
