//! Kernel images: which there are, where to get them, what is in them.
//!
//! A [`Spec`] says which kernels are meant, [`Kernels::get`] gives a [`KernelImage`] for each. What was fetched once is
//! kept under the user's cache folder and found again without a network, an index or a lock: the same words mean the same
//! kernel until [`Kernels::update`] is asked for.

mod apt;
mod btf;
mod config;
mod deb;
mod debversion;
mod elf;
mod error;
mod facts;
mod get;
mod image;
mod index;
mod local;
#[cfg(test)]
mod mutation_tests;
mod parts;
mod report;
mod sources;
mod spec;
mod store;
#[cfg(test)]
mod testing;
mod unpack;
mod version;
mod vmlinuz;

pub use config::KernelConfig;
pub use error::KernelsError;
pub use facts::Facts;
pub use get::Kernels;
pub use image::{KernelImage, Module};
pub use index::{Listed, Package};
pub use report::{Event, Report};
pub use spec::Spec;
pub use version::{Arch, NotAVersion, Version};
