//! Compiles the guest's init (`guest/`) into a static binary for each architecture, which the library embeds.
//!
//! Why here and why with plain `rustc`:
//! * An installed `bpf-vm` must work without sources, toolchain or network, so the binary has to be inside it.
//! * A second cargo package would be left out of the published crate (cargo drops nested packages), and a cargo called
//!   from here would wait for locks of the outer one. The guest uses the standard library only, so `rustc` is enough.
//! * A binary in the repository would have to be trusted, and could differ from its source.
//!
//! The guest for the architecture that is built for is compiled for the very target. `+crt-static` on a glibc target needs
//! `libc.a`, which Debian's `libc6-dev` has and some distributions pack apart (`glibc-static`). Otherwise, and for the other
//! architecture, there is musl, for which rustup's toolchains bring the C library and the linker, and glibc with a cross
//! compiler. Where nothing works the library still builds; running a VM then says what is missing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names as in `kernels::Arch`, and rustc's.
const ARCHES: [(&str, &str); 2] = [("amd64", "x86_64"), ("arm64", "aarch64")];

/// A way to compile the guest.
struct Way {
    target: String,
    linker: Option<String>,
}

fn main() {
    println!("cargo::rerun-if-changed=guest");
    println!("cargo::rerun-if-changed=src/vm/protocol.rs");
    if let Some(list) = installed_targets() {
        println!("cargo::rerun-if-changed={}", list.display());
    }
    let target = variable("TARGET");
    for (name, cpu) in ARCHES {
        let out = PathBuf::from(variable("OUT_DIR")).join(format!("bpf-guest-{name}"));
        let own = target.split('-').next() == Some(cpu);
        let mut problem = None;
        if !ways(cpu, own.then_some(&*target)).iter().any(|way| match compile(way, &out) {
            Ok(()) => true,
            Err(error) => {
                problem.get_or_insert(error);
                false
            }
        }) {
            // The other architecture is a bonus: nobody is warned of what few need.
            for line in problem.filter(|_| own).unwrap_or_default().lines().take(20) {
                println!("cargo::warning=bpf-vm guest: {line}");
            }
            if let Err(error) = fs::write(&out, []) {
                println!("cargo::error=cannot write {}: {error}", out.display());
            }
        }
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// What is tried, the best first. `built_for` is the target of the library, if it is of this architecture.
fn ways(cpu: &str, built_for: Option<&str>) -> Vec<Way> {
    let (musl, gnu) = (format!("{cpu}-unknown-linux-musl"), format!("{cpu}-unknown-linux-gnu"));
    let mut ways = Vec::new();
    if let Some(target) = built_for.filter(|target| target.contains("-linux-")) {
        ways.push(Way { target: target.to_owned(), linker: env::var("RUSTC_LINKER").ok() });
    }
    ways.push(Way { target: musl, linker: Some("rust-lld".to_owned()) });
    // Cargo's own variable for it, which whoever compiles for that target has set.
    let chosen = env::var(format!("CARGO_TARGET_{}_LINKER", gnu.to_uppercase().replace('-', "_")));
    let linker = chosen.unwrap_or_else(|_| format!("{cpu}-linux-gnu-gcc"));
    ways.push(Way { target: gnu, linker: Some(linker) });
    ways
}

fn compile(way: &Way, out: &Path) -> Result<(), String> {
    let mut command = Command::new(variable("RUSTC"));
    command
        .args([
            "--edition",
            "2024",
            "--crate-name",
            "bpf_guest",
            "--crate-type",
            "bin",
            "--target",
            &way.target,
        ])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols", "-C", "codegen-units=1"])
        .args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static"]);
    if let Some(linker) = &way.linker {
        command.arg("-C").arg(format!("linker={linker}"));
    }
    command.arg("-o").arg(out).arg(Path::new(&variable("CARGO_MANIFEST_DIR")).join("guest/main.rs"));
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What changes when a target is added: rustup's list of components, or the folder where a distribution puts them.
fn installed_targets() -> Option<PathBuf> {
    let output = Command::new(variable("RUSTC")).args(["--print", "sysroot"]).output().ok()?;
    let folder = Path::new(String::from_utf8(output.stdout).ok()?.trim()).join("lib/rustlib");
    [folder.join("components"), folder].into_iter().find(|path| path.exists())
}
