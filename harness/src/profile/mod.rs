//! Named kernels: types, functions, configuration and tracepoints that belong together.
//!
//! A compiled object brings the types that it was compiled against; a text brings none. [`Profile::default_x86_64`] is
//! the kernel that texts are compiled for and run on if nobody says otherwise. It comes with the crate, so that results
//! do not depend on the machine. Other kernels come from files, or from the machine if that is what is wanted.

mod bundled;
mod running;
pub mod tracepoints;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bpf_vm_shim::btf::{Btf, BtfError, HeaderOptions};
use bpf_vm_shim::object::{Arch, KernelProfile, SymbolNames};

pub(crate) use running::ARCH as RUNNING_ARCH;

use crate::compile::bcc::BccKernel;
use crate::compile::remote::booted_kernel;
use crate::error::Error;
use tracepoints::Tracepoints;

/// A kernel: what programs are compiled for, linked against and run on. Cheap to clone.
#[derive(Clone)]
pub struct Profile {
    kernel: KernelProfile,
    btf: Btf,
    tracepoints: Tracepoints,
    header: Arc<OnceLock<Result<Arc<str>, BtfError>>>,
    /// Of the kernel that this runs on.
    running: bool,
}

impl Profile {
    /// Debian's Linux 6.12 for x86-64, with all its types.
    ///
    /// ```
    /// let kernel = bpf_harness::profile::Profile::default_x86_64()?;
    /// assert!(kernel.kernel().symbols.contains("vfs_read"));
    /// assert!(kernel.vmlinux_h()?.contains("struct task_struct {"));
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no memory to unpack it.
    pub fn default_x86_64() -> Result<Self, Error> {
        bundled::profile()
    }

    /// A kernel with these types. Its functions are those of the types; its version is 6.12 and its tracepoints are the
    /// bundled ones until others are given.
    #[must_use]
    pub fn from_btf(btf: Btf) -> Self {
        let symbols = functions(&btf, Arch::X86_64);
        Self::of_types(btf).with_kernel(|kernel| kernel.symbols = symbols)
    }

    /// As [`Profile::from_btf`], of whose functions nothing is known.
    fn of_types(btf: Btf) -> Self {
        let mut kernel = KernelProfile { btf: Some(btf.clone()), ..KernelProfile::default() };
        kernel.hz = 250;
        kernel.kconfig = default_config();
        Self { kernel, btf, tracepoints: Tracepoints::bundled(), header: Arc::default(), running: false }
    }

    /// As [`Profile::from_btf`], from a file: raw BTF, or an ELF file that holds it (`vmlinux`).
    ///
    /// # Errors
    /// If it cannot be read, or holds no valid BTF.
    pub fn from_btf_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        read_btf(path.as_ref()).map(Self::from_btf)
    }

    /// The kernel that this runs on: its BTF, version, functions, configuration and tracepoints, as far as one may read
    /// them.
    ///
    /// # Errors
    /// If it is no Linux, or shows no BTF (`CONFIG_DEBUG_INFO_BTF`).
    pub fn from_running_kernel() -> Result<Self, Error> {
        running::profile()
    }

    /// As [`Profile::from_running_kernel`], without the names of all functions, whose reading takes long on slow machines.
    pub(crate) fn types_of_running_kernel() -> Result<Self, Error> {
        static TYPES: OnceLock<Profile> = OnceLock::new();
        if let Some(known) = TYPES.get() {
            return Ok(known.clone());
        }
        let types = running::types()?;
        Ok(TYPES.get_or_init(|| types).clone())
    }

    /// The version of the kernel that this runs on.
    #[cfg(feature = "kernel")]
    pub(crate) fn running_version() -> Option<u32> {
        running::running_version()
    }

    /// The same kernel with another version.
    #[must_use]
    pub fn with_version(mut self, major: u8, minor: u8, patch: u32) -> Self {
        self.kernel.version = KernelProfile::kernel_version(major, minor, patch);
        self
    }

    /// The same kernel with other tracepoints.
    #[must_use]
    pub fn with_tracepoints(mut self, tracepoints: Tracepoints) -> Self {
        self.tracepoints = tracepoints;
        self
    }

    /// The same kernel, changed: configuration, functions, CPUs. Its types stay.
    #[must_use]
    pub fn with_kernel(mut self, change: impl FnOnce(&mut KernelProfile)) -> Self {
        change(&mut self.kernel);
        self.kernel.btf = Some(self.btf.clone());
        self
    }

    /// What objects are linked against, its types included.
    #[must_use]
    pub const fn kernel(&self) -> &KernelProfile {
        &self.kernel
    }

    /// Its types.
    #[must_use]
    pub const fn btf(&self) -> &Btf {
        &self.btf
    }

    /// Its tracepoints.
    #[must_use]
    pub const fn tracepoints(&self) -> &Tracepoints {
        &self.tracepoints
    }

    /// Its types as a C header, written once. Accesses are plain loads at this kernel's offsets.
    ///
    /// # Errors
    /// If a type is broken.
    pub fn vmlinux_h(&self) -> Result<Arc<str>, Error> {
        let write = || self.btf.c_header(&HeaderOptions::default()).map(Arc::from);
        let header = self.header.get_or_init(write).clone();
        header.map_err(|e| Error::Invalid(format!("the kernel's types cannot be written in C: {e}")))
    }

    /// What texts are compiled for. In a guest of `bpf-vm` it has no types of the running kernel: the host, which compiles
    /// there, has them.
    ///
    /// # Errors
    /// As [`Profile::vmlinux_h`].
    pub fn bcc_kernel(&self) -> Result<BccKernel, Error> {
        let tracepoints = self.tracepoints.clone();
        let kernel = match booted_kernel().filter(|_| self.running) {
            Some(kernel) => kernel,
            None => BccKernel::new(&self.kernel, self.vmlinux_h()?),
        };
        Ok(kernel.tracepoints(move |category, event| tracepoints.text(category, event)))
    }
}

