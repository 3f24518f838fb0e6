//! The path that the verifier walked, put together from its log.

use super::line::Line;
use super::registers::Registers;
use super::{LAST_STEPS, Step, VerifierLog};
use crate::report::SourceLine;

/// Instructions named as where registers come from.
const MAX_ORIGINS: usize = 6;

/// One instruction of the path.
#[derive(Debug)]
struct Walked<'a> {
    insn: u32,
    text: &'a str,
    source: Option<usize>,
    named: bool,
    /// The call that the function of this instruction was entered by, as an index into the path.
    caller: Option<usize>,
}

/// The path so far.
#[derive(Default, Debug)]
pub(super) struct Path<'a> {
    walked: Vec<Walked<'a>>,
    sources: Vec<SourceLine>,
    /// The C line that stands before the next instruction.
    source: Option<usize>,
    /// Whether it stands right there.
    named: bool,
    caller: Option<usize>,
    registers: Registers,
    /// Whether instructions have their registers behind them, and so the registers are always known. Before Linux 5.18 a
    /// log of level 1 has registers at the beginnings of paths only.
    inline: bool,
    /// Whether the registers have been printed since the last instruction.
    fresh: bool,
    /// Whether they are those of the last instruction.
    known: bool,
    /// Whether the last instruction is a call, after which R1 to R5 hold nothing.
    called: bool,
}

impl<'a> Path<'a> {
    pub(super) fn take(&mut self, line: Line<'a>) {
        match line {
            Line::Source(source) => {
                self.source = Some(self.sources.len());
                self.sources.push(source);
                self.named = true;
            }
            Line::Insn { insn, text, state } => self.walk(insn, text, state),
            // `5: R0=..` has what changed, or all.
            Line::State { insn: Some(_), state } => {
                self.leave_call();
                self.registers.update(state);
                self.fresh = true;
            }
            Line::State { insn: None, state } => {
                self.called = false;
                self.registers.replace(state);
                self.fresh = true;
            }
            Line::Branch { from, state } => self.branch(from, state),
            Line::Calls => self.caller = self.walked.len().checked_sub(1),
            Line::Returns => {
                self.caller = self.caller.and_then(|call| self.walked.get(call)?.caller);
            }
            _ => {}
        }
    }

    fn walk(&mut self, insn: u32, text: &'a str, state: Option<&str>) {
        self.leave_call();
        let named = std::mem::take(&mut self.named);
        self.walked.push(Walked { insn, text, source: self.source, named, caller: self.caller });
        self.known = self.fresh;
        self.fresh = false;
        self.called = text.starts_with("call ");
        // These are the registers after the instruction.
        if let Some(state) = state {
            self.inline = true;
            self.leave_call();
            self.registers.update(state);
        }
    }

    fn leave_call(&mut self) {
        if std::mem::take(&mut self.called) {
            self.registers.forget(|name| matches!(name, "R1" | "R2" | "R3" | "R4" | "R5"));
        }
    }

    /// Another path begins, which has the way to `from` in common with one that was walked before.
    fn branch(&mut self, from: u32, state: &str) {
        if let Some(at) = self.walked.iter().rposition(|w| w.insn == from) {
            self.walked.truncate(at + 1);
            self.caller = self.walked.last().and_then(|w| w.caller);
        }
        self.called = false;
        self.registers.replace(state);
        self.fresh = true;
    }

    fn step(&self, walked: &Walked<'_>) -> Step {
        let source = walked.source.and_then(|at| self.sources.get(at)).cloned();
        Step { insn: walked.insn, text: walked.text.to_owned(), source, named: walked.named }
    }

    /// Puts what is known at the end into the log.
    pub(super) fn finish(self, log: &mut VerifierLog) {
        let skip = self.walked.len().saturating_sub(LAST_STEPS);
        log.path = self.walked.iter().skip(skip).map(|w| self.step(w)).collect();
        let mut caller = self.walked.last().and_then(|w| w.caller);
        // Frames are at most 8 deep; a log that says otherwise is none.
        while let Some(walked) = caller.and_then(|at| self.walked.get(at)).filter(|_| log.callers.len() < 16)
        {
            log.callers.push(self.step(walked));
            caller = walked.caller;
        }
        log.origins = self.origins();
        if self.inline || self.known || self.walked.is_empty() {
            log.registers = self.registers.sorted();
        }
    }

    /// The last writers of the registers that the last instruction reads.
    fn origins(&self) -> Vec<Step> {
        let Some((last, before)) = self.walked.split_last() else { return Vec::new() };
        let mut found: Vec<Step> = Vec::new();
        for reg in read_by(last.text) {
            let (mut at, mut reg) = (before.len(), reg);
            let mut caller = last.caller;
            // A copy says little: what was copied came from somewhere.
            while let Some((writer, walked)) = self.writer(at, caller, reg) {
                if found.len() >= MAX_ORIGINS || found.iter().any(|f| f.insn == walked.insn) {
                    break;
                }
                found.push(self.step(walked));
                let Some(from) = copied(walked.text) else { break };
                (at, caller, reg) = (writer, walked.caller, from);
            }
        }
        found
    }

    /// What wrote a register last, before a place of the path, in the same function; arguments come from its callers.
    fn writer(&self, mut before: usize, mut caller: Option<usize>, reg: u32) -> Option<(usize, &Walked<'a>)> {
        loop {
            let walked = self.walked.get(..before)?;
            let found = walked.iter().rposition(|w| w.caller == caller && writes(w.text, reg));
            if let Some(at) = found {
                return Some((at, walked.get(at)?));
            }
            if reg == 0 || reg > 5 {
                return None;
            }
            // A caller stands before what it calls, so this comes to an end.
            before = caller.filter(|call| *call < before)?;
            caller = self.walked.get(before)?.caller;
        }
    }
}

/// The register that an instruction `r1 = r7` copies.
fn copied(text: &str) -> Option<u32> {
    let (to, from) = text.split_once(" = ")?;
    to.strip_prefix('r')?.parse::<u32>().ok()?;
    from.strip_prefix('r')?.parse().ok().filter(|n| *n < 10)
}

/// The numbers of the registers that an instruction reads, without the frame pointer.
fn read_by(text: &str) -> Vec<u32> {
    // `r1 = ..` reads what stands behind; `*(u64 *)(r1 +0) = r2` and `r1 += r2` read both sides.
    let read = match text.split_once(" = ") {
        Some((to, from)) if !to.contains('(') => from,
        _ => text,
    };
    let mut found = Vec::new();
    for word in read.split(|c: char| !c.is_ascii_alphanumeric()) {
        let number = word.strip_prefix(['r', 'w']).and_then(|n| n.parse().ok());
        if let Some(number) = number.filter(|n| *n < 10 && !found.contains(n)) {
            found.push(number);
        }
    }
    found
}

fn writes(text: &str, reg: u32) -> bool {
    if text.starts_with("call ") {
        return reg <= 5;
    }
    let to = text.split(' ').next().unwrap_or_default();
    to.strip_prefix(['r', 'w']).and_then(|n| n.parse().ok()) == Some(reg) && text.contains("= ")
}
