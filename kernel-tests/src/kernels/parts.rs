//! What is taken out of a kernel's packages, or collected from a running system, before it is written as a
//! [`super::KernelImage`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::config::KernelConfig;
use super::deb;
use super::elf;
use super::error::KernelsError;
use super::unpack;

/// Modules without which the host cannot talk to the guest, wherever they are not built in.
pub(super) const BOOT: [&str; 2] = ["virtio_pci", "virtio_console"];

/// Modules that are kept besides: what tests of programs attach to (devices, classifiers, sockets), and what disks and
/// networks a machine may be given. With all that they depend on.
const KEPT: [&str; 34] = [
    "9p",
    "9pnet_virtio",
    "act_bpf",
    "act_mirred",
    "bpf_testmod",
    "bridge",
    "cls_bpf",
    "cls_matchall",
    "cls_u32",
    "dummy",
    "erofs",
    "ext4",
    "fuse",
    "ifb",
    "ip_tables",
    "ipip",
    "isofs",
    "loop",
    "macvlan",
    "nf_conntrack",
    "nf_nat",
    "overlay",
    "sch_fq",
    "sch_ingress",
    "sit",
    "squashfs",
    "tls",
    "tun",
    "veth",
    "virtio_blk",
    "virtio_net",
    "virtiofs",
    "vmw_vsock_virtio_transport",
    "vxlan",
];

/// The raw material of an image.
#[derive(Default, Debug)]
pub(super) struct Parts {
    /// The image as packaged, and the release that its path names.
    pub(super) vmlinuz: Option<(String, Vec<u8>)>,
    /// The configuration.
    pub(super) config: KernelConfig,
    /// Names of built-in modules; nothing where no list was found.
    pub(super) builtin: Option<BTreeSet<String>>,
    /// Packed or plain modules by name.
    modules: BTreeMap<String, Vec<u8>>,
}

/// A module that is kept, unpacked.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its name, with underscores.
    pub(super) name: String,
    /// Its file's content.
    pub(super) bytes: Vec<u8>,
    /// What it depends on.
    pub(super) depends: Vec<String>,
}

/// What a path in a package is, with the release or the module's name.
#[derive(PartialEq, Eq, Debug)]
enum Role<'a> {
    Vmlinuz(&'a str),
    Config,
    Builtin,
    Module(String),
}

fn role(path: &str) -> Option<Role<'_>> {
    let path = path.strip_prefix("usr/").unwrap_or(path);
    if let Some(file) = path.strip_prefix("boot/") {
        return match file.split_once('-')? {
            ("vmlinuz", release) => Some(Role::Vmlinuz(release)),
            ("config", _) => Some(Role::Config),
            _ => None,
        };
    }
    let (release, file) = path.strip_prefix("lib/modules/")?.split_once('/')?;
    match file {
        "vmlinuz" => Some(Role::Vmlinuz(release)),
        "config" => Some(Role::Config),
        "modules.builtin" => Some(Role::Builtin),
        _ => module_name(file).map(Role::Module),
    }
}

/// The module that a file is: "virtio_pci" for "kernel/drivers/virtio/virtio-pci.ko.xz".
fn module_name(file: &str) -> Option<String> {
    let name = file.rsplit('/').next()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    Some(stem.replace('-', "_"))
}

impl Parts {
    /// Adds what a package has.
    pub(super) fn add_deb(&mut self, path: &Path) -> Result<(), KernelsError> {
        deb::each_file(path, &|name| role(name).is_some(), &mut |name, content| self.add(name, content))
    }

    /// Adds one file by its path in a package.
    fn add(&mut self, name: &str, content: Vec<u8>) {
        match role(name) {
            Some(Role::Vmlinuz(release)) => self.vmlinuz = Some((release.to_owned(), content)),
            Some(Role::Config) => self.config = KernelConfig::parse(&String::from_utf8_lossy(&content)),
            Some(Role::Builtin) => {
                let names = String::from_utf8_lossy(&content).lines().filter_map(module_name).collect();
                self.builtin = Some(names);
            }
            Some(Role::Module(name)) => {
                self.modules.insert(name, content);
            }
            None => {}
        }
    }

