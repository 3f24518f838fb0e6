//! What a kernel offers to BPF programs.

use serde::Serialize;

use super::btf;
use super::error::KernelsError;
use super::image::KernelImage;

/// What a kernel offers to BPF programs: from its configuration, and where there is none (Debian's archive has lost it
/// for some versions) from the names of functions in its BTF.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Facts {
    /// The size of its BTF in bytes; 0 where it has none.
    pub btf: u64,
    /// `CONFIG_KPROBES`.
    pub kprobes: bool,
    /// `CONFIG_UPROBES`.
    pub uprobes: bool,
    /// `CONFIG_BPF_EVENTS`: programs may be attached to probes and tracepoints at all.
    pub bpf_events: bool,
    /// `CONFIG_BPF_LSM`: LSM programs can be attached.
    pub bpf_lsm: bool,
    /// Whether "bpf" is among the LSMs that are on without a `lsm=` on the kernel's command line; unknown without a
    /// configuration.
    pub lsm_by_default: Option<bool>,
    /// `CONFIG_LSM`, where it is known.
    pub lsm: Option<String>,
    /// Whether the above is read from a configuration.
    pub from_config: bool,
}

impl Facts {
    /// Reads a kernel's configuration and BTF.
    ///
    /// # Errors
    ///
    /// [`KernelsError::Io`] for a BTF file that is not readable.
    pub fn of(image: &KernelImage) -> Result<Self, KernelsError> {
        let btf = match &image.btf {
            Some(path) => std::fs::read(path).map_err(KernelsError::io("read", path))?,
            None => Vec::new(),
        };
        let config = &image.config;
        let from_config = !config.is_empty();
        let has = |option: &str, function: &str| {
            if from_config { config.is_on(option) } else { btf::has_name(&btf, function) }
        };
        let lsm = config.get("LSM").map(str::to_owned);
        Ok(Self {
            btf: btf.len() as u64,
            kprobes: has("KPROBES", "register_kprobe"),
            uprobes: has("UPROBES", "uprobe_register"),
            bpf_events: has("BPF_EVENTS", "trace_call_bpf"),
            bpf_lsm: has("BPF_LSM", "bpf_lsm_file_open"),
            lsm_by_default: lsm.as_ref().map(|list| list.split(',').any(|name| name == "bpf")),
            lsm,
            from_config,
        })
    }
}
