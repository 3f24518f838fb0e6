//! `bpf-harness doctor`: what this machine offers. The simulator itself needs none of it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Format, Status, json_line};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Finding {
    name: &'static str,
    found: Option<String>,
    purpose: &'static str,
    how_to_get: &'static str,
}

pub(super) fn main(args: &Args, out: &mut dyn Write) -> io::Result<Status> {
    if args.format == Format::Text {
        writeln!(out, "The simulator needs nothing of this: it is ready.")?;
    }
    for f in findings() {
        match args.format {
            Format::Json => json_line(out, &f)?,
            Format::Text => match &f.found {
                Some(found) => writeln!(out, "[ok]      {}: {found}\n          for {}", f.name, f.purpose)?,
                None => writeln!(
                    out,
                    "[missing] {}\n          for {}\n          to get it: {}",
                    f.name, f.purpose, f.how_to_get
                )?,
            },
        }
    }
    Ok(Status::Ok)
}

fn findings() -> Vec<Finding> {
    vec![
        Finding {
            name: "clang",
            found: tool("clang"),
            purpose: "compiling BPF C sources",
            how_to_get: "install your distribution's package `clang` (Debian, Ubuntu: `apt install clang`)",
        },
        Finding {
            name: "llvm-objdump",
            found: tool("llvm-objdump"),
            purpose: "comparing disassembly by hand; `run` and `inspect` have their own",
            how_to_get: "install your distribution's package `llvm`",
        },
        Finding {
            name: "qemu-system-x86_64",
            found: tool("qemu-system-x86_64"),
            purpose: "running the same tests on real kernels in a VM",
            how_to_get: "install `qemu-system-x86` (Debian, Ubuntu) or `qemu-system-x86-core` (Fedora)",
        },
        Finding {
            name: "qemu-system-aarch64",
            found: tool("qemu-system-aarch64"),
            purpose: "running arm64 programs on arm64 kernels in a VM, on any machine (`bpf-vm run --arch arm64`)",
            how_to_get: "install `qemu-system-arm` (Debian, Ubuntu) or `qemu-system-aarch64-core` (Fedora)",
        },
        Finding {
            name: "/dev/kvm",
            found: readable("/dev/kvm"),
            purpose: "VMs at full speed; without it QEMU emulates, slowly",
            how_to_get: "enable virtualisation in the firmware, load kvm_intel or kvm_amd, join group `kvm`",
        },
        Finding {
            name: "/sys/kernel/btf/vmlinux",
            found: readable("/sys/kernel/btf/vmlinux"),
            purpose: "relocating against this machine's kernel (`run --btf /sys/kernel/btf/vmlinux`)",
            how_to_get: "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, or use a raw BTF file of any kernel",
        },
        Finding {
            name: "bpf(2)",
            found: may_use_bpf(),
            purpose: "running the same tests on this machine's kernel",
            how_to_get: "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
        },
    ]
}

/// The first executable of this name, or of this name with a version, in `PATH`.
fn tool(name: &str) -> Option<String> {
    let dirs: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let found = dirs.iter().map(|d| d.join(name)).find(|p| p.is_file());
    found.or_else(|| dirs.iter().find_map(|d| versioned(d, name))).map(|p| p.display().to_string())
}

/// `clang-19` and the like; the highest version.
fn versioned(dir: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    let version = |p: &Path| -> Option<u32> {
        p.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?.parse().ok()
    };
    entries.flatten().map(|e| e.path()).filter_map(|p| Some((version(&p)?, p))).max().map(|(_, p)| p)
}

fn readable(path: &str) -> Option<String> {
    std::fs::File::open(path).ok().map(|_| "readable".to_owned())
}

/// Whether this process has the capabilities that loading programs takes, from its own status.
fn may_use_bpf() -> Option<String> {
    const CAP_SYS_ADMIN: u32 = 21;
    const CAP_BPF: u32 = 39;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let caps = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    let caps = u64::from_str_radix(caps.trim(), 16).ok()?;
    let has = |cap: u32| caps >> cap & 1 != 0;
    match (has(CAP_SYS_ADMIN), has(CAP_BPF)) {
        (true, _) => Some("allowed (CAP_SYS_ADMIN)".to_owned()),
        (_, true) => Some("allowed (CAP_BPF)".to_owned()),
        _ => None,
    }
}