    /// Adds modules and lists of an installed kernel: `/lib/modules/RELEASE`. What is not readable is not there.
    pub(super) fn add_installed(&mut self, release: &str, folder: &Path) {
        let mut left = vec![folder.to_owned()];
        while let Some(dir) = left.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                // Links (`build`, `source`) lead out of the folder.
                let Ok(kind) = entry.file_type() else { continue };
                let Ok(inner) = path.strip_prefix(folder) else { continue };
                let name = format!("lib/modules/{release}/{}", inner.display());
                if kind.is_dir() {
                    left.push(path);
                } else if kind.is_file()
                    && role(&name).is_some_and(|r| !matches!(r, Role::Vmlinuz(_)))
                    && let Ok(content) = std::fs::read(&path)
                {
                    self.add(&name, content);
                }
            }
        }
    }

    /// Unpacks the modules that are kept, with all that they depend on; those that are built in or absent are passed
    /// over.
    pub(super) fn kept_modules(&self) -> Result<Vec<Kept>, String> {
        let mut left: Vec<String> = BOOT.iter().chain(&KEPT).map(|name| (*name).to_owned()).collect();
        let mut kept: BTreeMap<String, Kept> = BTreeMap::new();
        while let Some(name) = left.pop() {
            let Some(packed) = self.modules.get(&name).filter(|_| !kept.contains_key(&name)) else {
                continue;
            };
            let bytes = unpack::all(packed).map_err(|e| format!("module {name} does not unpack: {e}"))?;
            let depends = depends(&bytes);
            left.extend(depends.iter().cloned());
            kept.insert(name.clone(), Kept { name, bytes, depends });
        }
        Ok(kept.into_values().collect())
    }
}

/// What a module depends on: `depends=a,b` in its `.modinfo`.
fn depends(module: &[u8]) -> Vec<String> {
    let info = elf::section(module, ".modinfo").unwrap_or_default();
    let list = info.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let list = String::from_utf8_lossy(list.unwrap_or_default()).replace('-', "_");
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing;

    #[test]
    fn paths_of_all_layouts_are_known() {
        for (path, expected) in [
            ("boot/vmlinuz-6.1.0-37-cloud-amd64", Some(Role::Vmlinuz("6.1.0-37-cloud-amd64"))),
            ("usr/lib/modules/7.3.4/vmlinuz", Some(Role::Vmlinuz("7.3.4"))),
            ("boot/config-6.1", Some(Role::Config)),
            ("usr/lib/modules/7.3.4/config", Some(Role::Config)),
            ("lib/modules/6.1/modules.builtin", Some(Role::Builtin)),
            ("lib/modules/6.1/modules.builtin.modinfo", None),
            ("lib/modules/6.1/kernel/a/b-c.ko", Some(Role::Module("b_c".into()))),
            ("usr/lib/modules/7.3/kernel/a/b.ko.xz", Some(Role::Module("b".into()))),
            ("boot/System.map-6.1", None),
            ("usr/share/doc/x/vmlinuz", None),
        ] {
            assert_eq!(role(path), expected, "{path}");
        }
    }

    #[test]
    fn kept_modules_come_with_what_they_depend_on_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.deb");
        std::fs::write(&path, testing::kernel_deb("6.1.0-1", false)).unwrap();
        let mut parts = Parts::default();
        parts.add_deb(&path).unwrap();
        let kept = parts.kept_modules().unwrap();
        let names: Vec<&str> = kept.iter().map(|k| k.name.as_str()).collect();
        assert_eq!(names, ["veth", "virtio", "virtio_console", "virtio_pci"]);
        assert!(kept.iter().all(|k| k.bytes.starts_with(b"\x7fELF")), "they are unpacked");
    }
}