impl Profile {
    /// A kernel with what this one has and the other does not say.
    pub(crate) fn fill(&self, mut kernel: KernelProfile) -> KernelProfile {
        let unsaid = KernelProfile::default();
        kernel.btf.get_or_insert_with(|| self.btf.clone());
        if kernel.symbols.is_empty() {
            kernel.symbols = self.kernel.symbols.clone();
        }
        if kernel.version == unsaid.version {
            kernel.version = self.kernel.version;
        }
        if kernel.hz == unsaid.hz && !kernel.kconfig.contains_key("CONFIG_HZ") {
            kernel.hz = self.kernel.hz;
        }
        for (name, value) in &self.kernel.kconfig {
            // What follows from the frequency is not said twice.
            let said = name == "CONFIG_HZ" && kernel.hz != self.kernel.hz;
            if !said && !kernel.kconfig.contains_key(name) {
                kernel.kconfig.insert(name.clone(), value.clone());
            }
        }
        kernel
    }
}

fn read_btf(path: &Path) -> Result<Btf, Error> {
    let wrong = |why: String| Error::Read { path: path.to_owned(), why };
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    Btf::parse_file(bytes).map_err(|e| wrong(e.to_string()))
}

/// The functions that BTF describes, and the system calls, some of which compilers leave without a description.
fn functions(btf: &Btf, arch: Arch) -> SymbolNames {
    let prefix = arch.syscall_prefix();
    let syscalls = tracepoints::syscalls().map(|s| format!("{prefix}sys_{}", s.name));
    SymbolNames::functions_of(btf, syscalls.collect())
}

/// What a distribution's kernel for servers has, as far as programs ask.
fn default_config() -> std::collections::BTreeMap<String, String> {
    const YES: [&str; 24] = [
        "BPF_EVENTS",
        "BPF_JIT",
        "BPF_LSM",
        "BPF_SYSCALL",
        "BLK_CGROUP",
        "CGROUPS",
        "CGROUP_BPF",
        "DEBUG_INFO_BTF",
        "FTRACE_SYSCALLS",
        "FUNCTION_TRACER",
        "INET",
        "IPV6",
        "KPROBES",
        "MEMCG",
        "MMU",
        "NAMESPACES",
        "NET",
        "NET_NS",
        "NUMA",
        "PID_NS",
        "STACKTRACE",
        "SWAP",
        "THREAD_INFO_IN_TASK",
        "UPROBES",
    ];
    let yes = YES.iter().map(|name| (format!("CONFIG_{name}"), "y".to_owned()));
    yes.chain([("CONFIG_HZ".to_owned(), "250".to_owned())]).collect()
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.kernel.version;
        f.debug_struct("Profile")
            .field("version", &format_args!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff))
            .field("btf", &self.btf)
            .field("functions", &self.kernel.symbols.len())
            .finish_non_exhaustive()
    }
}
