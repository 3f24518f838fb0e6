//! What Linux says of a refusal in sentences, since 7.3: below the verifier's words stands a report with headings.

use std::sync::LazyLock;

use regex::Regex;

use crate::report::SourceLine;

/// The kernel's own report of a refusal.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The kind of mistake, such as `Register Type Safety: Invalid dereference`.
    pub title: String,
    /// Why it is one.
    pub reason: String,
    /// What to do about it.
    pub suggestion: String,
    /// The instruction.
    pub insn: Option<u32>,
    /// The C line, with its column.
    pub source: Option<SourceLine>,
    /// How registers came to be what they are, in order, each with its place.
    pub causes: Vec<String>,
}

/// The first line of a report.
pub(super) const TITLE: &str = "Verification failed: ";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    None,
    Reason,
    At,
    Cause,
    Suggestion,
}

/// Reads a report line by line.
#[derive(Debug)]
pub(super) struct Reader {
    done: Explanation,
    part: Part,
    /// The place that a cause is at.
    place: String,
    /// Whether the sentence of a cause goes on.
    goes_on: bool,
}

#[allow(clippy::unwrap_used, reason = "the patterns are constants, and every test compiles them")]
mod patterns {
    use super::{LazyLock, Regex};

    pub(super) static PLACE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\S+ @ (\S+):(\d+):(\d+)$").unwrap());
    pub(super) static MARKED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^>>> +(\d+) \| ?(\([0-9a-f]{2}\) )?(.*)$").unwrap());
}

impl Reader {
    /// Begins at the title, if the line is one.
    pub(super) fn begin(line: &str) -> Option<Self> {
        let title = line.strip_prefix(TITLE)?.trim().to_owned();
        let done = Explanation { title, ..Explanation::default() };
        Some(Self { done, part: Part::None, place: String::new(), goes_on: false })
    }

    /// Takes the next line, indented or not.
    pub(super) fn take(&mut self, raw: &str) {
        let heading = match raw {
            "Reason:" => Some(Part::Reason),
            "At:" => Some(Part::At),
            "Causal path:" => Some(Part::Cause),
            "Suggestion:" => Some(Part::Suggestion),
            // A heading that is not known here.
            _ if raw.ends_with(':') && !raw.starts_with(' ') => Some(Part::None),
            _ => None,
        };
        if let Some(part) = heading {
            self.part = part;
            return;
        }
        let line = raw.trim();
        match self.part {
            Part::Reason => append(&mut self.done.reason, line),
            Part::Suggestion => append(&mut self.done.suggestion, line),
            Part::At => self.at(line),
            Part::Cause => self.cause(line),
            Part::None => {}
        }
    }

    fn at(&mut self, line: &str) {
        if let Some((file, number, col)) = place(line) {
            let source = SourceLine { file: file.to_owned(), line: number, col, text: String::new() };
            self.done.source.get_or_insert(source);
            return;
        }
        let Some(found) = patterns::MARKED.captures(line) else { return };
        let number = found.get(1).and_then(|n| n.as_str().parse::<u32>().ok());
        let text = found.get(3).map_or("", |t| t.as_str());
        if found.get(2).is_some() {
            self.done.insn = self.done.insn.or(number);
        } else if let Some(source) = self.done.source.as_mut().filter(|s| Some(s.line) == number) {
            text.clone_into(&mut source.text);
        }
    }

    fn cause(&mut self, line: &str) {
        if let Some((file, number, _)) = place(line) {
            self.place = format!("{file}:{number}");
            return;
        }
        let text = line.strip_prefix('|').map(str::trim);
        match text.map(|text| (text, text.strip_prefix("^-- "))) {
            Some((_, Some(sentence))) => {
                let sentence = sentence.strip_prefix("update: ").unwrap_or(sentence);
                self.done.causes.push(format!("{}: {sentence}", self.place));
                self.goes_on = true;
            }
            Some((more, None)) if self.goes_on => {
                if let Some(cause) = self.done.causes.last_mut() {
                    append(cause, more);
                }
            }
            _ => self.goes_on = false,
        }
    }

    pub(super) fn finish(self) -> Explanation {
        self.done
    }
}

fn place(line: &str) -> Option<(&str, u32, u32)> {
    let found = patterns::PLACE.captures(line)?;
    let number = |n| found.get(n)?.as_str().parse().ok();
    Some((found.get(1)?.as_str(), number(2)?, number(3)?))
}

/// Lines that were broken for the width of a terminal become one.
fn append(text: &mut String, line: &str) {
    if line.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(line);
}
