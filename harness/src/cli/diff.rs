//! `bpf-harness diff`: an object on the simulator and on kernels.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Format, Status, input, json_line};
use crate::diff::{self, Facts, Wanted};
use crate::tier::Tier;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    what: What,
    /// A kernel, as `bpf-vm run` takes it: 6.12, newest, ...; several are compared one after another
    #[arg(long, value_name = "SPEC", required_unless_present = "here")]
    kernel: Vec<String>,
    /// Compare with the running kernel, without a virtual machine; needs root
    #[arg(long)]
    here: bool,
    /// A map, or a heading such as `trace`, that need not be the same; may be given more than once
    #[arg(long, value_name = "NAME")]
    ignore: Vec<String>,
    /// The program `bpf-vm` [default: beside this program, or on PATH]
    #[arg(long, value_name = "FILE", env = "BPF_VM")]
    bpf_vm: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What both tiers run; also the arguments of `facts`, which runs one of them.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// The compiled object
    object: PathBuf,
    /// A scenario; without one each program runs once, with the default input of its type
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Only this program
    #[arg(long, value_name = "NAME", conflicts_with = "scenario")]
    program: Option<String>,
}

/// Name of the subcommand that a virtual machine runs.
const FACTS: &str = "facts";

pub(super) fn facts_main(what: &What, out: &mut dyn Write) -> io::Result<Status> {
    let facts = Tier::from_env().map_err(|e| e.to_string()).and_then(|tier| facts(what, tier));
    match facts {
        Ok(facts) => json_line(out, &facts).map(|()| Status::Ok),
        Err(why) => Err(io::Error::other(why)),
    }
}

pub(super) fn main(args: &Args, out: &mut dyn Write) -> io::Result<Status> {
    let simulated = facts(&args.what, Tier::Simulator).map_err(io::Error::other)?;
    let mut status = Status::Ok;
    let mut kernels: Vec<(String, Facts)> = Vec::new();
    if args.here {
        let facts = facts(&args.what, Tier::Kernel).map_err(io::Error::other)?;
        kernels.push(("this kernel".to_owned(), facts));
    }
    for spec in &args.kernel {
        let facts = in_machine(args, spec, simulated.cpus)
            .map_err(|why| io::Error::other(format!("kernel {spec}: {why}")))?;
        kernels.push((format!("kernel {spec}"), facts));
    }
    for (name, facts) in &kernels {
        let report = diff::compare(&simulated, facts, &args.ignore);
        if !report.differences.is_empty() {
            status = status.and(Status::Failed);
        } else if report.agreed.is_empty() {
            // Nothing was compared, and that is no agreement.
            status = status.and(Status::Unsupported);
        }
        match args.format {
            Format::Text => out.write_all(diff::side_by_side(&report, "simulator", name).as_bytes())?,
            Format::Json => json_line(out, &serde_json::json!({ "kernel": name, "report": report }))?,
        }
    }
    Ok(status)
}

fn facts(what: &What, tier: Tier) -> Result<Facts, String> {
    let object = input::read(&what.object)?;
    let mut wanted = Wanted::of(&object);
    wanted.program = what.program.as_deref();
    let text = what.scenario.as_ref().map(|path| {
        String::from_utf8(input::read(path)?).map_err(|_| format!("{}: not UTF-8 text", path.display()))
    });
    let text = text.transpose()?;
    wanted.scenario = what.scenario.as_deref().zip(text.as_deref());
    let facts = diff::facts(&wanted, tier).map_err(|e| format!("{}: {e}", what.object.display()))?;
    match (&what.program, facts.groups.is_empty()) {
        (Some(name), true) => Err(format!("{}: there is no program '{name}'", what.object.display())),
        _ => Ok(facts),
    }
}

/// This very program in a virtual machine, as `bpf-harness facts`.
fn in_machine(args: &Args, spec: &str, cpus: Option<u32>) -> Result<Facts, String> {
    let this = std::env::current_exe().map_err(|e| format!("this program cannot be found: {e}"))?;
    let tool = args.bpf_vm.clone().unwrap_or_else(|| beside(&this));
    let full = |path: &Path| std::fs::canonicalize(path).map_err(|e| format!("{}: {e}", path.display()));
    let object = full(&args.what.object)?;
    let mut command = Command::new(&tool);
    command.args(["run", "--kernel", spec, "--env", "BPF_HARNESS_TIER=kernel", "--ro"]).arg(&object);
    // A scenario may let things happen on any of its CPUs.
    if let Some(cpus) = cpus.filter(|n| *n > 1) {
        command.args(["--cpus", &cpus.to_string()]);
    }
    let mut rest: Vec<OsString> = vec![this.into_os_string(), FACTS.into(), object.into_os_string()];
    if let Some(path) = &args.what.scenario {
        let path = full(path)?;
        command.arg("--ro").arg(&path);
        rest.extend(["--scenario".into(), path.into_os_string()]);
    }
    if let Some(name) = &args.what.program {
        rest.extend(["--program".into(), name.into()]);
    }
    let done = command.arg("--").args(rest).stderr(Stdio::inherit()).output();
    let done = done.map_err(|e| {
        format!(
            "{} cannot be started: {e}; it is the tool of bpf-kernel-tests, name it with --bpf-vm",
            tool.display()
        )
    })?;
    if !done.status.success() {
        return Err(format!("the run on the kernel failed ({})", done.status));
    }
    let line = done.stdout.split(|b| *b == b'\n').rfind(|l| !l.is_empty()).unwrap_or_default();
    serde_json::from_slice(line).map_err(|e| format!("the run on the kernel gave no facts: {e}"))
}

/// Beside this program, if it is there.
fn beside(this: &Path) -> PathBuf {
    let sibling = this.with_file_name("bpf-vm");
    if sibling.is_file() { sibling } else { PathBuf::from("bpf-vm") }
}
