//! What tests on real machines share: they run one at a time (`#[serial(vm)]`), on one kernel: the newest that is kept
//! (`bpf-vm kernels fetch 6.12`), or the one that BPF_VM_TEST_KERNEL names. Without QEMU, a kernel or a guest they are
//! skipped with the reason; with BPF_VM_TEST_KERNEL set that is a failure.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::env;
use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use bpf_kernel_tests::kernels::{Arch, KernelImage, Kernels};
use bpf_kernel_tests::vm::{self, Job, Machine, Output, Qemu, Report, VmError, choose_accel};

/// Names the kernel of the tests on machines like this one.
pub(crate) const KERNEL: &str = "BPF_VM_TEST_KERNEL";

/// What a real run needs, or nothing and the reason on standard error.
pub(crate) fn machine() -> Option<(Qemu, Machine)> {
    or_skip(KERNEL, find())
}

/// `bpf-vm run` on a kernel that is there, or nothing and the reason on standard error.
pub(crate) fn tool() -> Option<Command> {
    let (_, image, _) = or_skip(KERNEL, image(Arch::of_host(), KERNEL))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpf-vm"));
    command.args(["run", "--timeout", "60", "--kernel"]);
    command.arg(env::var(KERNEL).unwrap_or_else(|_| image.version.to_string()));
    Some(command)
}

/// Skips with the reason, or fails where tests on machines are what is wanted: the variable is set.
pub(crate) fn or_skip<T>(variable: &str, found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(reason) if env::var_os(variable).is_some() => panic!("{variable} is set, but {reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

fn find() -> Result<(Qemu, Machine), String> {
    let (qemu, image, kernels) = image(Arch::of_host(), KERNEL)?;
    let mut machine = Machine::of(&image);
    machine.snapshots = Some(kernels.cache().join("snapshots"));
    machine.accel = choose_accel(&qemu, &machine, kernels.cache(), &mut |text| eprintln!("{text}"));
    Ok((qemu, machine))
}

/// QEMU and a kernel of an architecture: the newest that is kept, or the one that the variable names.
pub(crate) fn image(arch: Arch, variable: &str) -> Result<(Qemu, KernelImage, Kernels), String> {
    let qemu = qemu(arch)?;
    let kernels = Kernels::new(arch).map_err(|error| error.to_string())?;
    let image = match env::var(variable) {
        Ok(text) => {
            let spec = text.parse().map_err(|error| format!("{text}: {error}"))?;
            kernels.get(&spec).map_err(|error| error.to_string())?.pop()
        }
        Err(_) => kernels.kept().pop(),
    };
    let fetch = if arch == Arch::of_host() { String::new() } else { format!(" --arch {arch}") };
    let image =
        image.ok_or_else(|| format!("no {arch} kernel is kept here (bpf-vm kernels fetch 6.12{fetch})"))?;
    Ok((qemu, image, kernels))
}

/// QEMU for an architecture that this build has a guest for.
pub(crate) fn qemu(arch: Arch) -> Result<Qemu, String> {
    if !vm::has_guest(arch) {
        return Err(VmError::GuestMissing { arch }.to_string());
    }
    Qemu::find_for(arch).map_err(|error| error.to_string())
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) result: Result<Report, VmError>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a script of the shell in a machine.
pub(crate) fn sh(qemu: &Qemu, machine: &Machine, script: &str, change: impl FnOnce(&mut Job)) -> Ran {
    let mut job = Job::new("/bin/sh", ["-c", script].map(OsString::from));
    job.timeout = Duration::from_secs(60);
    job.workspace = None;
    // Programs of this package that cargo names would come along.
    job.env.retain(|key, _| !key.to_string_lossy().contains("_BIN_EXE_"));
    change(&mut job);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut output = Output { stdout: &mut stdout, stderr: &mut stderr };
    let result = vm::run(qemu, machine, &job, &mut output, None);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { result, stdout: text(stdout), stderr: text(stderr) }
}
