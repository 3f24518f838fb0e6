//! The kernel that an object is linked against.

use std::collections::{BTreeMap, BTreeSet};

use super::symbols::SymbolNames;
use crate::btf::Btf;

/// A machine architecture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[non_exhaustive]
pub enum Arch {
    /// x86-64.
    #[default]
    X86_64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// Prefix of system call functions (`__x64_sys_openat`).
    #[must_use]
    pub const fn syscall_prefix(self) -> &'static str {
        match self {
            Self::X86_64 => "__x64_",
            Self::Arm64 => "__arm64_",
        }
    }
}

/// What linking needs to know about a kernel. Nothing is read from the machine that runs this.
#[derive(Clone, Debug)]
pub struct KernelProfile {
    /// `KERNEL_VERSION(major, minor, patch)`.
    pub version: u32,
    /// Architecture.
    pub arch: Arch,
    /// The kernel's types. Without them an object is relocated against its own.
    pub btf: Option<Btf>,
    /// Types of modules, split over the kernel's, by module name.
    pub module_btfs: BTreeMap<String, Btf>,
    /// Configuration: `CONFIG_HZ` to `1000`, `CONFIG_SMP` to `y`, `CONFIG_CC_VERSION_TEXT` to `"clang"`
    /// with its quotes.
    pub kconfig: BTreeMap<String, String>,
    /// Names of functions and symbols that the kernel has, whatever its BTF says.
    ///
    /// A weak extern that neither they nor the BTF know is absent.
    pub symbols: SymbolNames,
    /// Timer frequency (`CONFIG_HZ` unless the configuration says otherwise).
    pub hz: u32,
    /// Number of CPUs.
    pub cpus: u32,
    /// The kernel gives attach cookies (`LINUX_HAS_BPF_COOKIE`).
    pub bpf_cookie: bool,
    /// System calls have wrapper functions (`LINUX_HAS_SYSCALL_WRAPPER`).
    pub syscall_wrapper: bool,
}

impl Default for KernelProfile {
    /// Linux 6.12 on x86-64 with 4 CPUs, a timer of 1000 Hz and no types of its own.
    fn default() -> Self {
        Self {
            version: Self::kernel_version(6, 12, 0),
            arch: Arch::X86_64,
            btf: None,
            module_btfs: BTreeMap::new(),
            kconfig: BTreeMap::new(),
            symbols: SymbolNames::default(),
            hz: 1000,
            cpus: 4,
            bpf_cookie: true,
            syscall_wrapper: true,
        }
    }
}

impl KernelProfile {
    /// The kernel's `KERNEL_VERSION` macro; a patch level above 255 counts as 255.
    #[must_use]
    pub const fn kernel_version(major: u8, minor: u8, patch: u32) -> u32 {
        let patch = if patch > 255 { 255 } else { patch };
        ((major as u32) << 16) | ((minor as u32) << 8) | patch
    }

    /// A configuration value: the configuration's own, or what the profile implies.
    #[must_use]
    pub fn config(&self, name: &str) -> Option<String> {
        if let Some(value) = self.kconfig.get(name) {
            return Some(value.clone());
        }
        match name {
            "CONFIG_HZ" => Some(self.hz.to_string()),
            "CONFIG_NR_CPUS" => Some(self.cpus.to_string()),
            "CONFIG_X86" | "CONFIG_X86_64" if self.arch == Arch::X86_64 => Some("y".to_owned()),
            "CONFIG_ARM64" if self.arch == Arch::Arm64 => Some("y".to_owned()),
            "CONFIG_SMP" if self.cpus > 1 => Some("y".to_owned()),
            "CONFIG_ARCH_HAS_SYSCALL_WRAPPER" if self.syscall_wrapper => Some("y".to_owned()),
            "CONFIG_64BIT" | "CONFIG_BPF" | "CONFIG_BPF_SYSCALL" | "CONFIG_BPF_EVENTS" => {
                Some("y".to_owned())
            }
            _ => None,
        }
    }
}

/// Choices of the caller that are not the kernel's.
#[derive(Clone, Debug, Default)]
pub struct LinkOptions {
    /// Link only these programs, by name; all if empty.
    pub programs: BTreeSet<String>,
    /// Link programs of `?` sections too.
    pub all: bool,
}

impl LinkOptions {
    /// Every program, those too that a loader would not load by itself (sections that begin with `?`).
    #[must_use]
    pub fn every_program() -> Self {
        Self { all: true, ..Self::default() }
    }
}
