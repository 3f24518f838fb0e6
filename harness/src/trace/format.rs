//! The `{1} {5}` formats of bcc's `trace_print`: Python's `str.format` over the fields of a line.

use super::TraceFields;

/// A format that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("trace format '{format}': {why}")]
pub(crate) struct FormatError {
    format: String,
    why: String,
}

/// A format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Format {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Field { index: usize, spec: Spec },
}

/// `[[fill]align][0][width][.precision][type]`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    width: usize,
    precision: Option<usize>,
    kind: Option<char>,
}

/// The widest field, so that a format cannot ask for gigabytes.
const MAX_WIDTH: usize = 4096;

impl Format {
    /// Reads a format: fields are `{}` (the next one), `{5}`, or with a width as in `{0:>16}` and `{4:.3f}`; `{{` is a
    /// brace.
    pub(crate) fn parse(format: &str) -> Result<Self, FormatError> {
        let error = |why: &str| FormatError { format: format.to_owned(), why: why.to_owned() };
        let (mut parts, mut text, mut auto) = (Vec::new(), String::new(), Some(0));
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    text.push(c);
                }
                '{' => {
                    let inner: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    let (index, spec) = inner.split_once(':').unwrap_or((inner.as_str(), ""));
                    let index = match (index, auto) {
                        ("", Some(next)) => {
                            auto = Some(next + 1);
                            next
                        }
                        ("", None) => return Err(error("numbered and unnumbered fields are mixed")),
                        (n, next) => {
                            if next.is_some_and(|n| n > 0) {
                                return Err(error("numbered and unnumbered fields are mixed"));
                            }
                            auto = None;
                            n.parse().map_err(|_| error(&format!("'{n}' is no number of a field")))?
                        }
                    };
                    if index > 5 {
                        return Err(error("fields are 0 task, 1 pid, 2 cpu, 3 flags, 4 ts, 5 msg"));
                    }
                    let spec =
                        spec_of(spec, index).ok_or_else(|| error(&format!("'{spec}' is not understood")))?;
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Field { index, spec });
                }
                '}' => return Err(error("a single '}'")),
                c => text.push(c),
            }
        }
        if !format.matches(['{', '}']).count().is_multiple_of(2) {
            return Err(error("a '{' is not closed"));
        }
        parts.push(Part::Text(text));
        Ok(Self { parts })
    }

    /// The line for these fields.
    pub(crate) fn apply(&self, fields: &TraceFields) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Field { index, spec } => spec.apply(*index, fields),
        });
        parts.collect()
    }
}

fn spec_of(text: &str, index: usize) -> Option<Spec> {
    let mut spec = Spec::default();
    let mut chars: Vec<char> = text.chars().collect();
    let is_align = |c: Option<&char>| c.is_some_and(|c| "<>^".contains(*c));
    if is_align(chars.get(1)) {
        spec.fill = chars.first().copied();
        spec.align = chars.get(1).copied();
        chars.drain(..2);
    } else if is_align(chars.first()) {
        spec.align = chars.first().copied();
        chars.drain(..1);
    }
    let number = matches!(index, 1 | 2 | 4);
    if chars.first() == Some(&'0') && number && spec.align.is_none() {
        (spec.fill, spec.align) = (Some('0'), Some('>'));
    }
    let rest: String = chars.into_iter().collect();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (width, rest) = rest.split_at(end);
    if !width.is_empty() {
        spec.width = width.parse().ok().filter(|w| *w <= MAX_WIDTH)?;
    }
    let mut rest = rest;
    if let Some(after) = rest.strip_prefix('.') {
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (precision, tail) = after.split_at(end);
        spec.precision = Some(precision.parse().ok().filter(|p| *p <= MAX_WIDTH)?);
        rest = tail;
    }
    let mut kinds = rest.chars();
    spec.kind = kinds.next();
    let known = match index {
        1 | 2 => "dxX",
        4 => "f",
        _ => "s",
    };
    // An integer has no precision in Python.
    let fits =
        spec.kind.is_none_or(|k| known.contains(k)) && !(spec.precision.is_some() && matches!(index, 1 | 2));
    (kinds.next().is_none() && fits).then_some(spec)
}

impl Spec {
    fn apply(&self, index: usize, f: &TraceFields) -> String {
        let text = match (index, self.kind) {
            (0, _) => self.cut(&f.task),
            (1, kind) => integer(f.pid, kind),
            (2, kind) => integer(f.cpu, kind),
            (3, _) => self.cut(&f.flags),
            (4, None) if self.precision.is_none() => format!("{:?}", f.ts),
            (4, _) => format!("{:.1$}", f.ts, self.precision.unwrap_or(6)),
            _ => self.cut(&f.msg),
        };
        let missing = self.width.saturating_sub(text.chars().count());
        let fill = |n: usize| std::iter::repeat_n(self.fill.unwrap_or(' '), n).collect::<String>();
        // Numbers stand on the right, text on the left.
        let align = self.align.unwrap_or(if matches!(index, 1 | 2 | 4) { '>' } else { '<' });
        match align {
            '>' => fill(missing) + &text,
            '^' => fill(missing / 2) + &text + &fill(missing - missing / 2),
            _ => text + &fill(missing),
        }
    }

    fn cut(&self, text: &str) -> String {
        text.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }
}

fn integer(n: u32, kind: Option<char>) -> String {
    match kind {
        Some('x') => format!("{n:x}"),
        Some('X') => format!("{n:X}"),
        _ => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, TraceFields};
    use proptest::prelude::*;

    fn fields() -> TraceFields {
        TraceFields {
            task: "cat".into(),
            pid: 42,
            cpu: 3,
            flags: "d..31".into(),
            ts: 12.5,
            msg: "open {x}".into(),
        }
    }

    /// What Python's `format` gives for the same fields.
    #[test]
    fn formats_are_pythons() {
        for (format, expected) in [
            ("{1} {5}", "42 open {x}"),
            ("{} {}", "cat 42"),
            ("{0:>8}|{1:<6}|{2:03}|", "     cat|42    |003|"),
            ("{0:*^7} {1:x}", "**cat** 2a"),
            ("{4} {4:.2f} {4:f}", "12.5 12.50 12.500000"),
            ("{5:.4}{{}}", "open{}"),
            ("none", "none"),
            ("", ""),
        ] {
            assert_eq!(
                Format::parse(format).map(|f| f.apply(&fields())),
                Ok(expected.to_owned()),
                "{format}"
            );
        }
        let whole = TraceFields { ts: 7.0, ..fields() };
        assert_eq!(Format::parse("{4}").map(|f| f.apply(&whole)), Ok("7.0".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (format, why) in [
            ("{6}", "0 task"),
            ("{task}", "no number"),
            ("{0} {}", "mixed"),
            ("{} {0}", "mixed"),
            ("{0", "not closed"),
            ("}", "single"),
            ("{1:.2}", "not understood"),
            ("{1:99999}", "not understood"),
            ("{5:d}", "not understood"),
        ] {
            let error = Format::parse(format).unwrap_err().to_string();
            assert!(error.contains(why), "{format}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_format_is_too_strange(format in "[{}:0-9<>^.a-z ]{0,20}") {
            if let Ok(f) = Format::parse(&format) {
                let _ = f.apply(&fields());
            }
        }
    }
}
