//! `bpf-harness run`: programs of an object, each on a fresh machine.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::exec::Outcome;
use bpf_vm_shim::object::{Object, ProgType};
use serde::Serialize;

use super::{Format, Status, explore, input, json_line, pcap};
use crate::annotations::{self, Annotations, Expected};
use crate::bpf::{Bpf, BpfBuilder, Input, MAX_CPUS, RunReport};
use crate::error::Error;
use crate::report::SourceLine;
use crate::tier::Tier;
use crate::value::hex_to_bytes;

/// Instructions that an annotated program may take that the kernel accepts.
const LONG_RUN: u64 = 1 << 30;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The compiled object
    file: PathBuf,
    /// Run only this program; may be given more than once
    #[arg(long, value_name = "NAME")]
    program: Vec<String>,
    /// The context as hexadecimal bytes
    #[arg(long, value_name = "HEX")]
    ctx_hex: Option<String>,
    /// The packet as hexadecimal bytes
    #[arg(long, value_name = "HEX", conflicts_with = "packet")]
    data_in: Option<String>,
    /// The packet as a file of its bytes
    #[arg(long, value_name = "FILE")]
    packet: Option<PathBuf>,
    /// Packets from a capture file; every program runs once for each
    #[arg(long, value_name = "FILE", conflicts_with_all = ["packet", "data_in"])]
    pcap: Option<PathBuf>,
    /// Play a scenario with the object
    #[arg(long, value_name = "FILE", conflicts_with_all = ["annotations", "program", "ctx_hex", "data_in", "packet", "pcap"])]
    scenario: Option<PathBuf>,
    /// Print what the programs print to the trace
    #[arg(long)]
    trace: bool,
    /// The type of programs whose section name says none, as libbpf calls it (`xdp`, `sched_cls`, ...)
    #[arg(long = "type", value_name = "TYPE")]
    prog_type: Option<String>,
    /// How many CPUs there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CPUS)))]
    cpus: Option<u32>,
    /// The seed of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What runs the instructions
    #[arg(long, value_name = "E", default_value = "interp")]
    engine: String,
    /// Types of the kernel to relocate against: raw BTF, or an ELF file with a .BTF section
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Run the programs that carry the kernel selftests' annotations, and compare
    #[arg(long)]
    annotations: bool,
    /// Check every program first as the kernel's verifier would, and do not run those that it would refuse
    #[arg(long)]
    verify: bool,
    /// On what it runs: the simulator, or the running kernel (`kernel`, as root); BPF_HARNESS_TIER otherwise
    #[arg(long, value_name = "sim|kernel", requires = "scenario")]
    tier: Option<Tier>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One line of output.
#[derive(Serialize)]
struct Line {
    object: String,
    program: Option<String>,
    #[serde(rename = "type")]
    prog_type: Option<String>,
    /// Exactly one of `returned`, `fault`, `unsupported`, `error`.
    outcome: &'static str,
    /// All 64 bits of R0 as an unsigned number, if the program returned: what the kernel makes of it depends on the type.
    retval: Option<u64>,
    insns_executed: u64,
    fault: Option<Fault>,
    unsupported: Option<Gap>,
    expected: Option<serde_json::Value>,
    matches: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Vec<String>>,
    #[serde(skip)]
    rendered: Option<String>,
}

#[derive(Serialize)]
struct Fault {
    id: String,
    message: String,
    source: Option<String>,
}

#[derive(Serialize)]
struct Gap {
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

impl Line {
    fn new(object: &str, program: Option<(&str, ProgType)>, outcome: &'static str) -> Self {
        Self {
            object: object.to_owned(),
            program: program.map(|(name, _)| name.to_owned()),
            prog_type: program.map(|(_, t)| t.name().to_owned()),
            outcome,
            retval: None,
            insns_executed: 0,
            fault: None,
            unsupported: None,
            expected: None,
            matches: None,
            error: None,
            trace: None,
            rendered: None,
        }
    }

    fn error(object: &str, program: Option<(&str, ProgType)>, message: String) -> Self {
        Self { error: Some(message), ..Self::new(object, program, "error") }
    }

