//! bcc text as a source: what the builder lets its author choose, and the short ways in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bpf_helpers_mock::passes::{self, PassError};
use bpf_vm_shim::object::{AttachKind, AttachPoint, KernelProfile, Object};

use super::attach::names_a_place;
use super::{Bpf, BpfBuilder};
use crate::compile::bcc::{BccKernel, Compiled, Text, attach_of_name};
use crate::compile::{Clang, CompileError};
use crate::error::Error;
use crate::profile::Profile;
use crate::usdt::Usdt;

/// What all texts of a builder are compiled with.
#[derive(Clone, Default, Debug)]
pub(super) struct TextOptions {
    cflags: Vec<String>,
    kernel: Option<BccKernel>,
    usdt: Vec<Usdt>,
    clang: Option<Clang>,
    no_probe_reads: bool,
    no_attach: bool,
}

impl TextOptions {
    /// Compiles a text to an object of this name, parsed and as bytes.
    pub(super) fn compile(
        &self,
        name: &str,
        text: Text,
        profile: Option<&Profile>,
        kernel: &KernelProfile,
    ) -> Result<(Object, Vec<u8>), Error> {
        parse(name, self.compiled(text, profile, kernel)?)
    }

    /// Compiles a text.
    pub(super) fn compiled(
        &self,
        text: Text,
        profile: Option<&Profile>,
        kernel: &KernelProfile,
    ) -> Result<Compiled, Error> {
        let kernel = self.kernel(profile, kernel)?;
        let text = text.cflags(&self.cflags).usdt_contexts(self.usdt.iter().cloned());
        Ok(match &self.clang {
            Some(clang) => text.compile_with(clang, &kernel)?,
            None => text.compile(&kernel)?,
        })
    }

    /// What is done to the programs of texts before they are loaded.
    pub(super) fn passes(&self, kernel: &KernelProfile) -> passes::Options {
        passes::Options::for_kernel(kernel).with_probe_reads(!self.no_probe_reads)
    }

    /// The probes that functions are to be attached to.
    pub(super) fn usdt(&self) -> &[Usdt] {
        &self.usdt
    }

    /// Whether programs are attached that are named after what they are attached to.
    pub(super) const fn attaches(&self) -> bool {
        !self.no_attach
    }

    /// Whether the kernel that texts are compiled for is given.
    pub(super) const fn has_kernel(&self) -> bool {
        self.kernel.is_some()
    }

    /// The given kernel; else the profile's types and tracepoints, with the version and configuration of the kernel
    /// that the programs will run on.
    fn kernel(&self, profile: Option<&Profile>, kernel: &KernelProfile) -> Result<BccKernel, Error> {
        match (&self.kernel, profile) {
            (Some(given), _) => Ok(given.clone()),
            (None, Some(profile)) => profile.clone().with_kernel(|k| k.clone_from(kernel)).bcc_kernel(),
            (None, None) => Err(CompileError::NoTypes.into()),
        }
    }
}

impl BpfBuilder {
    /// A flag for the compiler of texts: `-DNAME=1`, `-I`, `include`, ...
    #[must_use]
    pub fn cflag(mut self, flag: impl Into<String>) -> Self {
        self.texts.cflags.push(flag.into());
        self
    }

    /// The compiler of texts; otherwise [`Clang::find`] looks for one.
    #[must_use]
    pub fn clang(mut self, clang: Clang) -> Self {
        self.texts.clang = Some(clang);
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

    /// With or without reading kernel memory automatically where a text reads it directly (row 51 of the reference
    /// guide). Without, a program that does so is refused with the verifier's words.
    #[must_use]
    pub fn auto_probe_reads(mut self, on: bool) -> Self {
        self.texts.no_probe_reads = !on;
        self
    }

    /// With or without attaching the programs of texts that are named after their place (`kprobe__vfs_read`).
    #[must_use]
    pub fn auto_attach(mut self, on: bool) -> Self {
        self.texts.no_attach = !on;
        self
    }

    /// Probes of a binary or process that functions of the texts are enabled for (bcc's `usdt_contexts`). They are
    /// attached when everything is loaded; their arguments are what `bpf_usdt_readarg()` reads.
    #[must_use]
    pub fn usdt_context(mut self, usdt: Usdt) -> Self {
        self.texts.usdt.push(usdt);
        self
    }

    /// The kernel that texts are compiled for: its types, configuration and tracepoints.
    #[must_use]
    pub fn bcc_kernel(mut self, kernel: BccKernel) -> Self {
        self.texts.kernel = Some(kernel);
        self
    }
}

/// Parses what a text was compiled to, under the object's name.
pub(super) fn parse(name: &str, compiled: Compiled) -> Result<(Object, Vec<u8>), Error> {
    let parsed = compiled.parse();
    let mut object = parsed.map_err(|source| Error::Load { object: name.to_owned(), source })?;
    name.clone_into(&mut object.name);
    Ok((object, compiled.object))
}

/// The error of a program that would have been attached, had it not been refused; the others wait until somebody wants
/// them.
pub(super) fn refuse(object: &Object, refused: &BTreeMap<String, PassError>) -> Result<(), Error> {
    let attached = object.programs.iter().filter(|p| names_a_place(&p.attach));
    match attached.filter_map(|p| refused.get(&p.name)).next() {
        Some(error) => Err(error.clone().into()),
        None => Ok(()),
    }
}

impl Bpf {
    /// The programs that a kernel would refuse, or that cannot be changed so that one would take them, and why. They are
    /// not there; those of bcc text that would have been attached are errors when they are loaded.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &PassError)> {
        self.objects.iter().flat_map(|o| o.refused.iter().map(|(name, why)| (name.as_str(), why)))
    }

    /// Attaches the programs whose names say where (bcc's `_trace_autoload`).
    pub(super) fn attach_named(&mut self) -> Result<(), Error> {
        let names: Vec<String> = self.program_names().map(str::to_owned).collect();
        for name in &names {
            let Some((_, target)) = attach_of_name(name) else { continue };
            match &target.point {
                AttachPoint::Symbol { name: function, .. } => {
                    let function = self.fix_syscall_fnname(function);
                    if target.kind == AttachKind::Kretprobe {
                        self.attach_kretprobe(&function, name)?;
                    } else {
                        self.attach_kprobe(&function, name)?;
                    }
                }
                AttachPoint::Tracepoint { category, name: event } => {
                    self.attach_tracepoint(&format!("{category}:{event}"), name)?;
                }
                AttachPoint::Name(event) if target.kind == AttachKind::RawTracepoint => {
                    self.attach_raw_tracepoint(event, name)?;
                }
                AttachPoint::Name(_) => self.attach(name)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The function of a system call by any of the names that kernels have given it (bcc's `fix_syscall_fnname`);
    /// other functions stay as they are.
    #[must_use]
    pub fn fix_syscall_fnname(&self, function: &str) -> String {
        const PREFIXES: [&str; 8] = [
            "sys_",
            "__x64_sys_",
            "__x32_compat_sys_",
            "__ia32_compat_sys_",
            "__arm64_sys_",
            "__s390x_sys_",
            "__s390_sys_",
            "__riscv_sys_",
        ];
        match PREFIXES.iter().find_map(|p| function.strip_prefix(p)) {
            Some(call) => self.get_syscall_fnname(call),
            None => function.to_owned(),
        }
    }

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
