//! What has to be in a guest so that its kernel can start a program: the program, the interpreters of a script.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use goblin::elf::header::EM_386;

use super::error::VmError;
use super::guest;
use super::needs::{self, Needs};
use super::qemu::is_executable;
use super::roots::{Rooted, Roots};
use super::script::{self, Line};
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
    /// Where `env` finds them by name.
    pub(super) folders: Vec<PathBuf>,
    /// What the kernel executes in the end: an ELF file.
    executed: Rooted,
}

impl Start {
    /// Finds them. `name` is a path, from `cwd`, or a name to be found in a named root or on PATH.
    pub(super) fn of(name: &Path, cwd: &Path, roots: &Roots) -> Result<Self, VmError> {
        let program = locate(name, &env::var_os("PATH").unwrap_or_default(), cwd, roots)?;
        let executed = program.clone();
        let mut start =
            Self { program: program.clone(), interpreters: Vec::new(), folders: Vec::new(), executed };
        start.executed = start.interpret(&program, cwd, roots, 0)?;
        Ok(start)
    }

    /// Finds what a script takes, and what that takes; gives what the kernel executes in the end.
    fn interpret(
        &mut self,
        file: &Rooted,
        cwd: &Path,
        roots: &Roots,
        depth: usize,
    ) -> Result<Rooted, VmError> {
        let host = file.host();
        let head = script::head(&host).map_err(|error| not_started(&host, &error))?;
        let Some(line) = Line::of(&head) else { return Ok(file.clone()) };
        if depth == MAX_INTERPRETERS {
            let reason = "its interpreter is a script whose interpreter is a script, and so on".to_owned();
            return Err(VmError::CannotStart { program: host.display().to_string(), reason, missing: false });
        }
        if let Some(by_env) = line.by_env() {
            let path = by_env.path.clone().or_else(|| env::var_os("PATH")).unwrap_or_default();
            let found = locate(&by_env.program, &path, cwd, roots)?;
            let named = by_env.path.is_none() && by_env.program.components().count() == 1;
            self.folders.extend(found.path.parent().filter(|_| named).map(Path::to_path_buf));
            if !self.interpreters.contains(&found) {
                self.interpreters.push(found.clone());
                // `env` starts it anew.
                self.interpret(&found, cwd, roots, 0)?;
            }
        }
        // One that is nowhere, or for another machine, is found where the script says, which tells so.
        let place = cwd.join(&line.interpreter);
        let interpreter = roots.find(&place).unwrap_or(Rooted::same(place));
        self.interpreters.push(interpreter.clone());
        self.interpret(&interpreter, cwd, roots, depth + 1)
    }

    /// The architecture of the kernels that can run it, if there are any.
    pub(super) fn arch(&self) -> Result<Option<Arch>, VmError> {
        Ok(guest::arch(self.needs()?.machine))
    }

    /// Refuses what the kernel cannot start, since nothing in the guest could say so as well.
    pub(super) fn check(&self, kernel: Arch) -> Result<(), VmError> {
        let machine = self.needs()?.machine;
        if machine == guest::machine(kernel) {
            return Ok(());
        }
        let (is, can_be) = (guest::machine_name(machine), guest::arch(machine));
        Err(VmError::ForeignProgram { program: self.executed.host(), is, can_be, kernel })
    }

    fn needs(&self) -> Result<Needs, VmError> {
        let program = self.executed.host();
        needs::of(&program).map_err(|error| match error {
            VmError::BadFile { reason, .. } => {
                VmError::CannotStart { program: program.display().to_string(), reason, missing: false }
            }
            other => other,
        })
    }

    /// All of them.
    pub(super) fn files(&self) -> impl Iterator<Item = &Rooted> {
        std::iter::once(&self.program).chain(&self.interpreters)
    }
}

/// What a shell would say of a program or an interpreter that cannot be read.
fn not_started(program: &Path, error: &io::Error) -> VmError {
    let missing = error.kind() == io::ErrorKind::NotFound;
    VmError::CannotStart { program: program.display().to_string(), reason: error.to_string(), missing }
}

