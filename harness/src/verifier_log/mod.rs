//! The log of the kernel's verifier, as facts: why it refused a program, at which instruction and C line, on which path,
//! and what verifying cost.
//!
//! The log is text for people and its form changes: C lines carry their place since Linux 6.9
//! (`kernel/bpf/log.c`, `verbose_linfo()`), registers stand behind the instruction since 5.18 and on lines of their own
//! before, unknown numbers are `scalar` since 5.18 and `inv` before, and since 7.3 a report in sentences follows. [`VerifierLog::parse`] reads all of it, from 5.10 on,
//! and accepts any text: what it does not know is the verifier's message.
//!
//! ```
//! use bpf_harness::verifier_log::{Refusal, VerifierLog};
//! let log = VerifierLog::parse(
//!     "; return *value; @ null_deref.bpf.c:20
//! 7: (61) r0 = *(u32 *)(r0 +0)
//! R0 invalid mem access 'map_value_or_null'
//! processed 8 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
//! ",
//! );
//! assert_eq!(log.insn, Some(7));
//! assert_eq!(log.stats.insns_processed, Some(8));
//! let diagnostic = log.diagnostic(&Refusal::of("unchecked_lookup"));
//! assert_eq!(diagnostic.id, "null-deref");
//! assert!(diagnostic.render(false).contains("null_deref.bpf.c:20"));
//! ```

mod explanation;
mod line;
mod path;
mod reason;
mod refusal;
mod registers;
mod stats;
#[cfg(test)]
mod tests;

pub use explanation::Explanation;
pub use refusal::Refusal;
pub use registers::Register;
pub use stats::Stats;

use crate::report::SourceLine;
use line::Line;
use path::Path;

/// Instructions kept of the path that led to a refusal.
const LAST_STEPS: usize = 16;

/// Lines kept of the verifier's message. What is longer is no message of the verifier.
const MAX_MESSAGE_LINES: usize = 64;

/// What a log says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct VerifierLog {
    /// The verifier's words: the lines behind the last instruction. Empty if it had nothing to say, as for a program that
    /// it accepted.
    pub message: Vec<String>,
    /// The instruction slot that the message is about.
    pub insn: Option<u32>,
    /// Its C line. Before Linux 6.9 the log has its text only: file and line are empty and 0.
    pub source: Option<SourceLine>,
    /// The last instructions of the path, in order; the last of them is where it ended.
    pub path: Vec<Step>,
    /// The calls that the path is in, innermost first.
    pub callers: Vec<Step>,
    /// The registers and stack slots of the innermost function before the last instruction, as far as the log has them.
    pub registers: Vec<Register>,
    /// Whence the registers of the last instruction come: the instructions that wrote them last.
    pub origins: Vec<Step>,
    /// What the kernel says about it in sentences, since Linux 7.3.
    pub explanation: Option<Explanation>,
    /// What verifying cost.
    pub stats: Stats,
    /// Whether the log has its end: the line of counts. A buffer that was too small cuts it off (before Linux 6.4), and
    /// programs that are refused before they are walked may have none.
    pub complete: bool,
}

/// An instruction that the verifier walked over.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Step {
    /// The slot.
    pub insn: u32,
    /// The instruction, as the kernel disassembles it.
    pub text: String,
    /// Its C line; as [`VerifierLog::source`].
    pub source: Option<SourceLine>,
    /// Whether the log has that line right before the instruction. Else it is the one before, and where the verifier goes
    /// on with another path, that need not be the instruction's.
    named: bool,
}

