//! `bpf-harness bcc`: a text in the dialect of bcc's reference guide, compiled, run, and shown as its user would see it.

mod survey;

use std::io::{self, Write};
use std::path::PathBuf;

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::exec::Outcome;
use serde::Serialize;

use super::{Format, Status, input, json_line};
use crate::bpf::{Bpf, BpfBuilder, MAX_CPUS, RunReport};
use crate::scenario;
use crate::symbols::Binary;
use crate::tier::Tier;
use crate::usdt::Usdt;

/// Arguments of `bcc`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The program text, or its compiled object (`.o`)
    file: PathBuf,
    /// Play this scenario, and print what it says the tool's user sees
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// A flag for clang; may be given more than once
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    cflag: Vec<String>,
    /// Define a macro
    #[arg(short = 'D', value_name = "NAME[=VALUE]")]
    define: Vec<String>,
    /// Attach a function to a statically defined probe of a binary: its arguments are what `bpf_usdt_readarg` reads
    #[arg(long, value_name = "BINARY:PROBE=FUNCTION")]
    usdt: Vec<String>,
    /// Refuse programs that read kernel memory directly, as the kernel would without bcc's rewriting
    #[arg(long)]
    no_auto_probe_read: bool,
    /// Only compile, and write the object to this file
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    emit_object: Option<PathBuf>,
    /// The kernel's types: raw BTF, or an ELF file with a .BTF section
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// How many CPUs there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CPUS)))]
    cpus: Option<u32>,
    /// The seed of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// On what it runs: the simulator, or the running kernel (`kernel`, as root); BPF_HARNESS_TIER otherwise
    #[arg(long, value_name = "sim|kernel")]
    tier: Option<Tier>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What a text calls that reads arguments of a probe that the compiler was not told of (`include/bcc/probes.h`).
const NO_USDT_CONTEXT: &str = "bpf_usdt_readarg_without_usdt_context";

/// How a run ended.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Ended {
    Returned(u64),
    Fault(String),
    Unsupported(String),
    /// It never ran.
    Refused(String),
}

impl Ended {
    fn of(report: &RunReport) -> Self {
        match (&report.outcome, &report.diagnostic) {
            (Outcome::Returned(v), _) => Self::Returned(*v),
            (Outcome::Fault(_), Some(d)) if d.message.contains(NO_USDT_CONTEXT) => Self::Refused(format!(
                "it reads arguments of a statically defined probe: name that with --usdt BINARY:PROBE={0}, or in a \
                 scenario",
                report.program
            )),
            (Outcome::Fault(_), Some(d)) => Self::Fault(d.render(false)),
            (Outcome::Fault(fault), None) => Self::Fault(fault.kind.to_string()),
            (Outcome::Unsupported(gap), _) => {
                Self::Unsupported(format!("{} '{}'", gap.kind.as_str(), gap.name))
            }
        }
    }

    fn status(&self) -> Status {
        match self {
            Self::Returned(_) => Status::Ok,
            Self::Unsupported(_) => Status::Unsupported,
            Self::Fault(_) | Self::Refused(_) => Status::Failed,
        }
    }
}

pub(super) fn main(args: &Args, out: &mut dyn Write) -> io::Result<Status> {
    let name = args.file.display().to_string();
    let error = |out: &mut dyn Write, error: String| {
        match args.format {
            Format::Json => json_line(out, &serde_json::json!({ "file": name, "error": error }))?,
            Format::Text => writeln!(out, "error: {error}")?,
        }
        Ok(Status::Usage)
    };
    let builder = match builder(args) {
        Ok(builder) => builder,
        Err(e) => return error(out, e),
    };
    if let Some(path) = &args.emit_object {
        return match emit(args, builder, path) {
            Ok(()) => Ok(Status::Ok),
            Err(e) => error(out, e),
        };
    }
    if let Some(path) = &args.scenario {
        let text = input::read(path)
            .and_then(|b| String::from_utf8(b).map_err(|_| format!("{}: not UTF-8 text", path.display())));
        let text = match text {
            Ok(text) => text,
            Err(e) => return error(out, e),
        };
        return match scenario::play_with(path, &text, builder) {
            Ok(played) => show(args, &name, &played, out),
            Err(e) if args.format == Format::Json => error(out, e.to_string()),
            Err(e) => {
                writeln!(out, "{}", e.render())?;
                Ok(Status::Usage)
            }
        };
    }
    match with_assumed_probes(args, builder) {
        Ok((bpf, assumed)) => survey::survey(args, &name, bpf, &assumed, out),
        Err(e) => error(out, e),
    }
}