    fn status(&self) -> Status {
        match (self.matches, self.outcome) {
            (Some(true), _) | (None, "returned") => Status::Ok,
            (_, "unsupported") => Status::Unsupported,
            (_, "error") => Status::Usage,
            _ => Status::Failed,
        }
    }
}

pub(super) fn main(args: &Args, out: &mut dyn Write) -> io::Result<Status> {
    let name = args.file.display().to_string();
    if let Some(path) = &args.scenario {
        return scenario(args, path, &name, out);
    }
    let mut status = Status::Ok;
    let mut emit = |line: Line| {
        status = status.and(line.status());
        match args.format {
            Format::Json => json_line(out, &line),
            Format::Text => text(&line, out),
        }
    };
    match Session::open(args, name.clone()) {
        Err(e) => emit(Line::error(&name, None, e))?,
        Ok(mut session) => {
            for program in session.programs() {
                for input in session.inputs.clone() {
                    emit(session.run_guarded(&program, &input))?;
                }
            }
        }
    }
    Ok(status)
}

struct Session<'a> {
    args: &'a Args,
    name: String,
    object: Object,
    bpf: Bpf,
    inputs: Vec<Input>,
}

impl<'a> Session<'a> {
    fn open(args: &'a Args, name: String) -> Result<Self, String> {
        let object = input::object(&args.file)?;
        let hex = |what: &str, text: &str| {
            hex_to_bytes(text).ok_or_else(|| format!("{what} is not a sequence of hexadecimal bytes"))
        };
        let mut given = Input::default_for_type();
        if let Some(text) = &args.ctx_hex {
            given = Input::ctx(hex("--ctx-hex", text)?);
        }
        if let Some(text) = &args.data_in {
            given = given.with_packet(hex("--data-in", text)?);
        }
        if let Some(path) = &args.packet {
            let bytes = input::read(path)?;
            given = given.with_packet(bytes);
        }
        let mut builder = Bpf::builder().parsed(object.clone()).load_all(true);
        if let Some(name) = &args.prog_type {
            let known =
                ProgType::from_name(name).ok_or_else(|| format!("there is no program type '{name}'"))?;
            for p in object.programs.iter().filter(|p| p.prog_type == ProgType::Unspec) {
                builder = builder.prog_type(p.name.as_str(), known);
            }
        }
        builder = configure(args, builder)?;
        if let (true, Some((major, minor))) = (args.annotations, annotations::kernel_version(&object)) {
            builder = builder.kernel_version(major, minor, 0);
        }
        let mut bpf = builder.load().map_err(|e| e.to_string())?;
        if args.annotations {
            annotations::fill_maps(bpf.machine());
        }
        let inputs = match &args.pcap {
            None => vec![given],
            Some(path) => {
                let bytes = input::read(path)?;
                let packets = pcap::packets(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
                packets.into_iter().map(|p| given.clone().with_packet(p)).collect()
            }
        };
        Ok(Self { args, name, object, bpf, inputs })
    }

    /// The programs to run, in the object's order; unknown names last.
    fn programs(&self) -> Vec<String> {
        let wanted = &self.args.program;
        let mut out: Vec<String> = Vec::new();
        for def in &self.object.programs {
            let chosen =
                if wanted.is_empty() { self.is_chosen(&def.name) } else { wanted.contains(&def.name) };
            if chosen {
                out.push(def.name.clone());
            }
        }
        out.extend(wanted.iter().filter(|w| self.object.program(w).is_none()).cloned());
        out
    }

    /// Whether a program is run when none is named.
    fn is_chosen(&self, name: &str) -> bool {
        if !self.args.annotations {
            return true;
        }
        let notes = self.annotations(name);
        let here = notes.archs.is_empty() || notes.archs.iter().any(|a| a.eq_ignore_ascii_case("x86_64"));
        notes.any && !notes.auxiliary && here && !notes.no_jit_only && notes.expected().is_some()
    }

    fn annotations(&self, name: &str) -> Annotations {
        self.object.btf.as_ref().map(|btf| Annotations::of(btf, name)).unwrap_or_default()
    }

    /// As [`Session::run`]; should the simulator itself fail, that is an error of this run and not the end of all.
    fn run_guarded(&mut self, program: &str, input: &Input) -> Line {
        let run = std::panic::AssertUnwindSafe(|| self.run(program, input));
        std::panic::catch_unwind(run).unwrap_or_else(|_| {
            let message = "the simulator failed: please report this program".to_owned();
            Line::error(&self.name, Some((program, self.bpf.program_type(program))), message)
        })
    }

    fn run(&mut self, program: &str, input: &Input) -> Line {
        let def = self.object.program(program);
        let id = def.map(|d| (d.name.as_str(), d.prog_type));
        if let Some(mut line) = self.refused(program, id) {
            if self.args.annotations {
                judge(&mut line, &self.annotations(program));
            }
            return line;
        }
        let prog_type = id.map_or(ProgType::Unspec, |(_, t)| t);
        let mut machine = self.bpf.fork();
        let mut input = input.clone();
        let notes = self.annotations(program);
        if self.args.annotations && !input.is_given() && prog_type == ProgType::Syscall {
            // The selftests give no context to what they run; what must only load may want the largest one.
            input = if notes.retval.is_some() {
                input.as_test_run()
            } else {
                Input::ctx(vec![0; u16::MAX.into()])
            };
        }
        if let Some(linear) = notes.linear_size.filter(|_| self.args.annotations) {
            input = input.with_linear_size(linear);
        }
        if self.args.annotations && notes.success == Some(true) {
            // Such programs end, though some of them not soon.
            machine.machine().limits.insns = LONG_RUN;
        }
        let result = machine.run(program, input);
        let mut line = match result {
            Ok(report) => line_of(&self.name, id, &report),
            Err(Error::Rejected { source, .. }) => {
                let fault = Fault { id: "rejected".into(), message: source.to_string(), source: None };
                Line { fault: Some(fault), ..Line::new(&self.name, id, "fault") }
            }
            Err(e) => Line::error(&self.name, id.or(Some((program, ProgType::Unspec))), e.to_string()),
        };
        if self.args.trace {
            line.trace = Some(machine.trace());
        }
        if self.args.annotations {
            if notes.expected() == Some(Expected::Failure) && line.outcome == "returned" {
                // The kernel refuses it for what another input would do.
                if let Some((report, input)) = explore::find_fault(&mut self.bpf, program) {
                    line = line_of(&self.name, id, &report);
                    if let Some(fault) = &mut line.fault {
                        fault.message.push_str(&format!(" (input: {input})"));
                    }
                }
            }
            judge(&mut line, &notes);
        }
        line
    }

    /// What the kernel would refuse without running it. Annotated programs are always checked: their annotations speak of
    /// the verifier.
    fn refused(&self, program: &str, id: Option<(&str, ProgType)>) -> Option<Line> {
        if !self.args.verify && !self.args.annotations {
            return None;
        }
        let refusal = self.bpf.verify(program).err()?;
        let lines = self.bpf.program(program).map_or(&[][..], |p| &p.lines);
        let line = lines.iter().rev().find(|l| l.insn <= refusal.insn);
        let source = line.map(|l| format!("{}:{}: {}", l.file, l.line, l.text.trim()));
        let fault = Fault { id: refusal.id.to_owned(), message: refusal.message, source };
        Some(Line { fault: Some(fault), ..Line::new(&self.name, id, "fault") })
    }
}

/// Plays a scenario: a line for each run, then what the scenario asks to show.
fn scenario(args: &Args, path: &Path, name: &str, out: &mut dyn Write) -> io::Result<Status> {
    let mut status = Status::Ok;
    let mut emit = |line: Line, out: &mut dyn Write| {
        status = status.and(line.status());
        match args.format {
            Format::Json => json_line(out, &line),
            // What went well is not worth a line of its own.
            Format::Text if line.status() == Status::Ok => Ok(()),
            Format::Text => text(&line, out),
        }
    };
    let played = input::read(path)
        .and_then(|b| String::from_utf8(b).map_err(|_| format!("{}: not UTF-8 text", path.display())))
        .and_then(|text| input::object(&args.file).map(|_| text))
        .and_then(|text| {
            // The file, not what was read of it: a kernel's loader wants the bytes.
            let builder = configure(args, Bpf::builder())?.object_file(&args.file);
            crate::scenario::play_with(path, &text, builder).map_err(|e| match args.format {
                Format::Json => e.to_string(),
                Format::Text => format!("\n{}", e.render()),
            })
        });
    match played {
        Err(e) => emit(Line::error(name, None, e), out)?,
        Ok(mut played) => {
            for report in &played.runs {
                let prog_type = played.bpf.program_type(&report.program);
                emit(line_of(name, Some((&report.program, prog_type)), report), out)?;
            }
            let trace = if args.trace { played.bpf.trace() } else { Vec::new() };
            match args.format {
                Format::Json => {
                    let output = &played.output;
                    json_line(out, &serde_json::json!({ "object": name, "output": output, "trace": trace }))?;
                }
                Format::Text => {
                    write!(out, "{}", played.output)?;
                    trace.iter().try_for_each(|l| writeln!(out, "{l}"))?;
                }
            }
        }
    }
    Ok(status)
}

fn configure(args: &Args, mut builder: BpfBuilder) -> Result<BpfBuilder, String> {
    builder = builder.engine(args.engine.as_str());
    if let Some(cpus) = args.cpus {
        builder = builder.cpus(cpus);
    }
    if let Some(tier) = args.tier {
        builder = builder.tier(tier);
    }
    if let Some(seed) = args.seed {
        builder = builder.seed(seed);
    }
    if let Some(path) = &args.btf {
        let bytes = input::read(path)?;
        let btf = Btf::parse_file(bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        builder = builder.kernel_btf(btf);
    }
    Ok(if args.annotations { builder.allow_uninit_stack(true) } else { builder })
}

fn line_of(object: &str, id: Option<(&str, ProgType)>, report: &RunReport) -> Line {
    let mut line = Line::new(object, id, "returned");
    line.insns_executed = report.insns;
    match &report.outcome {
        Outcome::Returned(v) => line.retval = Some(*v),
        Outcome::Unsupported(gap) => {
            line.outcome = "unsupported";
            line.unsupported = Some(Gap {
                kind: gap.kind.as_str(),
                name: gap.name.clone(),
                source: report.gap_at.as_ref().map(place),
            });
        }
        Outcome::Fault(fault) => {
            line.outcome = "fault";
            let source = report.diagnostic.as_ref().and_then(|d| d.source.as_ref());
            line.fault = Some(Fault {
                id: fault.kind.id().to_owned(),
                message: fault.kind.to_string(),
                source: source.map(place),
            });
            line.rendered = report.diagnostic.as_ref().map(|d| d.render(false));
        }
    }
    line
}

/// A C line with its text.
fn place(line: &SourceLine) -> String {
    format!("{line}: {}", line.text.trim()).trim_end_matches(": ").to_owned()
}

/// Compares a run with what its annotations expect.
fn judge(line: &mut Line, notes: &Annotations) {
    let Some(expected) = notes.expected() else { return };
    line.expected = Some(match expected {
        Expected::Retval(v) => serde_json::json!({ "retval": v }),
        Expected::Success => "success".into(),
        Expected::Failure => "failure".into(),
    });
    line.matches = Some(match (expected, line.outcome) {
        (Expected::Retval(v), "returned") => line.retval.is_some_and(|r| r as u32 as i32 == v),
        (Expected::Success, "returned") => true,
        (Expected::Failure, "fault") => true,
        (Expected::Failure, "returned") => {
            // The kernel refuses it without running it; only a static analysis could tell.
            line.outcome = "unsupported";
            line.retval = None;
            line.unsupported =
                Some(Gap { kind: "verifier", name: "static rejection".to_owned(), source: None });
            false
        }
        _ => false,
    });
}

fn text(line: &Line, out: &mut dyn Write) -> io::Result<()> {
    let program = line.program.as_deref().unwrap_or(&line.object);
    write!(out, "{program}: ")?;
    match line.outcome {
        "returned" => {
            let v = line.retval.unwrap_or_default();
            write!(out, "returned {v:#x} ({})", v as u32 as i32)?;
            write!(out, " after {} instructions", line.insns_executed)?;
        }
        "fault" => {
            let fault = line.fault.as_ref();
            write!(out, "fault")?;
            match (&line.rendered, fault) {
                (Some(rendered), _) => write!(out, "\n{rendered}")?,
                (None, Some(f)) => write!(out, ": {} [{}]", f.message, f.id)?,
                _ => {}
            }
        }
        "unsupported" => {
            let gap = line.unsupported.as_ref();
            write!(out, "unsupported")?;
            if let Some(gap) = gap {
                write!(out, ": {} '{}'", gap.kind, gap.name)?;
                gap.source.iter().try_for_each(|s| write!(out, " at {s}"))?;
            }
        }
        other => write!(out, "{other}: {}", line.error.as_deref().unwrap_or_default())?,
    }
    match (line.matches, &line.expected) {
        (Some(true), _) => writeln!(out, ", as expected")?,
        (Some(false), Some(expected)) => writeln!(out, ", expected {expected}")?,
        _ => writeln!(out)?,
    }
    line.trace.iter().flatten().try_for_each(|l| writeln!(out, "{l}"))
}
