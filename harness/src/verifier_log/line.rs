//! What one line of the log is.

use std::sync::LazyLock;

use regex::Regex;

use crate::report::SourceLine;

/// A line by its form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Line<'a> {
    Empty,
    /// Nothing that helps to understand a refusal: precision tracking, states that were seen before.
    Noise,
    /// The C line of what follows.
    Source(SourceLine),
    /// `12: (79) r1 = *(u64 *)(r7 +8)`, and the registers behind it.
    Insn {
        insn: u32,
        text: &'a str,
        state: Option<&'a str>,
    },
    /// Registers before an instruction (`12: R0=..`) or of functions that call each other (`R0=..`, ` frame1: R0=..`).
    State {
        insn: Option<u32>,
        state: &'a str,
    },
    /// `from 3 to 7: R0=..`: another path, which leaves a known one behind instruction 3.
    Branch {
        from: u32,
        state: &'a str,
    },
    /// The last instruction calls a function that is walked next.
    Calls,
    /// That function has returned.
    Returns,
    /// A state that a message about loops compares.
    Compared,
    /// An instruction and its C line, before a message about it.
    AtInsn((u32, Option<SourceLine>)),
    /// Counts.
    Stats,
    /// Anything else: the verifier's words.
    Words,
}

/// Prefixes of lines that only those need who debug the verifier itself.
const NOISE: &[&str] = &[
    "mark_precise:",
    "last_idx ",
    "regs=",
    "parent already had",
    "parent didn't have",
    "propagating ",
    "func#",
    "Live regs before insn:",
    "stack use/def",
    "subprog#",
    "SCC ",
    "Validating ",
];

#[allow(clippy::unwrap_used, reason = "the patterns are constants, and every test compiles them")]
mod patterns {
    use super::{LazyLock, Regex};

    pub(super) static INSN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^(\d+): (?:\([0-9a-f]{2}\) |(<(?:invalid|missing) ))").unwrap());
    pub(super) static NUMBERED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(\d+): ?(.*)$").unwrap());
    pub(super) static BRANCH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^from (\d+) to (\d+)(?: \([^)]*\))?: ?(.*)$").unwrap());
    pub(super) static PLACE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(.*) @ (\S+):(\d+)$").unwrap());
    pub(super) static STATE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^ ?(?:frame\d+:|(?:R\d+|fp-\d+)(?:_[a-zA-Z]+)?=)").unwrap());
    pub(super) static CODE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\d*:? ?\([0-9a-f]{2}\) ").unwrap());
    pub(super) static JUMP: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^\d+: \([0-9a-f]{2}\) (?:[^;]*?goto(?:l|_or_nop)? pc[+-]\d+|exit) +(\S.*)$").unwrap()
    });
    pub(super) static SHOWN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^;\s*(?:$|frame\d+:|(?:R\d+|fp-\d+)(?:_[a-zA-Z]+)?=|refs=|cb\b|async_cb\b)").unwrap()
    });
    pub(super) static ROW: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(?: +\d+: [.0-9]{10}[^(]*\([0-9a-f]{2}\) |\(\d+\) (?:frame \d+ insn|live stack))")
            .unwrap()
    });
}

/// Reasons that may stand behind an instruction, on its line.
const ON_ITS_LINE: [&str; 2] = ["BPF program is too large", "The sequence of "];

/// The parts of a line that are lines of their own. Behind a jump the kernel takes the end of the line away to write
/// registers there (`print_insn_state()`), and may then write something else: the next C line, the registers before the
/// next instruction, or its reason.
pub(super) fn parts(raw: &str) -> impl Iterator<Item = &str> {
    let (mut insn, mut behind, mut reason) = (raw, "", "");
    if patterns::INSN.is_match(raw) {
        if let Some(at) = ON_ITS_LINE.iter().find_map(|words| raw.find(words)) {
            (insn, reason) = raw.split_at(at);
        }
        let rest = patterns::JUMP.captures(insn).and_then(|found| found.get(1));
        if let Some(rest) = rest.filter(|rest| !patterns::SHOWN.is_match(rest.as_str())) {
            (insn, behind) = insn.split_at(rest.start());
        }
    }
    std::iter::once(insn).chain([behind, reason].into_iter().filter(|part| !part.is_empty()))
}

