//! bcc text as a source: what the builder lets its author choose, and the short ways in.

use std::path::PathBuf;

use bpf_vm_shim::object::{KernelProfile, Object};

use super::{Bpf, BpfBuilder};
use crate::compile::CompileError;
use crate::compile::bcc::{BccKernel, Text};
use crate::error::Error;

/// What all texts of a builder are compiled with.
#[derive(Clone, Default, Debug)]
pub(super) struct TextOptions {
    cflags: Vec<String>,
    kernel: Option<BccKernel>,
}

impl TextOptions {
    /// Compiles a text to an object of this name.
    pub(super) fn compile(&self, name: &str, text: Text, profile: &KernelProfile) -> Result<Object, Error> {
        let kernel = self.kernel(profile)?;
        let compiled = text.cflags(&self.cflags).compile(&kernel)?;
        let parsed = compiled.parse();
        let mut object = parsed.map_err(|source| Error::Load { object: name.to_owned(), source })?;
        name.clone_into(&mut object.name);
        Ok(object)
    }

    fn kernel(&self, _: &KernelProfile) -> Result<BccKernel, Error> {
        self.kernel.clone().ok_or_else(|| CompileError::NoTypes.into())
    }
}

impl BpfBuilder {
    /// A flag for the compiler of texts: `-DNAME=1`, `-I`, `include`, ...
    #[must_use]
    pub fn cflag(mut self, flag: impl Into<String>) -> Self {
        self.texts.cflags.push(flag.into());
        self
    }

    /// Flags for the compiler of texts.
    #[must_use]
    pub fn cflags(mut self, flags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.texts.cflags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// Defines a macro for texts.
    #[must_use]
    pub fn define(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.cflag(format!("-D{}={}", name.as_ref(), value.as_ref()))
    }

    /// A directory in which texts find what they include.
    #[must_use]
    pub fn include_dir(self, dir: impl Into<PathBuf>) -> Self {
        self.cflag(format!("-I{}", dir.into().to_string_lossy()))
    }

    /// The kernel that texts are compiled for: its types, configuration and tracepoints.
    #[must_use]
    pub fn bcc_kernel(mut self, kernel: BccKernel) -> Self {
        self.texts.kernel = Some(kernel);
        self
    }
}

impl Bpf {
    /// Compiles a text in the dialect of bcc's reference guide and loads it with all defaults.
    ///
    /// # Errors
    /// If there is no clang, the text does not compile, or the machine refuses it.
    pub fn from_text(text: impl Into<String>) -> Result<Self, Error> {
        Self::builder().text(text).load()
    }

    /// Compiles a file of such text and loads it with all defaults.
    ///
    /// # Errors
    /// As [`Bpf::from_text`], or if the file cannot be read.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::builder().source_file(path).load()
    }
}
