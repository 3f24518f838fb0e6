//! What has to be in a guest so that its kernel can start a program: the program, the interpreters of a script.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::VmError;
use super::guest;
use super::needs;
use super::qemu::find_program;
use super::roots::{Rooted, Roots};
use crate::kernels::Arch;

/// What a `#!` line may lead to in a row; the kernel allows 5 (BINPRM_MAX_RECURSION).
const MAX_INTERPRETERS: usize = 5;

/// The files that a program is started with, the program first. There is always one.
#[derive(Debug)]
pub(super) struct Start {
    /// The program.
    pub(super) program: Rooted,
    /// Interpreters of scripts, and what `env` finds for them.
    pub(super) interpreters: Vec<Rooted>,
    /// What the kernel executes in the end: an ELF file.
    executed: Rooted,
}

impl Start {
    /// Finds them. `name` is a path, from `cwd`, or a name to be found in a named root or on PATH.
    pub(super) fn of(name: &Path, cwd: &Path, roots: &Roots) -> Result<Self, VmError> {
        let program = locate(name, cwd, roots)?;
        let mut start = Self { program: program.clone(), interpreters: Vec::new(), executed: program };
        for _ in 0..MAX_INTERPRETERS {
            let Some((interpreter, argument)) = script(&start.executed.host())? else { return Ok(start) };
            if interpreter.ends_with("env")
                && let Some(name) = argument
            {
                start.interpreters.push(locate(&name, cwd, roots)?);
            }
            // One that is nowhere, or for another machine, is found where the script says, which tells so.
            start.executed = roots.find(&interpreter).unwrap_or(Rooted::same(interpreter));
            start.interpreters.push(start.executed.clone());
        }
        let reason = "its interpreter is a script whose interpreter is a script, and so on".to_owned();
        Err(VmError::BadFile { path: start.executed.host(), reason })
    }

    /// The architecture of the kernels that can run it, if there are any.
    pub(super) fn arch(&self) -> Result<Option<Arch>, VmError> {
        Ok(guest::arch(needs::of(&self.executed.host())?.machine))
    }

    /// Refuses what the kernel cannot start, since nothing in the guest could say so as well.
    pub(super) fn check(&self, kernel: Arch) -> Result<(), VmError> {
        let program = self.executed.host();
        let machine = needs::of(&program)?.machine;
        if machine == guest::machine(kernel) {
            return Ok(());
        }
        let (is, can_be) = (guest::machine_name(machine), guest::arch(machine));
        Err(VmError::ForeignProgram { program, is, can_be, kernel })
    }

    /// All of them.
    pub(super) fn files(&self) -> impl Iterator<Item = &Rooted> {
        std::iter::once(&self.program).chain(&self.interpreters)
    }
}

fn locate(name: &Path, cwd: &Path, roots: &Roots) -> Result<Rooted, VmError> {
    if let Some(found) = roots.program(name) {
        return Ok(found);
    }
    let wanted = if name.components().count() > 1 { cwd.join(name) } else { name.to_path_buf() };
    let found = find_program(&wanted, &env::var_os("PATH").unwrap_or_default());
    found.map(Rooted::same).ok_or_else(|| {
        let there = wanted.is_file();
        let reason = if there { "it is not executable" } else { "there is no such program on the host" };
        VmError::CannotStart {
            program: name.display().to_string(),
            reason: reason.to_owned(),
            missing: !there,
        }
    })
}

fn head(path: &Path) -> Result<Vec<u8>, VmError> {
    let mut head = Vec::new();
    let file = fs::File::open(path).map_err(VmError::io(path.display().to_string()))?;
    file.take(256).read_to_end(&mut head).map_err(VmError::io(path.display().to_string()))?;
    Ok(head)
}

