//! Compiles the guest's init (`guest/`) into one static binary, which the library embeds.
//!
//! Why here and why with plain `rustc`:
//! * An installed `bpf-vm` must work without sources, toolchain or network, so the binary has to be inside it.
//! * A second cargo package would be left out of the published crate (cargo drops nested packages), and a cargo called
//!   from here would wait for locks of the outer one. The guest uses the standard library only, so `rustc` is enough.
//! * A binary in the repository would have to be trusted, and could differ from its source.
//!
//! `+crt-static` on a glibc target needs `libc.a`, which Debian's `libc6-dev` has and some distributions pack apart
//! (`glibc-static`). Without it the library still builds; running a VM then says what is missing.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=guest");
    println!("cargo::rerun-if-changed=src/vm/protocol.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let out = PathBuf::from(variable("OUT_DIR")).join("bpf-guest");
    let source = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("guest/main.rs");
    let target = variable("TARGET");
    let mut command = Command::new(variable("RUSTC"));
    command
        .args(["--edition", "2024", "--crate-name", "bpf_guest", "--crate-type", "bin", "--target", &target])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols", "-C", "codegen-units=1"])
        .args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static"]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.arg("-C").arg(format!("linker={linker}"));
    }
    command.arg("-o").arg(&out).arg(&source);
    let problem = if !target.contains("-linux-") {
        format!("the guest of bpf-vm runs Linux, {target} cannot build it")
    } else {
        match command.output() {
            Ok(output) if output.status.success() => return,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        }
    };
    for line in problem.lines().take(20) {
        println!("cargo::warning=bpf-vm guest: {line}");
    }
    if let Err(error) = std::fs::write(&out, []) {
        println!("cargo::error=cannot write {}: {error}", out.display());
    }
}
