//! The jobs that run other tools.

use std::process::Command;

use crate::{conformance, fixtures, fuzz};

/// Runs a command from the workspace's root and shows it.
fn run(program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
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
fn has(subcommand: &str) -> bool {
    Command::new("cargo").args([subcommand, "--version"]).output().is_ok_and(|o| o.status.success())
}

pub(crate) fn fmt() -> Result<(), String> {
    cargo(&["fmt", "--all", "--", "--check"])
}

pub(crate) fn clippy() -> Result<(), String> {
    cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
}

pub(crate) fn doc() -> Result<(), String> {
    let args = ["doc", "--workspace", "--no-deps", "--all-features"];
    run("cargo", &args, &[("RUSTDOCFLAGS", "-D warnings")])
}

pub(crate) fn test() -> Result<(), String> {
    // Never blesses: a snapshot that differs is a failure, here and on every machine.
    let env = [("INSTA_UPDATE", "no"), ("CI", "1")];
    if has("nextest") {
        run("cargo", &["nextest", "run", "--workspace", "--all-features", "--no-fail-fast"], &env)?;
    } else {
        println!("cargo-nextest is not installed; using cargo test");
        let targets = ["--lib", "--bins", "--tests", "--examples", "--no-fail-fast"];
        run("cargo", &[&["test", "--workspace", "--all-features"], &targets[..]].concat(), &env)?;
    }
    run("cargo", &["test", "--workspace", "--all-features", "--doc"], &env)
}

pub(crate) fn bench_in_release(engines_only: bool) -> Result<(), String> {
    let mut args = vec!["run", "--quiet", "--release", "--package", "xtask", "--", "bench"];
    if engines_only {
        args.push("engines");
    }
    cargo(&args)
}

pub(crate) fn bless() -> Result<(), String> {
    run("cargo", &["test", "--workspace", "--all-features", "--no-fail-fast"], &[("INSTA_UPDATE", "always")])
}

/// One for each way in.
const EXAMPLES: [&str; 6] =
    ["vfsreadlat", "bcc_text", "packet_program", "scenario_file", "property_test", "snapshot_test"];

pub(crate) fn examples() -> Result<(), String> {
    for example in EXAMPLES {
        let package = ["run", "--quiet", "--package", "bpf-harness", "--all-features", "--example"];
        cargo(&[&package[..], &[example]].concat())?;
    }
    cargo(&[
        "build",
        "--quiet",
        "--package",
        "bpf-vm-shim",
        "--all-features",
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
    fuzz::run(None, fuzz_seconds, 0, false)
}
