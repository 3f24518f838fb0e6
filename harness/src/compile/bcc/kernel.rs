//! What a text is compiled for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bpf_vm_shim::object::{Arch, KernelProfile};

/// Finds the text of a tracepoint's `format` file by category and event.
pub type Tracepoints = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// The kernel that a text is compiled for: its types and what its headers would have said.
#[derive(Clone)]
pub struct BccKernel {
    /// All its types as one C header (`bpftool btf dump file ... format c`).
    pub vmlinux_h: Arc<str>,
    /// `KERNEL_VERSION(major, minor, patch)`, for `LINUX_VERSION_CODE`.
    pub version: u32,
    /// Its architecture, which decides about registers.
    pub arch: Arch,
    /// Its configuration: `CONFIG_X` to `y`, `m`, a number or a quoted string.
    pub kconfig: BTreeMap<String, String>,
    /// The formats of its tracepoints.
    pub tracepoints: Tracepoints,
}

impl BccKernel {
    /// A kernel with these types and no tracepoints; the rest is as in the profile.
    #[must_use]
    pub fn new(profile: &KernelProfile, vmlinux_h: impl Into<Arc<str>>) -> Self {
        const OPTIONS: [&str; 7] = [
            "CONFIG_HZ",
            "CONFIG_NR_CPUS",
            "CONFIG_X86_64",
            "CONFIG_ARM64",
            "CONFIG_SMP",
            "CONFIG_64BIT",
            "CONFIG_ARCH_HAS_SYSCALL_WRAPPER",
        ];
        let mut kconfig: BTreeMap<_, _> =
            OPTIONS.iter().filter_map(|name| Some(((*name).to_owned(), profile.config(name)?))).collect();
        kconfig.extend(profile.kconfig.iter().map(|(k, v)| (k.clone(), v.clone())));
        Self {
            vmlinux_h: vmlinux_h.into(),
            version: profile.version,
            arch: profile.arch,
            kconfig,
            tracepoints: Arc::new(|_, _| None),
        }
    }

    /// The same kernel with the formats of its tracepoints.
    #[must_use]
    pub fn tracepoints<F>(mut self, formats: F) -> Self
    where
        F: Fn(&str, &str) -> Option<String> + Send + Sync + 'static,
    {
        self.tracepoints = Arc::new(formats);
        self
    }

    /// The macros that a kernel's build would define: version and configuration (`include/generated/autoconf.h`).
    pub(super) fn macros(&self) -> String {
        let version = self.version;
        let mut out =
            format!("#define LINUX_VERSION_CODE {version}\n#define LINUX_KERNEL_VERSION {version}\n");
        for (name, value) in self.kconfig.iter().filter(|(name, _)| is_name(name)) {
            out += &match value.as_str() {
                "n" | "" => continue,
                "y" => format!("#define {name} 1\n"),
                "m" => format!("#define {name}_MODULE 1\n"),
                value => format!("#define {name} {}\n", value.replace(['\n', '\\'], " ")),
            };
        }
        out
    }

    /// The name that clang's preprocessor macro for the architecture has.
    pub(super) const fn arch_flags(&self) -> [&'static str; 2] {
        match self.arch {
            Arch::Arm64 => ["-D__TARGET_ARCH_arm64", "-D__aarch64__"],
            _ => ["-D__TARGET_ARCH_x86", "-D__x86_64__"],
        }
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with("CONFIG_") && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Debug for BccKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BccKernel")
            .field("vmlinux_h", &format_args!("{} bytes", self.vmlinux_h.len()))
            .field("version", &self.version)
            .field("arch", &self.arch)
            .field("kconfig", &self.kconfig.len())
            .finish_non_exhaustive()
    }
}