/// The program of this name: on a path from `cwd`, in a named root, or in one of the folders of `path`.
fn locate(name: &Path, path: &OsStr, cwd: &Path, roots: &Roots) -> Result<Rooted, VmError> {
    if let Some(found) = roots.program(name) {
        return Ok(found);
    }
    let candidates: Vec<PathBuf> = if name.components().count() > 1 || name.has_root() {
        vec![cwd.join(name)]
    } else {
        // An empty one is the current folder, as a relative one is below it.
        env::split_paths(path).map(|folder| cwd.join(folder).join(name)).collect()
    };
    if let Some(found) = candidates.iter().find(|candidate| is_executable(candidate)) {
        // Without the dots.
        return Ok(Rooted::same(found.components().collect::<PathBuf>()));
    }
    let there = candidates.iter().find(|candidate| candidate.exists());
    let reason = match there {
        Some(folder) if folder.is_dir() => "it is a folder",
        Some(_) => "it is not executable",
        None => "there is no such program on the host",
    };
    Err(VmError::CannotStart {
        program: name.display().to_string(),
        reason: reason.to_owned(),
        missing: there.is_none(),
    })
}

/// Whether a file is a program or a shared library, as far as the guest could execute it.
pub(super) fn is_executed(path: &Path, kernel: Arch) -> bool {
    // ET_EXEC and ET_DYN only: objects for the BPF machine are ELF files too.
    let elf = script::head(path).is_ok_and(|h| h.starts_with(b"\x7fELF") && matches!(h.get(16), Some(2 | 3)));
    let runs = |machine| machine == guest::machine(kernel) || kernel == Arch::Amd64 && machine == EM_386;
    elf && needs::machine(path).is_some_and(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
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
        assert_eq!(error.exit_code(), 126);
    }

    #[test]
    fn what_env_finds_may_be_a_script_in_a_folder_of_its_own() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (job, tool) = (dir.path().join("job"), dir.path().join("bin/tool"));
        fs::create_dir(dir.path().join("bin")).expect("a folder");
        executable(&tool, b"#!/bin/sh -e\n");
        let roots = Roots::new(Some(Arch::of_host()), None);
        let of = |text: String| {
            executable(&job, text.as_bytes());
            Start::of(Path::new("./job"), dir.path(), &roots)
        };
        let path = dir.path().join("bin");
        let start = of(format!("#!/usr/bin/env -S PATH={} tool -x\n", path.display())).expect("it is there");
        let found: Vec<_> = start.files().map(Rooted::host).collect();
        assert_eq!(found, [&job, &tool, Path::new("/bin/sh"), Path::new("/usr/bin/env")]);
        assert!(start.folders.is_empty(), "the line says where");
        assert_eq!(start.arch().expect("a program"), Some(Arch::of_host()));
        let start = of("#!/usr/bin/env -S A=1 sh -e\n".to_owned()).expect("it is there");
        let folder = start.interpreters[0].path.parent().expect("a folder").to_path_buf();
        assert_eq!(start.folders, [folder]);
        // A script that starts itself has no end, but its files have.
        let start = of("#!/usr/bin/env -S ./job\n".to_owned()).expect("it is there");
        assert!(start.files().count() < 6, "{start:?}");
        for (text, code) in
            [("#!/no/such/sh\n", 127), ("#!/usr/bin/env no-such-tool\n", 127), ("#!job\n", 126)]
        {
            let error = of(text.to_owned()).expect_err("it cannot be started");
            assert_eq!(error.exit_code(), code, "{text}: {error}");
        }
    }

    #[test]
    fn names_are_looked_for_from_the_working_directory() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("bin")).expect("a folder");
        for name in ["bin/tool", "here"] {
            executable(&dir.path().join(name), b"");
        }
        let roots = Roots::new(None, None);
        let find = |name: &str, path: &str| locate(name.as_ref(), path.as_ref(), dir.path(), &roots);
        for (name, path, found) in [
            ("tool", "/nonexistent:bin", "bin/tool"),
            ("here", ".:/usr/bin", "here"),
            ("here", "/nonexistent:", "here"),
            ("./here", "", "here"),
            ("bin/tool", "", "bin/tool"),
        ] {
            assert_eq!(find(name, path).expect("it is there").path, dir.path().join(found), "{name} {path}");
        }
        for (name, code) in [("bin", 127), ("./bin", 126), ("/", 126), ("none", 127)] {
            let error = find(name, "/nonexistent").expect_err("it is no program");
            assert_eq!(error.exit_code(), code, "{name}: {error}");
        }
    }
}
