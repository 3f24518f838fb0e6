//! The compiler of programs in a guest: clang on the host, for the kernel that was booted.

use std::path::PathBuf;

use bpf_harness::compile::CompileError;
use bpf_harness::compile::bcc::BccKernel;
use bpf_harness::compile::remote::{HostCompiler, types_of_file};
use bpf_vm_shim::object::{Arch as Target, KernelProfile};

use crate::kernels::{Arch, KernelImage, Version};
use crate::vm::Service;

/// Answers a guest's requests to compile bcc's dialect for this kernel. Nothing is read before the first of them.
#[must_use]
pub fn service(image: &KernelImage) -> Service {
    let image = image.clone();
    let compiler = HostCompiler::new(move || kernel(&image));
    Service::new(move |request| compiler.answer(request))
}

/// What texts for this kernel are compiled against; the guest says which tracepoints it has.
fn kernel(image: &KernelImage) -> Result<BccKernel, CompileError> {
    let btf: &PathBuf = image.btf.as_ref().ok_or(CompileError::NoTypes)?;
    let mut profile = KernelProfile::default();
    let Version { major, minor, patch } = image.version;
    let byte = |number: u16| u8::try_from(number).unwrap_or(u8::MAX);
    profile.version = KernelProfile::kernel_version(byte(major), byte(minor), patch.into());
    profile.arch = match image.arch {
        Arch::Amd64 => Target::X86_64,
        Arch::Arm64 => Target::Arm64,
    };
    profile.kconfig = image.config.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if let Some(hz) = image.config.get("HZ").and_then(|hz| hz.parse().ok()) {
        profile.hz = hz;
    }
    Ok(BccKernel::new(&profile, types_of_file(btf)?))
}
