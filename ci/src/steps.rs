//! The jobs that run other tools.

use std::process::Command;

use crate::{conformance, fixtures, fuzz, kernel};

/// Runs a command from the workspace's root and shows it.
pub(crate) fn run(program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
    println!("--- {program} {}", args.join(" "));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().copied()).current_dir(root);
    let status = command.status().map_err(|e| format!("{program}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{program} {}` failed ({status})", args.join(" "))) }
}

fn cargo(args: &[&str]) -> Result<(), String> {
    run("cargo", args, &[])
}

/// Whether `cargo SUBCOMMAND` is installed.
pub(crate) fn has(subcommand: &str) -> bool {
    Command::new("cargo").args([subcommand, "--version"]).output().is_ok_and(|o| o.status.success())
}

/// What libbpf cannot be compiled without and is not here, if anything.
pub(crate) fn no_libbpf() -> Option<String> {
    let header = |name: &str| std::path::Path::new("/usr/include").join(name).exists();
    let program = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let needed = [
        (header("libelf.h"), "libelf-dev"),
        (header("zlib.h"), "zlib1g-dev"),
        (program("make"), "make"),
        (program("pkg-config"), "pkg-config"),
    ];
    let missing: Vec<&str> = needed.iter().filter(|(there, _)| !there).map(|(_, name)| *name).collect();
    let text = || format!("not installed, and libbpf is compiled with it: {}", missing.join(", "));
    (!missing.is_empty()).then(text)
}

/// All features; without what libbpf is compiled with, all but the kernel tier's.
fn features() -> &'static [&'static str] {
    let Some(why) = no_libbpf() else { return &["--all-features"] };
    println!("without the feature `kernel`: {why}");
    &["--features", "bpf-harness/proptest,bpf-vm-shim/rbpf"]
}

pub(crate) fn fmt() -> Result<(), String> {
    cargo(&["fmt", "--all", "--", "--check"])
}

pub(crate) fn clippy() -> Result<(), String> {
    cargo(&[&["clippy", "--workspace", "--all-targets"], features(), &["--", "-D", "warnings"]].concat())
}

pub(crate) fn doc() -> Result<(), String> {
    let args = [&["doc", "--workspace", "--no-deps"], features()].concat();
    run("cargo", &args, &[("RUSTDOCFLAGS", "-D warnings")])
}

pub(crate) fn test() -> Result<(), String> {
    // Never blesses: a snapshot that differs is a failure, here and on every machine.
    let env = [("INSTA_UPDATE", "no"), ("CI", "1")];
    if has("nextest") {
        run("cargo", &[&["nextest", "run", "--workspace", "--no-fail-fast"], features()].concat(), &env)?;
    } else {
        println!("cargo-nextest is not installed; using cargo test");
        let targets = ["--lib", "--bins", "--tests", "--examples", "--no-fail-fast"];
        run("cargo", &[&["test", "--workspace"], features(), &targets].concat(), &env)?;
    }
    run("cargo", &[&["test", "--workspace", "--doc"], features()].concat(), &env)
}

pub(crate) fn bench_in_release(engines_only: bool) -> Result<(), String> {
    let mut args = vec!["run", "--quiet", "--release", "--package", "xtask", "--", "bench"];
    if engines_only {
        args.push("engines");
    }
    cargo(&args)
}

pub(crate) fn bless() -> Result<(), String> {
    let args = [&["test", "--workspace", "--no-fail-fast"], features()].concat();
    run("cargo", &args, &[("INSTA_UPDATE", "always")])
}

/// One for each way in.
const EXAMPLES: [&str; 6] =
    ["vfsreadlat", "bcc_text", "packet_program", "scenario_file", "property_test", "snapshot_test"];

pub(crate) fn examples() -> Result<(), String> {
    for example in EXAMPLES {
        let package = ["run", "--quiet", "--package", "bpf-harness", "--features", "proptest", "--example"];
        cargo(&[&package[..], &[example]].concat())?;
    }
    cargo(&[
        "build",
        "--quiet",
        "--package",
        "bpf-vm-shim",
        "--features",
        "rbpf",
        "--example",
        "conformance_plugin",
    ])?;
    // Beside this program, wherever the target directory is.
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    conformance::run(&own.with_file_name("examples").join("conformance_plugin"))
}

pub(crate) fn ci(fuzz_seconds: u64) -> Result<(), String> {
    fmt()?;
    clippy()?;
    doc()?;
    test()?;
    examples()?;
    fixtures::check()?;
    fuzz::run(None, fuzz_seconds, 0, false)?;
    kernel::usual()?;
    kernel::arm64()
}
