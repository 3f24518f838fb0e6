//! Loads that a kernel refuses because their base is a number: "invalid mem access 'scalar'" (`check_mem_access`).

use std::fmt;

use bpf_vm_shim::isa::{Insn, class, disassemble};
use bpf_vm_shim::object::{KernelProfile, LineInfo, LinkedProgram, ProgType};

use super::PassError;
use crate::flow::{self, Tables};

/// Instructions shown before and after it.
const AROUND: usize = 3;

/// A load through something that is no pointer to the verifier.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DirectLoad {
    /// The instruction slot.
    pub insn: usize,
    /// The base register.
    pub reg: u8,
    /// What the kernel calls a number: `scalar`, or `inv` before 5.18.
    pub kind: &'static str,
    /// The function.
    pub function: String,
    /// The source line.
    pub line: Option<LineInfo>,
    /// The instructions around it: slot and text.
    pub disassembly: Vec<(usize, String)>,
}

impl fmt::Display for DirectLoad {
    /// The verifier's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "R{} invalid mem access '{}'", self.reg, self.kind)
    }
}

/// All loads of a program that can be reached and whose base is a number on every path, by slot.
///
/// A base that is a number on some paths only is left to those who follow paths: the path may be one that is never
/// taken.
#[must_use]
pub fn direct_loads(
    prog: &LinkedProgram,
    prog_type: ProgType,
    tables: Tables<'_>,
    version: u32,
) -> Vec<DirectLoad> {
    let facts = flow::analyze_linked(prog, prog_type, tables);
    let kind = if version < KernelProfile::kernel_version(5, 18, 0) { "inv" } else { "scalar" };
    let plain = |slot: &usize| prog.insns.get(*slot).is_some_and(|i| i.class() == class::LDX);
    let numbers = facts.loads.iter().filter(|(slot, fact)| fact.base.is_number() && plain(slot));
    let load = |(insn, _): (&usize, _)| {
        let reg = prog.insns.get(*insn)?.src;
        let sub = prog.subprog(*insn);
        Some(DirectLoad {
            insn: *insn,
            reg,
            kind,
            function: sub.map_or_else(String::new, |s| s.name.clone()),
            line: prog.line(*insn).cloned(),
            disassembly: around(&prog.insns, sub.map_or(0, |s| s.start), *insn),
        })
    };
    numbers.filter_map(load).collect()
}

fn around(insns: &[Insn], start: usize, insn: usize) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut slot = start;
    while let Some(i) = insns.get(slot).filter(|_| slot <= insn + AROUND) {
        if slot + AROUND >= insn {
            out.push((slot, disassemble(i, insns.get(slot + 1))));
        }
        slot += if i.is_ld_imm64() { 2 } else { 1 };
    }
    out
}

/// Refuses a program that reads memory directly that it must not, as the kernel does when it is loaded.
///
/// # Errors
/// The first such load, with its source line.
pub fn refuse_direct_loads(
    prog: &LinkedProgram,
    prog_type: ProgType,
    tables: Tables<'_>,
    version: u32,
) -> Result<(), PassError> {
    match direct_loads(prog, prog_type, tables, version).into_iter().next() {
        Some(load) => Err(PassError::DirectLoad { program: prog.name.clone(), load: Box::new(load) }),
        None => Ok(()),
    }
}
