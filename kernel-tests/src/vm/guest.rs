//! The guest's init for each architecture: inside this program, or a file that a variable names.

use std::borrow::Cow;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use goblin::elf::header::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC};

use super::error::VmError;
use super::needs;
use crate::kernels::Arch;

/// Built from `guest/` by this crate's build script; empty where it could not be.
const AMD64: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bpf-guest-amd64"));
const ARM64: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bpf-guest-arm64"));

/// The variable that names a guest to use in place of the one inside: what another build of this version left in
/// `target/*/build/bpf-kernel-tests-*/out/bpf-guest-ARCH`.
#[must_use]
pub fn guest_variable(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "BPF_VM_GUEST_AMD64",
        Arch::Arm64 => "BPF_VM_GUEST_ARM64",
    }
}

/// Whether machines of this architecture can be run: there is a guest for them.
#[must_use]
pub fn has_guest(arch: Arch) -> bool {
    init(arch).is_ok()
}

/// The init of a machine of this architecture.
pub(super) fn init(arch: Arch) -> Result<Cow<'static, [u8]>, VmError> {
    let named = env::var_os(guest_variable(arch)).filter(|path| !path.is_empty()).map(PathBuf::from);
    chosen(arch, named.as_deref())
}

fn chosen(arch: Arch, named: Option<&Path>) -> Result<Cow<'static, [u8]>, VmError> {
    if let Some(path) = named {
        return read(arch, path).map(Cow::Owned);
    }
    match arch {
        Arch::Amd64 => Some(AMD64),
        Arch::Arm64 => Some(ARM64),
    }
    .filter(|guest| !guest.is_empty())
    .map(Cow::Borrowed)
    .ok_or(VmError::GuestMissing { arch })
}

/// A file that must be a static program for the architecture: what the kernel makes of another one is a panic.
fn read(arch: Arch, path: &Path) -> Result<Vec<u8>, VmError> {
    let bad = |what: String| VmError::BadFile {
        path: path.to_path_buf(),
        reason: format!("{} names it as the guest for {arch}, but {what}", guest_variable(arch)),
    };
    let bytes = fs::read(path).map_err(|error| bad(error.to_string()))?;
    let needs =
        needs::read(path).map_err(|error| bad(format!("it is not a program for Linux (ELF): {error}")))?;
    if needs.machine != machine(arch) {
        return Err(bad(format!("it is for {}", machine_name(needs.machine))));
    }
    let kind = bytes.get(16..18).and_then(|kind| kind.try_into().ok()).map(u16::from_le_bytes);
    if !matches!(kind, Some(ET_EXEC | ET_DYN)) {
        return Err(bad("it is not a program".to_owned()));
    }
    if needs.interpreter.is_some() || !needs.libraries.is_empty() {
        return Err(bad("it is not static".to_owned()));
    }
    Ok(bytes)
}

/// `e_machine` of an architecture's programs.
pub(super) fn machine(arch: Arch) -> u16 {
    match arch {
        Arch::Amd64 => EM_X86_64,
        Arch::Arm64 => EM_AARCH64,
    }
}

/// The architecture with this `e_machine`, if there are kernels for it.
pub(super) fn arch(machine: u16) -> Option<Arch> {
    match machine {
        EM_X86_64 => Some(Arch::Amd64),
        EM_AARCH64 => Some(Arch::Arm64),
        _ => None,
    }
}

/// An `e_machine` as people say it.
pub(super) fn machine_name(machine: u16) -> String {
    match machine {
        EM_X86_64 => "x86-64".to_owned(),
        EM_AARCH64 => "arm64".to_owned(),
        other => goblin::elf::header::machine_to_str(other).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of an ELF file without any segments.
    fn elf(machine: u16, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[16..18].copy_from_slice(&kind.to_le_bytes());
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[20] = 1;
        bytes[52] = 64;
        bytes[54] = 56;
        bytes
    }

    #[test]
    fn a_named_guest_is_taken_if_it_is_a_static_program_for_the_architecture() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("guest");
        for (bytes, wrong) in [
            (elf(EM_AARCH64, ET_EXEC), None),
            (elf(EM_AARCH64, ET_DYN), None),
            (elf(EM_AARCH64, 1), Some("it is not a program")),
            (elf(EM_X86_64, ET_EXEC), Some("it is for x86-64")),
            (b"#!/bin/sh\n".to_vec(), Some("it is not a program for Linux")),
            (fs::read("/bin/sh").expect("a shell"), Some("it is ")),
        ] {
            fs::write(&path, &bytes).expect("a file");
            match (chosen(Arch::Arm64, Some(&path)), wrong) {
                (Ok(found), None) => assert_eq!(found, bytes),
                (Err(error), Some(wrong)) => {
                    let text = error.to_string();
                    assert!(text.contains(wrong) && text.contains("BPF_VM_GUEST_ARM64"), "{text}");
                }
                (other, _) => panic!("{wrong:?}: {:?}", other.map(|bytes| bytes.len())),
            }
        }
        let missing = chosen(Arch::Arm64, Some(&dir.path().join("none"))).expect_err("it is not there");
        assert!(missing.to_string().contains("No such file"), "{missing}");
    }

    #[test]
    fn a_program_with_a_loader_is_no_guest() {
        // The C library of this machine is not static either, and is surely dynamic.
        let program = env::current_exe().expect("this test's path");
        let error = read(Arch::of_host(), &program).expect_err("tests are dynamic");
        assert!(error.to_string().contains("it is not static"), "{error}");
    }

    #[test]
    fn a_guest_that_was_not_built_says_what_to_install() {
        for arch in [Arch::Amd64, Arch::Arm64] {
            let text = VmError::GuestMissing { arch }.to_string();
            let cpu = if arch == Arch::Amd64 { "x86_64" } else { "aarch64" };
            assert!(text.contains(&format!("rustup target add {cpu}-unknown-linux-musl")), "{text}");
            assert!(text.contains(guest_variable(arch)), "{text}");
        }
    }
}
