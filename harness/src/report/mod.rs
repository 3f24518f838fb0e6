//! Faults for people: with C line, region, callers, disassembly, registers and what to do about it.

mod help;
mod render;
mod source;

pub use source::SourceLine;

use std::fmt;

use bpf_helpers_mock::passes::DirectLoad;
use bpf_vm_shim::fault::{Fault, FaultKind};
use bpf_vm_shim::isa::disassemble;
use bpf_vm_shim::mem::AccessProblem;
use bpf_vm_shim::object::LinkedProgram;

/// A fault with everything needed to show it. `Display` is one line; [`Diagnostic::render`] is the whole story.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Diagnostic {
    /// A stable identifier of the kind of fault.
    pub id: &'static str,
    /// What happened, in one line.
    pub message: String,
    /// The program.
    pub program: String,
    /// The function, empty if unknown.
    pub function: String,
    /// The instruction slot.
    pub insn: u32,
    /// The C line.
    pub source: Option<SourceLine>,
    /// Where the functions around it were called, innermost first.
    pub callers: Vec<Caller>,
    /// Facts that help to understand it.
    pub notes: Vec<String>,
    /// What to do about it.
    pub help: Option<&'static str>,
    /// The instructions around it: slot and text.
    pub disassembly: Vec<(u32, String)>,
    /// Registers R0 to R10; all zero if the program was refused before it ran.
    pub regs: [u64; 11],
}

/// A call that led to a fault.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Caller {
    /// The calling function.
    pub function: String,
    /// The calling instruction.
    pub insn: u32,
    /// Its C line.
    pub source: Option<SourceLine>,
}

/// Instructions shown before and after the faulting one.
const AROUND: u32 = 3;

impl Diagnostic {
    /// Gathers what there is to say about a fault. `program` finds the linked program of a name: a tail call may have
    /// led into another one.
    pub(crate) fn new<'a>(fault: &Fault, program: impl Fn(&str) -> Option<&'a LinkedProgram>) -> Self {
        let linked = program(&fault.at.prog);
        let line = |prog: Option<&LinkedProgram>, insn: u32| prog.and_then(|p| SourceLine::of(p, insn));
        let callers = fault.callers.iter().map(|site| Caller {
            function: site.func.to_string(),
            insn: site.insn,
            source: line(program(&site.prog), site.insn),
        });
        Self {
            id: fault.kind.id(),
            message: fault.kind.to_string(),
            program: fault.at.prog.to_string(),
            function: fault.at.func.to_string(),
            insn: fault.at.insn,
            source: line(linked, fault.at.insn),
            callers: callers.collect(),
            notes: notes(&fault.kind, linked),
            help: help::of(fault.kind.id()),
            disassembly: linked.map(|p| around(p, fault.at.insn)).unwrap_or_default(),
            regs: fault.regs,
        }
    }
}

impl Diagnostic {
    /// What the verifier says of a program that reads memory directly. Nothing ran: registers hold nothing.
    pub(crate) fn of_direct_load(program: &str, load: &DirectLoad) -> Self {
        let id = "invalid-mem-access";
        let disassembly = load.disassembly.iter().map(|(slot, text)| (*slot as u32, text.clone()));
        Self {
            id,
            message: load.to_string(),
            program: program.to_owned(),
            function: load.function.clone(),
            insn: load.insn as u32,
            source: load.line.as_ref().map(SourceLine::from),
            callers: Vec::new(),
            notes: vec![format!("R{} holds a number here, also where it came from a pointer", load.reg)],
            help: help::of(id),
            disassembly: disassembly.collect(),
            regs: [0; 11],
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}] in program '{}'", self.message, self.id, self.program)?;
        match &self.source {
            Some(s) => write!(f, " at {s}"),
            None => write!(f, " at instruction {}", self.insn),
        }
    }
}

/// What to do about a fault of this kind.
pub(crate) fn help(id: &str) -> Option<&'static str> {
    help::of(id)
}

fn notes(kind: &FaultKind, linked: Option<&LinkedProgram>) -> Vec<String> {
    let mut notes = Vec::new();
    let problem = match kind {
        FaultKind::Access { problem, .. } => Some(problem),
        FaultKind::Argument { problem, .. } => problem.as_ref(),
        _ => None,
    };
    let region = match problem {
        Some(
            AccessProblem::OutOfBounds(r)
            | AccessProblem::Freed(r)
            | AccessProblem::ReadOnly(r)
            | AccessProblem::Uninit(r)
            | AccessProblem::Kernel(r),
        ) => Some(r),
        _ => None,
    };
    if let Some(r) = region {
        notes.push(format!("the address belongs to: {r}; the access begins at offset {}", r.offset));
    }
    if let FaultKind::Unreleased { acquired_by, acquired_at, .. } = kind
        && let Some(line) = linked.and_then(|p| SourceLine::of(p, *acquired_at))
    {
        notes.push(format!("acquired by {acquired_by} at {line}"));
    }
    notes
}

fn around(p: &LinkedProgram, insn: u32) -> Vec<(u32, String)> {
    let mut out = Vec::new();
    let mut slot = p.subprog(insn as usize).map_or(0, |s| s.start);
    while slot <= (insn + AROUND) as usize {
        let Some(i) = p.insns.get(slot) else { break };
        if slot + AROUND as usize >= insn as usize {
            out.push((slot as u32, disassemble(i, p.insns.get(slot + 1))));
        }
        slot += if i.is_ld_imm64() { 2 } else { 1 };
    }
    out
}
