//! `bpf-vm run`: a program of the host on other kernels; its exit status is the tool's.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, ValueEnum};

use super::Outcome;
use super::progress::Bars;
use super::streams::{Streams, last_words};
use super::terminal::RawTerminal;
use crate::compiler;
use crate::kernels::{Arch, KernelImage, Kernels, Spec};
use crate::vm::{self, Accel, AtStart, Input, Job, Machine, Output, Qemu, Report, Signals, VmError};

/// Longer than anyone sits at a terminal.
const FOR_EVER: Duration = Duration::from_secs(365 * 86400);

/// What `bpf-vm run` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A kernel: a version (6.12), a range (5.10..7.3), `newest`, `host`, or the path of a vmlinux or bzImage; several run
    /// one after another
    #[arg(long, value_name = "SPEC", default_value = "newest")]
    kernel: Vec<Spec>,
    /// What the kernels are for: amd64 (x86_64) or arm64 (aarch64); another machine than this one is emulated [default: what
    /// the program is for]
    #[arg(long, value_name = "A", value_parser = arch)]
    arch: Option<Arch>,
    /// The folder of a system that the program's loader and libraries are taken from, such as a cross compiler's [default:
    /// this machine's, and for a foreign program /usr/aarch64-linux-gnu and the like]
    #[arg(long, value_name = "DIR")]
    sysroot: Option<PathBuf>,
    /// Virtual CPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// Memory, such as 512M or 2G [default: 512M, more for large programs]
    #[arg(long, value_name = "M", value_parser = mebibytes)]
    memory: Option<u64>,
    /// How long the program may take, such as 90, 90s or 10m [default: 10m; with --interactive as long as it likes]
    #[arg(long, value_name = "T", value_parser = duration)]
    timeout: Option<Duration>,
    /// How much the program may print, and leave as results, such as 256M or 2G
    #[arg(long, value_name = "M", default_value = "256M", value_parser = output_limit)]
    output_limit: u64,
    /// A variable of the program's environment, besides those of cargo and the test harness that are passed on
    #[arg(long, value_name = "K=V", value_parser = OsStringValueParser::new().try_map(assignment))]
    env: Vec<(OsString, OsString)>,
    /// A file or folder of the host to copy into the guest at the same path
    #[arg(long, value_name = "PATH")]
    ro: Vec<PathBuf>,
    /// Do not copy the workspace of the test into the guest, which is done when cargo or nextest starts this
    #[arg(long)]
    no_workspace: bool,
    /// A kernel module to load first, by name where the kernel's package is known, or a file; those that attaching programs
    /// takes (veth, sch_ingress, cls_bpf, act_bpf) are loaded anyway
    #[arg(long, value_name = "NAME")]
    module: Vec<String>,
    /// The host's folder for what the program leaves in the folder that BPF_VM_RESULTS names; of several kernels each has
    /// a folder in it, by its version
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// A word for the kernel's command line
    #[arg(long, value_name = "WORD")]
    append: Vec<String>,
    /// Boot, even where a snapshot of the booted kernel could be restored
    #[arg(long)]
    cold: bool,
    /// The guest's network: there is none but its own loopback
    #[arg(long, value_name = "NET", default_value = "none")]
    net: Net,
    /// Give the program a terminal, which is this one
    #[arg(long, short)]
    interactive: bool,
    /// Say how long it took
    #[arg(long, short, action = ArgAction::SetTrue)]
    verbose: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// What the guest is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Net {
    /// Nothing
    None,
}

/// A kernel to run on, by a name for people.
struct Target {
    name: String,
    machine: Machine,
    image: KernelImage,
}

