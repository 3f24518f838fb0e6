//! Text: lines of `trace_pipe` by their columns, addresses by their looks.

use std::sync::OnceLock;

use regex::{Captures, Regex};

use super::value::is_address;
use super::{Kind, Redaction};

/// `comm-PID [cpu] flags time: function: message`, as the kernel prints it (`trace_print_context`), with or without the
/// thread group.
const TRACE_LINE: &str = concat!(
    r"^(?P<lead>\s*)(?P<comm>.+?)-(?P<pid>\d+)(?P<tgid>\s+\(\s*[-\d]+\))?(?P<gap>\s+)\[(?P<cpu>\d+)\]",
    r"(?P<flags>\s+\S+)?(?P<gap2>\s+)(?P<time>\d+\.\d+):"
);

fn trace_line() -> Option<&'static Regex> {
    static LINE: OnceLock<Option<Regex>> = OnceLock::new();
    LINE.get_or_init(|| Regex::new(TRACE_LINE).ok()).as_ref()
}

fn hexadecimal() -> Option<&'static Regex> {
    static HEX: OnceLock<Option<Regex>> = OnceLock::new();
    HEX.get_or_init(|| Regex::new(r"\b(?:0x)?[0-9a-f]{12,16}\b").ok()).as_ref()
}

impl Redaction {
    /// Text, line by line: the columns of `trace_pipe` lines, addresses anywhere. Flags of such lines (interrupts,
    /// preemption) go with the CPU. What programs print themselves has no names: use
    /// [`replace`](Redaction::replace_pid) for its numbers, or look at the fields instead.
    pub(super) fn text(&mut self, text: &str) -> String {
        let lines: Vec<String> = text.split('\n').map(|line| self.line(line)).collect();
        lines.join("\n")
    }

    fn line(&mut self, line: &str) -> String {
        let mut rest = line;
        let mut out = String::new();
        if let Some(found) = trace_line().and_then(|re| re.captures(line)) {
            out = self.columns(&found);
            rest = found.get(0).and_then(|m| line.get(m.end()..)).unwrap_or_default();
        }
        if self.addresses
            && let Some(re) = hexadecimal()
        {
            let replaced = re.replace_all(rest, |found: &Captures<'_>| {
                let hex = found.get(0).map_or("", |m| m.as_str());
                let number = u64::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap_or(0);
                // Times and sizes have that many decimal digits as well; `%p` pads with zeros.
                let decimal = !hex.starts_with('0') && hex.bytes().all(|b| b.is_ascii_digit());
                if is_address(number) && !decimal {
                    self.numbers.label("address", &format!("{number:#x}"))
                } else {
                    hex.to_owned()
                }
            });
            out.push_str(&replaced);
        } else {
            out.push_str(rest);
        }
        out
    }

    fn columns(&mut self, found: &Captures<'_>) -> String {
        let part = |name: &str| found.name(name).map_or("", |m| m.as_str());
        let mut out = if self.has(Kind::Comm) {
            self.numbers.label("comm", part("comm"))
        } else {
            format!("{}{}", part("lead"), part("comm"))
        };
        out.push('-');
        match part("pid") {
            "0" => out.push('0'),
            pid if self.has(Kind::Pid) => out.push_str(&self.numbers.label("pid", pid)),
            pid => out.push_str(pid),
        }
        if !self.has(Kind::Pid) {
            out.push_str(part("tgid"));
        }
        // The widths of columns follow their contents.
        let redacts = self.has(Kind::Comm) || self.has(Kind::Pid);
        out.push_str(if redacts { " " } else { part("gap") });
        if self.has(Kind::Cpu) {
            out.push_str("[cpu]");
        } else {
            out.push_str(&format!("[{}]{}", part("cpu"), part("flags")));
        }
        if self.has(Kind::Time) {
            out.push_str(" [time]:");
        } else {
            out.push_str(&format!("{}{}:", part("gap2"), part("time")));
        }
        out
    }

    /// A process id that is known, wherever it stands in text as a number of its own: what a tool prints.
    #[must_use]
    pub fn replace_pid(&mut self, text: &str, pid: u32) -> String {
        let number = pid.to_string();
        let label = self.numbers.label("pid", &number);
        let Ok(re) = Regex::new(&format!(r"\b{number}\b")) else { return text.to_owned() };
        re.replace_all(text, regex::NoExpand(&label)).into_owned()
    }
}