/// Whether a file is a program or a shared library, as far as the guest could execute it.
pub(super) fn is_executed(path: &Path, kernel: Arch) -> bool {
    // ET_EXEC and ET_DYN only: objects for the BPF machine are ELF files too.
    let elf = head(path).is_ok_and(|h| h.starts_with(b"\x7fELF") && matches!(h.get(16), Some(2 | 3)));
    elf && needs::machine(path).and_then(guest::arch).is_none_or(|arch| arch == kernel)
}

/// The interpreter and its argument of a `#!` file.
fn script(path: &Path) -> Result<Option<(PathBuf, Option<PathBuf>)>, VmError> {
    let head = head(path)?;
    let Some(line) = head.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next())
    else {
        return Ok(None);
    };
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split_whitespace();
    Ok(words.next().map(|interpreter| (PathBuf::from(interpreter), words.next().map(PathBuf::from))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn executable(path: &Path, content: &[u8]) {
        fs::write(path, content).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is executable");
    }

    /// This test for another machine, as far as its header goes.
    fn for_machine(machine: u16) -> Vec<u8> {
        let mut bytes = fs::read(env::current_exe().expect("this test's path")).expect("its bytes");
        bytes.splice(18..20, machine.to_le_bytes());
        bytes
    }

    #[test]
    fn a_program_for_another_machine_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("foreign");
        let riscv = 243;
        for (machine, kernel, words) in [
            (
                riscv,
                Arch::Amd64,
                "is a program for RISCV, the guest is amd64: build it for that (x86_64-unknown-linux-gnu)",
            ),
            (
                guest::machine(Arch::Amd64),
                Arch::Arm64,
                "is a program for x86-64, the guest is arm64: build it for that (aarch64-unknown-linux-gnu), or take a \
                 kernel for the program (--arch amd64)",
            ),
        ] {
            executable(&path, &for_machine(machine));
            let start = Start::of(&path, dir.path(), &Roots::new(None, None)).expect("it is there");
            let error = start.check(kernel).expect_err("it is for another machine");
            assert!(error.to_string().ends_with(words), "{error}");
        }
        let arm64 = guest::machine(Arch::Arm64);
        executable(&path, &for_machine(arm64));
        let start = Start::of(&path, dir.path(), &Roots::new(None, None)).expect("it is there");
        assert_eq!(start.arch().expect("a program"), Some(Arch::Arm64));
        start.check(Arch::Arm64).expect("it is for that");
    }

    #[test]
    fn a_script_is_for_the_machine_of_its_interpreter() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("job");
        executable(&path, b"#!/usr/bin/env sh\n");
        let roots = Roots::new(Some(Arch::of_host()), None);
        let start = Start::of(Path::new("./job"), dir.path(), &roots).expect("it is there");
        assert_eq!(start.arch().expect("an interpreter"), Some(Arch::of_host()));
        assert_eq!(start.files().count(), 3, "the script, env and sh: {start:?}");

        // A root of another machine has its own.
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/bin")).expect("folders");
        for name in ["env", "sh"] {
            executable(&root.join("usr/bin").join(name), &for_machine(guest::machine(Arch::Arm64)));
        }
        let roots = Roots::new(Some(Arch::Arm64), Some(&root));
        let start = Start::of(Path::new("./job"), dir.path(), &roots).expect("it is there");
        start.check(Arch::Arm64).expect("its interpreter is for that");
        assert_eq!(start.interpreters[0], Rooted::new(&root, "/usr/bin/sh"));
        // And programs that are called by name.
        let start = Start::of(Path::new("sh"), dir.path(), &roots).expect("it is there");
        assert_eq!(start.program, Rooted::new(&root, "/usr/bin/sh"));
    }

    #[test]
    fn text_that_may_be_executed_is_still_no_program() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("text");
        executable(&path, b"hello");
        let start = Start::of(&path, dir.path(), &Roots::new(None, None)).expect("it is there");
        let error = start.check(Arch::Amd64).expect_err("it is text");
        assert!(error.to_string().contains("not a program for Linux"), "{error}");
    }
}