impl<'a> Line<'a> {
    pub(super) fn of(raw: &'a str) -> Self {
        if raw.trim().is_empty() {
            return Self::Empty;
        }
        if let Some(text) = raw.strip_prefix("; ") {
            return Self::Source(source(text));
        }
        if let Some(line) = Self::numbered(raw) {
            return line;
        }
        let of_function = raw.starts_with("subprog ") && raw.contains(" insns_self ");
        if of_function
            || ["processed ", "verification time ", "stack depth "].iter().any(|p| raw.starts_with(p))
        {
            return Self::Stats;
        }
        if let Some(found) = patterns::BRANCH.captures(raw) {
            let part = |n| found.get(n).map_or("", |m| m.as_str());
            let state = part(3);
            return match (part(1).parse(), part(2).parse()) {
                (Ok::<u32, _>(_), Ok::<u32, _>(_)) if state == "safe" => Self::Noise,
                (Ok(from), Ok::<u32, _>(_)) => Self::Branch { from, state },
                _ => Self::Words,
            };
        }
        if patterns::STATE.is_match(raw) && !raw.contains(" type=") {
            return if propagation(raw) {
                Self::Noise
            } else {
                Self::State { insn: None, state: raw.trim() }
            };
        }
        if raw.starts_with("cur state:") || raw.starts_with("old state:") {
            return Self::Compared;
        }
        match raw {
            "callee:" => return Self::Calls,
            "returning from callee:" => return Self::Returns,
            "caller:" => return Self::Noise,
            _ => {}
        }
        let returned = raw.starts_with("to caller at ");
        let assumed =
            raw.starts_with("Func#") && (raw.contains(" is safe for ") || raw.contains("assumed valid"));
        // Also the rest of an instruction where the beginning of the log is lost.
        let noise = patterns::CODE.is_match(raw)
            || returned
            || assumed
            || NOISE.iter().any(|p| raw.starts_with(p))
            || patterns::ROW.is_match(raw);
        if noise || propagation(raw) { Self::Noise } else { Self::Words }
    }

    /// Lines that begin with the number of an instruction.
    fn numbered(raw: &'a str) -> Option<Self> {
        let found = patterns::NUMBERED.captures(raw)?;
        let insn: u32 = found.get(1)?.as_str().parse().ok()?;
        let rest = found.get(2).map_or("", |m| m.as_str());
        if let Some(shape) = patterns::INSN.captures(raw) {
            // What libbpf puts in the place of an instruction that it could not relocate has no code.
            let text = if shape.get(2).is_some() { rest } else { rest.get(5..).unwrap_or(rest) };
            // The disassembly itself has no semicolon.
            let (text, state) = match text.split_once(';') {
                Some((text, state)) => (text, Some(state.trim())),
                None => (text, None),
            };
            return Some(Self::Insn { insn, text: text.trim(), state });
        }
        if rest == "safe" || rest.is_empty() {
            return Some(Self::Noise);
        }
        if patterns::STATE.is_match(rest) {
            return Some(Self::State { insn: Some(insn), state: rest });
        }
        let place = source(rest);
        let place = (place.line > 0).then_some(place)?;
        Some(Self::AtInsn((insn, Some(place))))
    }
}

/// `frame 1: propagating r6`, also with the name of the frame in one word.
fn propagation(raw: &str) -> bool {
    raw.starts_with("frame") && raw.contains("propagating")
}

/// A C line with its place, which is there since Linux 6.9.
fn source(text: &str) -> SourceLine {
    let found = patterns::PLACE.captures(text);
    let part = |n| found.as_ref().and_then(|f| f.get(n)).map(|m| m.as_str());
    match (part(1), part(2), part(3).and_then(|n| n.parse().ok())) {
        (Some(text), Some(file), Some(line)) => {
            SourceLine { file: file.to_owned(), line, col: 0, text: text.trim_end().to_owned() }
        }
        _ => SourceLine { file: String::new(), line: 0, col: 0, text: text.trim_end().to_owned() },
    }
}