impl VerifierLog {
    /// Reads a log. Any text is one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut log = Self::default();
        let mut path = Path::default();
        let mut message: Vec<&str> = Vec::new();
        // What stands before the first instruction is about functions and their types.
        let mut about_insn = None;
        let mut explained: Option<explanation::Reader> = None;
        // Not every message ends its line.
        let lines = text.lines().flat_map(line::parts).flat_map(|l| {
            let (words, stats) = l.split_at(stats::place(l));
            std::iter::once(words).chain((!stats.is_empty()).then_some(stats))
        });
        for raw in lines {
            let raw = raw.trim_end_matches(['\0', '\r', ' ']);
            let line = Line::of(raw);
            if let Some(reader) = explained.as_mut().filter(|_| line != Line::Stats) {
                reader.take(raw);
                continue;
            }
            if let Some(reader) = explanation::Reader::begin(raw) {
                explained = Some(reader);
                continue;
            }
            match line {
                Line::Stats => {
                    log.explanation = explained.take().map(explanation::Reader::finish).or(log.explanation);
                    log.stats.read(raw);
                    log.complete |= raw.starts_with("processed ");
                    continue;
                }
                Line::Words | Line::AtInsn(_) => {}
                Line::Empty | Line::Noise => continue,
                // States that a message shows.
                Line::Compared => {
                    message.push(raw);
                    continue;
                }
                _ => {
                    message.clear();
                    about_insn = None;
                }
            }
            match line {
                Line::Words if message.len() < MAX_MESSAGE_LINES => message.push(raw),
                Line::AtInsn(insn) => about_insn = Some(insn),
                other => path.take(other),
            }
        }
        log.explanation = explained.map(explanation::Reader::finish).or(log.explanation);
        log.message = message::of(&message);
        path.finish(&mut log);
        log.blame(about_insn);
        log
    }

    /// Whether the verifier gave a reason.
    #[must_use]
    pub fn has_message(&self) -> bool {
        !self.message.is_empty()
    }

    /// The first line of the message.
    #[must_use]
    pub fn headline(&self) -> &str {
        self.message.first().map_or("", String::as_str)
    }

    /// The instruction of the message: the one it names if nothing was walked, else the last one walked.
    fn blame(&mut self, about: Option<(u32, Option<SourceLine>)>) {
        let named = self.message.iter().find_map(|m| message::named_insn(m));
        if let Some((insn, source)) = about {
            self.insn = Some(named.unwrap_or(insn));
            self.source = source.filter(|_| named.is_none_or(|n| n == insn));
        } else if let Some(last) = self.path.last() {
            self.insn = Some(last.insn);
            self.source.clone_from(&last.source);
        } else {
            self.insn = named;
        }
        let Some(explanation) = &self.explanation else { return };
        if self.insn.is_none() || self.insn == explanation.insn {
            self.insn = explanation.insn;
            // It has the column too. Its text may be cut off.
            let texts = (explanation.source.as_ref(), self.source.as_ref());
            if !matches!(texts, (Some(told), Some(known)) if told.text.is_empty() && !known.text.is_empty()) {
                self.source = explanation.source.clone().or(self.source.take());
            }
        }
    }
}

mod message {
    //! The lines that are the verifier's reason.

    use std::sync::LazyLock;

    use regex::Regex;

    /// What the verifier notes on its way and does not mean as a reason: types of arguments whose size it cannot know
    /// (`btf_prepare_func_args()`), functions that it checks one by one.
    fn remark(line: &str) -> bool {
        line.contains("size cannot be determined") || line.contains("Only those are supported")
    }

    /// The message without remarks, unless there is nothing else.
    pub(super) fn of(lines: &[&str]) -> Vec<String> {
        let mut reasons: Vec<String> =
            lines.iter().filter(|l| !remark(l)).map(|l| l.trim().to_owned()).collect();
        if reasons.is_empty() {
            reasons = lines.iter().map(|l| l.trim().to_owned()).collect();
        }
        reasons
    }

    #[allow(clippy::unwrap_used, reason = "the pattern is a constant, and every test compiles it")]
    static NAMED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?:^|[ (])insn (\d+)").unwrap());

    /// The instruction that a message names, as `unreachable insn 5` and `jump out of range from insn 3 to 9`.
    pub(super) fn named_insn(line: &str) -> Option<u32> {
        NAMED.captures(line)?.get(1)?.as_str().parse().ok()
    }
}
