//! The tests of the kernel tier, on real kernels in virtual machines.

use std::process::Command;
use std::time::Instant;

use bpf_kernel_tests::kernels::{Arch, KernelImage, Kernels, KernelsError, Spec};
use bpf_kernel_tests::vm::{self, Qemu, VmError};

use crate::steps;

/// The test programs that run on both tiers.
const TESTS: [&str; 5] = ["kinds", "reference", "stimulus", "tiers", "tools_live"];
/// What `ci/test` runs them on: the oldest kernel with long support of Debian's current releases, and the current one.
const USUAL: [Spec; 2] = [Spec::Series(6, 1), Spec::Series(6, 12)];
/// Every kernel that `bpf-vm` can get.
const ALL: Spec = Spec::Range { from: (5, 10), to: (99, 0) };

/// What nothing can run on real kernels for.
#[derive(Debug)]
pub(crate) enum Lack {
    /// This machine does not have what that takes: QEMU, what libbpf is compiled with, Debian's archive.
    Here(String),
    /// Something is wrong.
    Wrong(String),
}

impl Lack {
    fn text(self) -> String {
        match self {
            Self::Here(text) | Self::Wrong(text) => text,
        }
    }
}

/// The kernels to run on: those that are named, all for the matrix, or the usual ones.
pub(crate) fn wanted(named: Vec<Spec>, matrix: bool) -> Vec<Spec> {
    match (named.is_empty(), matrix) {
        (false, _) => named,
        (true, true) => vec![ALL],
        (true, false) => USUAL.to_vec(),
    }
}

/// Runs the tests on the usual kernels; a machine that cannot says why not.
pub(crate) fn usual() -> Result<(), String> {
    match images(&USUAL) {
        Ok(images) => on(&images, None),
        Err(Lack::Here(why)) => {
            println!("--- skipped: tests on real kernels: {why}");
            Ok(())
        }
        Err(Lack::Wrong(why)) => Err(why),
    }
}

/// The kernels, fetched, if all else is there too.
fn images(specs: &[Spec]) -> Result<Vec<KernelImage>, Lack> {
    let arch = Arch::of_host();
    Qemu::find().map_err(|e| Lack::Here(e.to_string()))?;
    if !vm::has_guest(arch) {
        return Err(Lack::Here(VmError::GuestMissing { arch }.to_string()));
    }
    if let Some(why) = steps::no_libbpf() {
        return Err(Lack::Here(why));
    }
    let kernels = Kernels::new(arch).map_err(|e| Lack::Wrong(e.to_string()))?;
    let mut images = Vec::new();
    for spec in specs {
        images.extend(kernels.get(spec).map_err(|e| lack(spec, &e))?);
    }
    Ok(images)
}

/// Without apt, without an archive or without a network there are no kernels; all else should not happen.
fn lack(spec: &Spec, error: &KernelsError) -> Lack {
    use KernelsError::{Apt, NoApt, NoMirror, Offline};
    let text = format!("kernel {spec}: {error}");
    match error {
        NoApt { .. } | NoMirror { .. } | Offline { .. } | Apt { .. } => Lack::Here(text),
        _ => Lack::Wrong(text),
    }
}

/// Runs arm64 programs on an arm64 kernel, which needs a guest and a QEMU for it; without them, says why not.
pub(crate) fn arm64() -> Result<(), String> {
    let arch = Arch::Arm64;
    let guest = if vm::has_guest(arch) { Ok(()) } else { Err(VmError::GuestMissing { arch }) };
    if let Err(why) = guest.and_then(|()| Qemu::find_for(arch)) {
        println!("--- skipped: arm64 programs: {why}");
        return Ok(());
    }
    let args = ["test", "--package", "bpf-kernel-tests", "--test", "arm64"];
    steps::run("cargo", &args, &[("BPF_VM_TEST_ARM64_KERNEL", "6.12")])
}

/// Runs the tests on every kernel that is meant; a partition (`hash:1/3`) is nextest's.
pub(crate) fn run(specs: &[Spec], partition: Option<&str>) -> Result<(), String> {
    on(&images(specs).map_err(Lack::text)?, partition)
}

fn on(images: &[KernelImage], partition: Option<&str>) -> Result<(), String> {
    steps::run("cargo", &["build", "--package", "bpf-kernel-tests"], &[])?;
    let vm = std::env::current_exe().map_err(|e| e.to_string())?.with_file_name("bpf-vm");
    let triple = host_triple()?;
    let runner = format!("CARGO_TARGET_{}_RUNNER", triple.to_uppercase().replace('-', "_"));
    let mut results = Vec::new();
    for image in images {
        let version = image.version.to_string();
        // Tools that watch disks have one where the kernel's package is complete; elsewhere they say that there is none.
        let disks = if image.load_order(&["loop"]).is_ok() { "--module loop " } else { "" };
        // Of kernels whose package has its modules, all that can be attached is known to be there.
        let whole =
            image.load_order(&["veth", "sch_ingress", "cls_bpf"]).is_ok() && image.config.is_on("BPF_LSM");
        let kinds = if whole { "--env BPF_TEST_ALL_KINDS=1 " } else { "" };
        let command = format!("{} run --kernel {version} --cpus 2 {disks}{kinds}--", vm.display());
        let env = [(runner.as_str(), command.as_str()), ("INSTA_UPDATE", "no"), ("CI", "1")];
        let begin = Instant::now();
        let result = tests(partition, &version, &env);
        results.push((version, begin.elapsed(), result));
    }
    println!("kernel        time    result");
    for (version, time, result) in &results {
        let text = result.as_ref().map_or_else(String::as_str, |()| "passed");
        println!("{version:<12}{:>5} s    {text}", time.as_secs());
    }
    let failed: Vec<&str> = results.iter().filter(|(_, _, r)| r.is_err()).map(|(v, ..)| v.as_str()).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("tests failed on {}", failed.join(", "))) }
}

/// With nextest each test has a machine of its own, which a snapshot makes cheap; without it all share one.
fn tests(partition: Option<&str>, version: &str, env: &[(&str, &str)]) -> Result<(), String> {
    println!("--- on {version}");
    let package = ["--package", "bpf-harness", "--features", "kernel"];
    let targets: Vec<&str> = TESTS.iter().flat_map(|t| ["--test", t]).collect();
    if steps::has("nextest") {
        let mut args = vec!["nextest", "run", "--profile", "kernel"];
        if let Some(partition) = partition {
            args.extend(["--partition", partition]);
        }
        return steps::run("cargo", &[&args[..], &package, &targets].concat(), env);
    }
    if partition.is_some() {
        return Err("partitions are nextest's: install cargo-nextest".to_owned());
    }
    let tail = ["--no-fail-fast", "--", "--test-threads=1"];
    steps::run("cargo", &[&["test"], &package[..], &targets, &tail].concat(), env)
}

fn host_triple() -> Result<String, String> {
    let out = Command::new("rustc").arg("-vV").output().map_err(|e| format!("rustc: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let host = text.lines().find_map(|l| l.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_an_archive_lacks_something_and_a_broken_kernel_is_wrong() {
        let offline = KernelsError::Offline { message: "no network".to_owned() };
        let Lack::Here(text) = lack(&USUAL[0], &offline) else { panic!("{offline}") };
        assert!(text.starts_with("kernel 6.1: the archive cannot be read"), "{text}");
        let gone = KernelsError::NoSuchKernel { spec: "6.1".to_owned(), arch: "amd64", known: String::new() };
        assert!(matches!(lack(&USUAL[0], &gone), Lack::Wrong(_)));
    }
}
