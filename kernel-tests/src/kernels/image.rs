//! A kernel that is ready to boot.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::config::KernelConfig;
use super::error::KernelsError;
use super::version::{Arch, Version};

/// A kernel on this machine's disk, taken apart: what a virtual machine boots and what a test asks about.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KernelImage {
    /// The upstream version: 6.1.140 even where the release says 6.1.0-37.
    pub version: Version,
    /// What `uname -r` says: "6.12.38+deb12-cloud-amd64".
    pub release: String,
    /// The machine that it is for.
    pub arch: Arch,
    /// The compressed image as it was packaged.
    pub vmlinuz: PathBuf,
    /// What to boot: on x86-64 the uncompressed ELF with a PVH note, on arm64 the uncompressed `Image`.
    pub vmlinux: PathBuf,
    /// Modules for the virtio console, uncompressed, in the order in which they must be loaded; empty where all of them
    /// are built in. For others see [`KernelImage::load_order`].
    pub modules: Vec<PathBuf>,
    /// Every module that was kept, the above included.
    pub available: Vec<Module>,
    /// Names of modules that are built in. Where no list of them is to be had, those of virtio_pci, virtio_console, nvme
    /// and ext4 whose functions are in the kernel's BTF.
    pub builtin: Vec<String>,
    /// The raw `.BTF` section as a file, where the kernel has one.
    pub btf: Option<PathBuf>,
    /// What it was built with; empty where the package or the host gives no configuration.
    pub config: KernelConfig,
    /// Where it came from, for people.
    pub origin: String,
}

/// A loadable module of a [`KernelImage`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Module {
    /// Its name with underscores, as in `/proc/modules`.
    pub name: String,
    /// The uncompressed file.
    pub path: PathBuf,
    /// Names of the modules that it needs (`depends=` in its `.modinfo`).
    pub depends: Vec<String>,
}

impl KernelImage {
    /// Files to load, in order, so that the named modules are there: nothing for one that is built in, dependencies
    /// first. Dashes and underscores are the same, as for modprobe.
    ///
    /// # Errors
    ///
    /// [`KernelsError::NoModule`] for one that is neither built in nor was kept from the package.
    pub fn load_order(&self, names: &[&str]) -> Result<Vec<PathBuf>, KernelsError> {
        let mut order = Vec::new();
        for name in names {
            self.visit(&name.replace('-', "_"), &mut order, 0)?;
        }
        Ok(order)
    }

    /// Appends a module after what it depends on.
    fn visit(&self, name: &str, order: &mut Vec<PathBuf>, depth: usize) -> Result<(), KernelsError> {
        let Some(module) = self.available.iter().find(|m| m.name == name) else {
            if self.builtin.iter().any(|b| b == name) {
                return Ok(());
            }
            return Err(KernelsError::NoModule { module: name.to_owned(), release: self.release.clone() });
        };
        // Dependencies of modules have no cycles, but a damaged file may claim one.
        if order.contains(&module.path) || depth > 32 {
            return Ok(());
        }
        for needed in &module.depends {
            self.visit(needed, order, depth + 1)?;
        }
        if !order.contains(&module.path) {
            order.push(module.path.clone());
        }
        Ok(())
    }
}
