//! The tests of the kernel tier, on real kernels in virtual machines.

use std::process::Command;
use std::time::Instant;

use bpf_kernel_tests::kernels::{Arch, Kernels, Spec};
use bpf_kernel_tests::vm::{self, Qemu, VmError};

use crate::steps;

/// The test programs that run on both tiers.
const TESTS: [&str; 5] = ["kinds", "reference", "stimulus", "tiers", "tools_live"];
/// What `ci/test` runs them on: the oldest kernel with long support of Debian's current releases, and the current one.
pub(crate) const USUAL: [&str; 2] = ["6.1", "6.12"];

/// Why nothing can run on real kernels here, if so.
pub(crate) fn unavailable() -> Option<String> {
    Qemu::find().err().map(|e| e.to_string())
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
pub(crate) fn run(specs: &[String], partition: Option<&str>) -> Result<(), String> {
    if let Some(why) = unavailable() {
        return Err(why);
    }
    steps::run("cargo", &["build", "--package", "bpf-kernel-tests"], &[])?;
    let vm = std::env::current_exe().map_err(|e| e.to_string())?.with_file_name("bpf-vm");
    let triple = host_triple()?;
    let runner = format!("CARGO_TARGET_{}_RUNNER", triple.to_uppercase().replace('-', "_"));
    let kernels = Kernels::new(Arch::of_host()).map_err(|e| e.to_string())?;
    let mut results = Vec::new();
    for spec in specs {
        let parsed: Spec = spec.parse().map_err(|e| format!("{spec}: {e}"))?;
        for image in kernels.get(&parsed).map_err(|e| format!("{spec}: {e}"))? {
            let version = image.version.to_string();
            // Tools that watch disks have one where the kernel's package is complete; elsewhere they say that there is none.
            let disks = if image.load_order(&["loop"]).is_ok() { "--module loop " } else { "" };
            // Of kernels whose package has its modules, all that can be attached is known to be there.
            let whole = image.load_order(&["veth", "sch_ingress", "cls_bpf"]).is_ok()
                && image.config.is_on("BPF_LSM");
            let kinds = if whole { "--env BPF_TEST_ALL_KINDS=1 " } else { "" };
            let command = format!("{} run --kernel {version} --cpus 2 {disks}{kinds}--", vm.display());
            let env = [(runner.as_str(), command.as_str()), ("INSTA_UPDATE", "no"), ("CI", "1")];
            let begin = Instant::now();
            let result = tests(partition, &version, &env);
            results.push((version, begin.elapsed(), result));
        }
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