pub(super) fn main(args: &Args) -> Outcome {
    let mut job = job(args)?;
    // Before anything is fetched for it.
    let (arch, qemu) = match prepare(&job, args.arch) {
        Ok(prepared) => prepared,
        Err(error) => return Ok(complain(None, &error)),
    };
    let kernels = Kernels::new(arch)?.with_report(Bars::new());
    let targets = targets(args, &kernels)?;
    let signals = Signals::catch()?;
    let streams = Streams::start()?;
    let several = targets.len() > 1;
    let Net::None = args.net;
    // Several programs cannot read the same bytes. A terminal would be read to no one's use by most programs.
    if !several && !std::io::stdin().is_terminal() {
        job.input = Input::Inherited;
    }
    let mut worst = 0;
    for mut target in targets {
        let mut say = |text: &str| {
            let _ = writeln!(std::io::stderr(), "bpf-vm: {text}");
        };
        if several {
            say(&format!("on {}", target.name));
        }
        if !args.cold {
            target.machine.snapshots = Some(kernels.cache().join("snapshots"));
        }
        target.machine.accel = vm::choose_accel(&qemu, &target.machine, kernels.cache(), &mut say);
        job.service = Some(compiler::service(&target.image));
        if let Some(results) = args.results.as_ref().filter(|_| several) {
            job.results = Some(results.join(&target.name));
        }
        let terminal = if args.interactive { Some(Arc::new(RawTerminal::find()?)) } else { None };
        if let Some(terminal) = &terminal {
            job.input = terminal.input();
            // Until then Ctrl-C is for bpf-vm.
            let terminal = Arc::clone(terminal);
            job.at_start = Some(AtStart::new(move || terminal.make_raw()));
        }
        let [mut stdout, mut stderr] = streams.writers();
        let mut output = Output { stdout: &mut stdout, stderr: &mut stderr };
        let ran = vm::run(&qemu, &target.machine, &job, &mut output, Some(&signals));
        let ran = streams.settle(ran);
        job.at_start = None;
        drop(terminal);
        let status = match ran {
            Ok(report) => {
                report.notes.iter().for_each(|note| say(&format!("guest: {note}")));
                if args.verbose {
                    say(&summary(&report, target.machine.accel));
                }
                report.status
            }
            Err(error @ VmError::Interrupted { .. }) => {
                complain(several.then_some(&*target.name), &error);
                return Ok(ExitCode::from(error.exit_code()));
            }
            Err(error) => {
                complain(several.then_some(&*target.name), &error);
                error.exit_code()
            }
        };
        if worst == 0 {
            worst = status;
        }
    }
    Ok(ExitCode::from(worst))
}

/// What kernels the program runs on, and the QEMU for them.
fn prepare(job: &Job, wanted: Option<Arch>) -> Result<(Arch, Qemu), VmError> {
    let arch = match wanted {
        Some(arch) => arch,
        None => job.arch()?.unwrap_or(Arch::of_host()),
    };
    job.check(arch)?;
    Ok((arch, Qemu::find_for(arch)?))
}

/// An error of the machine, not of the program: said apart from the program's output, with its own exit status.
fn complain(kernel: Option<&str>, error: &VmError) -> ExitCode {
    let on = kernel.map(|name| format!(" (kernel {name})")).unwrap_or_default();
    last_words(format!("bpf-vm: error{on}: {error}"));
    ExitCode::from(error.exit_code())
}

fn summary(report: &Report, accel: Accel) -> String {
    let how = if accel == Accel::Kvm { "with KVM" } else { "emulated" };
    format!(
        "{} {how}: guest ready at {:.2} s, program ended at {:.2} s with status {}",
        report.release,
        report.boot.as_secs_f64(),
        report.total.as_secs_f64(),
        report.status
    )
}

fn job(args: &Args) -> Result<Job, Box<dyn std::error::Error>> {
    let (program, rest) = args.command.split_first().ok_or("no program given")?;
    let mut job = Job::new(program, rest.iter().cloned());
    job.env.extend(args.env.iter().cloned());
    job.bring.clone_from(&args.ro);
    job.sysroot = args.sysroot.as_ref().map(|root| job.cwd.join(root));
    if args.no_workspace {
        job.workspace = None;
    }
    job.results.clone_from(&args.results);
    job.timeout = args.timeout.unwrap_or(if args.interactive { FOR_EVER } else { job.timeout });
    job.output_limit = args.output_limit;
    Ok(job)
}

