//! A refusal by the kernel, shown like a fault of the simulator.

use bpf_vm_shim::isa::disassemble;
use bpf_vm_shim::object::LinkedProgram;

use super::{Step, VerifierLog, reason};
use crate::report::{Caller, Diagnostic, SourceLine};

/// What the caller knows besides the log.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Refusal<'a> {
    /// The program's name.
    pub program: &'a str,
    /// The program as it was loaded, with its line information: for the file and line of C lines, which logs have since
    /// Linux 6.9 only, and for columns.
    pub linked: Option<&'a LinkedProgram>,
    /// The number of the error that `bpf(2)` ended with, positive.
    pub errno: Option<i32>,
}

impl<'a> Refusal<'a> {
    /// Of a program of which nothing but its name is known.
    #[must_use]
    pub fn of(program: &'a str) -> Self {
        Self { program, linked: None, errno: None }
    }

    /// With the program that was loaded.
    #[must_use]
    pub fn linked(mut self, linked: &'a LinkedProgram) -> Self {
        self.linked = Some(linked);
        self
    }

    /// With the error of the system call.
    #[must_use]
    pub fn errno(mut self, errno: i32) -> Self {
        self.errno = Some(errno.saturating_abs());
        self
    }

    /// The C line of an instruction: the program's own, unless the log is that of another program. Where the verifier goes
    /// on with another path, the last line of the log need not be the instruction's.
    fn source(&self, log: &VerifierLog, insn: u32, logged: Option<&SourceLine>) -> Option<SourceLine> {
        let own = self.linked.filter(|linked| log.is_of(linked)).and_then(|l| SourceLine::of(l, insn));
        own.or_else(|| logged.cloned())
    }

    fn function(&self, insn: u32) -> String {
        let subprog = self.linked.and_then(|l| l.subprog(insn as usize));
        subprog.map(|s| s.name.to_string()).unwrap_or_default()
    }
}

/// Instructions shown before the one that was refused.
const BEFORE: usize = 5;

impl VerifierLog {
    /// The refusal for people: the verifier's words, the C line, the last instructions and what is known about their
    /// registers, and what to do.
    #[must_use]
    pub fn diagnostic(&self, refusal: &Refusal<'_>) -> Diagnostic {
        let id = if self.has_message() { reason::of(&self.message) } else { reason::OTHER };
        let insn = self.insn.unwrap_or(0);
        let callers = self.callers.iter().map(|call| Caller {
            function: refusal.function(call.insn),
            insn: call.insn,
            source: refusal.source(self, call.insn, call.source.as_ref()),
        });
        Diagnostic {
            id,
            message: self.title(refusal),
            program: refusal.program.to_owned(),
            function: self.insn.map(|n| refusal.function(n)).unwrap_or_default(),
            insn,
            source: self.insn.and_then(|n| refusal.source(self, n, self.source.as_ref())),
            callers: callers.collect(),
            notes: self.notes(refusal),
            help: crate::report::help(id),
            disassembly: self.listing(refusal),
            regs: [0; 11],
        }
    }

    /// Whether the C lines that the log has right before instructions are the program's own there.
    fn is_of(&self, linked: &LinkedProgram) -> bool {
        let named = self.path.iter().chain(&self.callers).filter(|step| step.named);
        let mut lines =
            named.filter_map(|step| Some((SourceLine::of(linked, step.insn)?, step.source.as_ref()?)));
        lines.all(|(own, logged)| own.text.trim() == logged.text.trim())
    }

    fn title(&self, refusal: &Refusal<'_>) -> String {
        if self.has_message() {
            return self.headline().to_owned();
        }
        let errno = refusal.errno.unwrap_or(0);
        if self.complete || self.path.is_empty() {
            return silent(errno);
        }
        "the log of the verifier ends before its reason: the buffer was too small for it".to_owned()
    }

    fn notes(&self, refusal: &Refusal<'_>) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        if self.message.len() > 1 {
            notes.push(format!(
                "the verifier goes on: {}",
                self.message.get(1..).unwrap_or_default().join("\n")
            ));
        }
        if let Some(told) = &self.explanation {
            notes.extend((!told.reason.is_empty()).then(|| format!("{}: {}", told.title, told.reason)));
            notes.extend(told.causes.iter().map(|cause| format!("from {cause}")));
            notes.extend(
                (!told.suggestion.is_empty()).then(|| format!("the kernel suggests: {}", told.suggestion)),
            );
        }
        // The kernel's account of where registers come from is the better one.
        let told = self.explanation.as_ref().is_some_and(|e| !e.causes.is_empty());
        for step in self.origins.iter().filter(|s| !told && Some(s.insn) != self.insn) {
            let place = refusal.source(self, step.insn, step.source.as_ref()).map(|s| format!(" at {s}"));
            notes.push(format!("from instruction {}: {}{}", step.insn, step.text, place.unwrap_or_default()));
        }
        if !self.registers.is_empty() {
            let lines = self.registers.iter().map(|r| format!("\n  {} = {}", r.name, r.value));
            notes.push(format!("registers:{}", lines.collect::<String>()));
        }
        if let Some(insns) = self.stats.insns_processed.filter(|n| *n > 0) {
            let states = self.stats.total_states.map(|n| format!(", {n} states")).unwrap_or_default();
            notes.push(format!("the verifier walked over {insns} instructions{states}"));
        }
        notes
    }

    /// The instructions that were walked last; of a program that was not walked, those around the one that is meant.
    fn listing(&self, refusal: &Refusal<'_>) -> Vec<(u32, String)> {
        let line = |s: &Step| (s.insn, s.text.clone());
        if self.path.last().is_some_and(|s| Some(s.insn) == self.insn) {
            return self.path.iter().skip(self.path.len().saturating_sub(BEFORE + 1)).map(line).collect();
        }
        let (Some(linked), Some(insn)) = (refusal.linked, self.insn) else { return Vec::new() };
        let slot = insn as usize;
        linked
            .insns
            .get(slot)
            .map(|i| (insn, disassemble(i, linked.insns.get(slot + 1))))
            .into_iter()
            .collect()
    }
}

/// What a refusal without words means.
fn silent(errno: i32) -> String {
    match errno {
        0 => "the kernel refused the program and said nothing".to_owned(),
        1 => "the kernel does not let this process load the program: it needs CAP_BPF, and CAP_PERFMON or CAP_NET_ADMIN \
              by its type (EPERM)"
            .to_owned(),
        7 => "the program has more instructions than this kernel loads (E2BIG)".to_owned(),
        22 => "the kernel refused the program and said nothing: it does not know its type, its attach type or a flag \
               (EINVAL)"
            .to_owned(),
        28 => "the buffer was too small for the log of the verifier (ENOSPC)".to_owned(),
        524 => "the kernel has no such feature, as trampolines on this architecture (ENOTSUPP)".to_owned(),
        n => {
            let why = std::io::Error::from_raw_os_error(n);
            format!("the kernel refused the program and said nothing: {why}")
        }
    }
}
