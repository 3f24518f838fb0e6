//! A text without a scenario: its programs, where they belong, and how each ends on default inputs.

use std::io::{self, Write};

use bpf_vm_shim::object::{AttachKind, AttachPoint, AttachTarget, LinkedProgram, ProgType};
use serde::Serialize;

use super::super::{Format, Status, json_line};
use super::{Args, Ended, text};
use crate::bpf::{Bpf, Input};
use crate::error::Error;

/// A program of the text, and how it ended.
#[derive(Serialize)]
struct Program {
    program: String,
    #[serde(rename = "type")]
    prog_type: String,
    /// Where its name attaches it; none if the tool says where.
    attached: Option<String>,
    insns: usize,
    outcome: Ended,
    /// What was assumed about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

const ASSUMED_PROBE: &str =
    "reads arguments of a probe that no --usdt BINARY:PROBE=FUNCTION names: six numbers were assumed, all 0";

/// Without a scenario: every program once, on zeroes.
pub(super) fn survey(
    args: &Args,
    name: &str,
    mut bpf: Bpf,
    assumed: &[String],
    out: &mut dyn Write,
) -> io::Result<Status> {
    let mut status = Status::Ok;
    let names: Vec<String> = bpf.program_names().map(str::to_owned).collect();
    let mut trace = Vec::new();
    let mut found: Vec<Program> = names.iter().map(|n| try_once(&mut bpf, n, &mut trace)).collect();
    found.extend(bpf.refused().map(|(name, why)| Program {
        program: name.to_owned(),
        prog_type: bpf.program_type(name).name().to_owned(),
        attached: None,
        insns: 0,
        outcome: Ended::Refused(Error::from(why.clone()).to_string()),
        note: None,
    }));
    for p in found.iter_mut().filter(|p| assumed.contains(&p.program)) {
        p.note = Some(ASSUMED_PROBE);
    }
    for p in &found {
        status = status.and(p.outcome.status());
        match args.format {
            Format::Json => json_line(out, p)?,
            Format::Text => {
                let place = p.attached.as_deref().unwrap_or("where the tool says");
                match &p.outcome {
                    Ended::Refused(why) => writeln!(out, "{}: refused\n  {why}", p.program)?,
                    outcome => {
                        writeln!(out, "{} ({}, {} instructions): {place}", p.program, p.prog_type, p.insns)?;
                        match outcome {
                            Ended::Returned(v) => writeln!(out, "  returned {}", *v as u32 as i32)?,
                            other => text("  once", other, out)?,
                        }
                        p.note.iter().try_for_each(|note| writeln!(out, "  note: {note}"))?;
                    }
                }
            }
        }
    }
    let maps: Vec<&str> = bpf.map_names().filter(|n| !n.starts_with('.')).collect();
    match args.format {
        Format::Json => {
            json_line(out, &serde_json::json!({ "file": name, "maps": maps, "trace": trace }))?;
        }
        Format::Text => {
            writeln!(out, "maps: {}", if maps.is_empty() { "none".to_owned() } else { maps.join(", ") })?;
            trace.iter().try_for_each(|l| writeln!(out, "{l}"))?;
        }
    }
    Ok(status)
}

/// Runs one program in a copy of the machine. What nobody has given a type is tried as what most programs are.
fn try_once(bpf: &mut Bpf, name: &str, trace: &mut Vec<String>) -> Program {
    let mut fork = bpf.fork();
    let late = fork.program_type(name) == ProgType::Unspec;
    let typed = if late { fork.load_func(name, ProgType::Kprobe).map(|_| ()) } else { Ok(()) };
    let attached = bpf.program(name).ok().and_then(|p| place(p, late));
    let (prog_type, insns) =
        fork.program(name).map_or((ProgType::Unspec, 0), |p| (fork.program_type(name), p.insns.len()));
    let outcome = match typed.and_then(|()| fork.run(name, Input::default_for_type())) {
        Ok(report) => Ended::of(&report),
        Err(e) => Ended::Refused(e.to_string()),
    };
    trace.extend(std::iter::from_fn(|| fork.trace_readline()));
    let program = name.to_owned();
    Program { program, prog_type: prog_type.name().to_owned(), attached, insns, outcome, note: None }
}

/// Where a program's name or context says that it belongs.
fn place(program: &LinkedProgram, late: bool) -> Option<String> {
    let AttachTarget { kind, point, .. } = &program.attach;
    let named = match point {
        AttachPoint::Symbol { name, .. } | AttachPoint::Name(name) => name.clone(),
        AttachPoint::Tracepoint { category, name } => format!("{category}:{name}"),
        AttachPoint::Syscall(name) => name.clone(),
        _ => return None,
    };
    let kind = match kind {
        AttachKind::RawTracepoint => "raw_tracepoint".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    (!late).then(|| format!("{kind} {named}"))
}