fn targets(args: &Args, kernels: &Kernels) -> Result<Vec<Target>, Box<dyn std::error::Error>> {
    let mut targets = Vec::new();
    for spec in &args.kernel {
        for image in kernels.get(spec)? {
            let machine = of_image(args, &image)?;
            targets.push(Target { name: image.version.to_string(), machine, image });
        }
    }
    Ok(targets)
}

fn of_image(args: &Args, image: &KernelImage) -> Result<Machine, Box<dyn std::error::Error>> {
    let mut machine = Machine::of(image);
    machine.cpus = args.cpus;
    machine.memory_mib = args.memory;
    // The last word for a thing is the one that counts.
    machine.append.extend(args.append.iter().cloned());
    let (files, names): (Vec<&String>, Vec<&String>) =
        args.module.iter().partition(|name| name.contains('/'));
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    for path in image.load_order(&names)?.into_iter().chain(files.into_iter().map(PathBuf::from)) {
        if !machine.modules.contains(&path) {
            machine.modules.push(path.clone());
        }
        machine.asked.push(path);
    }
    Ok(machine)
}

fn arch(text: &str) -> Result<Arch, String> {
    match text {
        "amd64" | "x86_64" | "x86-64" => Ok(Arch::Amd64),
        "arm64" | "aarch64" => Ok(Arch::Arm64),
        _ => Err("expected amd64 (x86_64) or arm64 (aarch64)".to_owned()),
    }
}

fn assignment(text: OsString) -> Result<(OsString, OsString), String> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=').ok_or("expected NAME=VALUE")?;
    let (key, value) = (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default());
    if key.is_empty() {
        return Err("the name is empty".to_owned());
    }
    Ok((OsStr::from_bytes(key).to_owned(), OsStr::from_bytes(value).to_owned()))
}

/// A limit in bytes, from 1M on.
fn output_limit(text: &str) -> Result<u64, String> {
    size(text, 1, "1M").map(|mebibytes| mebibytes << 20)
}

/// A size in MiB from `512`, `512M` or `2G`.
fn mebibytes(text: &str) -> Result<u64, String> {
    size(text, 64, "64M")
}

fn size(text: &str, least: u64, named: &str) -> Result<u64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'G' | b'g') => (text.get(..text.len() - 1).unwrap_or_default(), 1024),
        Some(b'M' | b'm') => (text.get(..text.len() - 1).unwrap_or_default(), 1),
        _ => (text, 1),
    };
    let count: u64 = digits.parse().map_err(|_| "expected a size such as 512M or 2G".to_owned())?;
    let size = count.saturating_mul(factor);
    if (least..=1 << 20).contains(&size) { Ok(size) } else { Err(format!("expected {named} to 1024G")) }
}

/// A time from `90`, `90s`, `10m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b's') => (text.get(..text.len() - 1).unwrap_or_default(), 1),
        Some(b'm') => (text.get(..text.len() - 1).unwrap_or_default(), 60),
        Some(b'h') => (text.get(..text.len() - 1).unwrap_or_default(), 3600),
        _ => (text, 1),
    };
    let count: u64 = digits.parse().map_err(|_| "expected a time such as 90, 90s, 10m or 2h".to_owned())?;
    let seconds = count.saturating_mul(factor);
    if (1..=7 * 86400).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err("expected 1s to 168h".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(mebibytes("512"), Ok(512));
        assert_eq!(mebibytes("2G"), Ok(2048));
        assert_eq!(output_limit("2G"), Ok(2 << 30));
        assert!(output_limit("0").is_err() && output_limit("1M").is_ok() && mebibytes("1M").is_err());
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        for text in ["", "x", "-1", "5T", "M", "0"] {
            assert!(mebibytes(text).is_err() && duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_assignment_has_a_name_and_may_have_more_signs() {
        assert_eq!(assignment("A=b=c".into()), Ok(("A".into(), "b=c".into())));
        assert!(assignment("A".into()).is_err() && assignment("=x".into()).is_err());
        let bytes = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        assert_eq!(assignment(bytes(b"A=\xff")), Ok(("A".into(), bytes(b"\xff"))));
    }
}
