//! The kernel that this runs on. Reading it makes results depend on the machine, which is why nobody does it unasked.

use std::path::PathBuf;

use bpf_vm_shim::object::{Arch, KernelProfile, SymbolNames};

use super::Profile;
use super::tracepoints::Tracepoints;
use crate::error::Error;

/// The architecture that this is compiled for, which is the running kernel's.
pub(crate) const ARCH: Arch = if cfg!(target_arch = "aarch64") { Arch::Arm64 } else { Arch::X86_64 };
const BTF: &str = "/sys/kernel/btf/vmlinux";

pub(super) fn profile() -> Result<Profile, Error> {
    let types = types()?;
    // More complete than BTF; the addresses are hidden from most users and not wanted.
    let listed = std::fs::read_to_string("/proc/kallsyms").map(|text| functions(&text));
    let listed = listed.ok().filter(|f| !f.is_empty());
    let symbols = listed.unwrap_or_else(|| super::functions(types.btf(), ARCH));
    Ok(types.with_kernel(|kernel| kernel.symbols = symbols))
}

/// All but the names of functions.
pub(super) fn types() -> Result<Profile, Error> {
    if !std::path::Path::new(BTF).exists() {
        let why = "there is no such file: the running kernel shows no types (it needs CONFIG_DEBUG_INFO_BTF); give a BTF \
                   file, or take the bundled kernel"
            .to_owned();
        return Err(Error::Read { path: PathBuf::from(BTF), why });
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut profile = Profile::of_types(super::read_btf(BTF.as_ref())?).with_kernel(|kernel| {
        kernel.arch = ARCH;
        kernel.version = version(release).unwrap_or(kernel.version);
        if let Ok(text) = std::fs::read_to_string(format!("/boot/config-{release}")) {
            kernel.kconfig = config(&text);
            kernel.hz = kernel.kconfig.get("CONFIG_HZ").and_then(|hz| hz.parse().ok()).unwrap_or(kernel.hz);
        }
    });
    if let Some(tracepoints) = Tracepoints::of_tracefs() {
        profile = profile.with_tracepoints(tracepoints);
    }
    profile.running = true;
    Ok(profile)
}

#[cfg(feature = "kernel")]
pub(super) fn running_version() -> Option<u32> {
    version(std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim())
}

/// `6.12.107+deb13-amd64`.
fn version(release: &str) -> Option<u32> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some(KernelProfile::kernel_version(major, minor, parts.next().and_then(|p| p.parse().ok()).unwrap_or(0)))
}

/// The lines `CONFIG_X=value`.
fn config(text: &str) -> std::collections::BTreeMap<String, String> {
    let lines = text.lines().filter_map(|l| l.split_once('='));
    lines.filter(|(k, _)| k.starts_with("CONFIG_")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// The functions (types `t`, `T`, and weak ones) of the kernel proper in `/proc/kallsyms`.
fn functions(text: &str) -> SymbolNames {
    let function = |line: &str| {
        let mut words = line.split_whitespace();
        let (_, kind, name) = (words.next()?, words.next()?, words.next()?);
        (matches!(kind, "t" | "T" | "w" | "W") && words.next().is_none()).then(|| name.to_owned())
    };
    text.lines().filter_map(function).collect()
}

#[cfg(test)]
mod tests {
    use super::{KernelProfile, config, functions, version};

    #[test]
    fn releases_have_versions() {
        assert_eq!(version("6.12.107+deb13-amd64"), Some(KernelProfile::kernel_version(6, 12, 107)));
        assert_eq!(version("6.1-rc3"), Some(KernelProfile::kernel_version(6, 1, 0)));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn configuration_and_functions_are_read_line_by_line() {
        let config = config("# CONFIG_A is not set\nCONFIG_HZ=300\nCONFIG_B=y\n");
        assert_eq!(
            config.into_iter().collect::<Vec<_>>(),
            [("CONFIG_B".to_owned(), "y".to_owned()), ("CONFIG_HZ".to_owned(), "300".to_owned())]
        );
        let text = "0 T vfs_read\n0 d data\n0 t static_one\n0 t in_module [xfs]\n\nbroken";
        assert_eq!(functions(text).iter().collect::<Vec<_>>(), ["static_one", "vfs_read"]);
    }
}