/// Loads the text; functions that read arguments of a probe that nobody has named get one with six of them, in the
/// registers of a function's. Says which functions these are.
fn with_assumed_probes(args: &Args, first: BpfBuilder) -> Result<(Bpf, Vec<String>), String> {
    const IN_REGISTERS: &str = "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9";
    let bpf = first.load().map_err(|e| e.to_string())?;
    let reads = |name: &&str| {
        let program = bpf.program(name).ok();
        program.is_some_and(|p| p.poisoned.values().any(|why| why.message.contains(NO_USDT_CONTEXT)))
    };
    let assumed: Vec<String> = bpf.program_names().filter(reads).map(str::to_owned).collect();
    if assumed.is_empty() || args.file.extension().is_some_and(|e| e == "o") {
        return Ok((bpf, Vec::new()));
    }
    let mut again = builder(args)?;
    for (place, function) in (1..).zip(&assumed) {
        let binary = Binary::declared(format!("/assumed/{function}"));
        let binary = binary.probe("assumed", function, place * 0x1000, IN_REGISTERS);
        let mut usdt = Usdt::from_binary(binary.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        usdt.enable_probe(function, function).map_err(|e| e.to_string())?;
        again = again.usdt_context(usdt);
    }
    Ok((again.load().map_err(|e| e.to_string())?, assumed))
}

fn builder(args: &Args) -> Result<BpfBuilder, String> {
    let is_object = args.file.extension().is_some_and(|e| e == "o");
    let mut builder = match is_object {
        true => Bpf::builder().bcc_object(input::read(&args.file)?),
        // What cannot be read is better said before a compiler is looked for.
        false => input::read(&args.file).map(|_| Bpf::builder().source_file(&args.file))?,
    };
    builder = builder.cflags(args.cflag.iter().cloned());
    builder = builder.cflags(args.define.iter().map(|d| format!("-D{d}")));
    for place in &args.usdt {
        builder = builder.usdt_context(usdt(place)?);
    }
    builder = builder.auto_probe_reads(!args.no_auto_probe_read);
    if let Some(path) = &args.btf {
        let bytes = input::read(path)?;
        builder = builder.kernel_btf(Btf::parse_file(bytes).map_err(|e| format!("{}: {e}", path.display()))?);
    }
    if let Some(cpus) = args.cpus {
        builder = builder.cpus(cpus);
    }
    if let Some(tier) = args.tier {
        builder = builder.tier(tier);
    }
    if let Some(seed) = args.seed {
        builder = builder.seed(seed);
    }
    Ok(builder)
}

/// `BINARY:PROBE=FUNCTION`.
fn usdt(place: &str) -> Result<Usdt, String> {
    let wrong = || format!("'{place}' is not written BINARY:PROBE=FUNCTION");
    let (probe, function) = place.rsplit_once('=').ok_or_else(wrong)?;
    let (binary, probe) = probe.split_once(':').ok_or_else(wrong)?;
    let mut usdt = Usdt::from_path(binary).map_err(|e| e.to_string())?;
    usdt.enable_probe(probe, function).map_err(|e| e.to_string())?;
    Ok(usdt)
}

/// Compiles with what the scenario says and writes the object.
fn emit(args: &Args, builder: BpfBuilder, path: &std::path::Path) -> Result<(), String> {
    let builder = match &args.scenario {
        None => builder,
        Some(scenario) => {
            let text = String::from_utf8(input::read(scenario)?)
                .map_err(|_| format!("{}: not UTF-8 text", scenario.display()))?;
            scenario::prepare(scenario, &text, builder).map_err(|e| e.render().to_owned())?
        }
    };
    let objects = builder.compile().map_err(|e| e.to_string())?;
    let object = objects.into_iter().next().unwrap_or_default();
    std::fs::write(path, object).map_err(|e| format!("{}: {e}", path.display()))
}

/// What the scenario prints, after what went wrong.
fn show(args: &Args, name: &str, played: &scenario::Played, out: &mut dyn Write) -> io::Result<Status> {
    let mut status = Status::Ok;
    for report in &played.runs {
        let ended = Ended::of(report);
        status = status.and(ended.status());
        match args.format {
            Format::Json => {
                json_line(out, &serde_json::json!({ "program": report.program, "outcome": ended }))?
            }
            Format::Text => text(&report.program, &ended, out)?,
        }
    }
    match args.format {
        Format::Json => json_line(out, &serde_json::json!({ "file": name, "output": played.output }))?,
        Format::Text => write!(out, "{}", played.output)?,
    }
    Ok(status)
}

fn text(program: &str, ended: &Ended, out: &mut dyn Write) -> io::Result<()> {
    match ended {
        Ended::Returned(_) => Ok(()),
        Ended::Fault(text) => writeln!(out, "{program}: fault\n{text}"),
        Ended::Unsupported(what) => writeln!(out, "{program}: not simulated: {what}"),
        Ended::Refused(why) => writeln!(out, "{program}: refused: {why}"),
    }
}
