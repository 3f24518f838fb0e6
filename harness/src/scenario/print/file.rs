//! What `[[print]]` can say.

use serde::Deserialize;
use toml::Spanned;

/// One thing to print: exactly one of `text`, `trace`, `events`, `table`, `log2` and `linear`; or a `line` alone, whose
/// fields sum something up: `{table('counts')|map(attribute='value')|sum}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PrintFile {
    /// Text as it is; one newline is added.
    pub text: Option<String>,
    /// What programs printed: `true` as it is, `"{1} {5}"` in bcc's format; or with a `line` over the names of its fields:
    /// `task`, `pid`, `cpu`, `flags`, `ts`, `msg`.
    pub trace: Option<Trace>,
    /// A perf or ring buffer: its records, one `line` for each, with the names of its members. `index` is the record's
    /// number, from 0; `first` and `previous` are other records.
    pub events: Option<Spanned<String>>,
    /// A map: one `line` for each element, with `key`, `value` and `index`. What is zero in an array is left out.
    pub table: Option<Spanned<String>>,
    /// A map: bcc's histogram of powers of two.
    pub log2: Option<Spanned<String>>,
    /// A map: bcc's linear histogram.
    pub linear: Option<Spanned<String>>,
    /// Of records, the structure that they are, if the object has several of their size; of histograms, what is counted.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// What comes first.
    pub header: Option<String>,
    /// The line, or lines, for each.
    pub line: Option<Spanned<String>>,
    /// Of records, an expression: those with the same value are of one group. A line knows as `group` what has come since
    /// the last line of its group, itself included.
    pub group: Option<Spanned<String>>,
    /// Only those for which this expression is true.
    pub only: Option<Spanned<String>>,
    /// The expression by which the elements of a table are sorted; their keys otherwise.
    pub sort: Option<Spanned<String>>,
    /// The largest first.
    pub reverse: bool,
    /// No more than so many.
    pub limit: Option<usize>,
    /// Of histograms, the heading of sections.
    pub section: Option<String>,
    /// Of histograms, the expression that says what a section is called, with its key as `section`.
    pub section_line: Option<Spanned<String>>,
}

/// Whether and how the trace is shown.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Trace {
    /// As it is.
    Lines(bool),
    /// In bcc's `trace_print` format.
    Format(String),
}

impl PrintFile {
    /// That it says what to print once, and nothing that this cannot use.
    pub(super) fn check(&self) -> Result<(), String> {
        let kinds = [
            ("text", self.text.is_some()),
            ("trace", self.trace.is_some()),
            ("events", self.events.is_some()),
            ("table", self.table.is_some()),
            ("log2", self.log2.is_some()),
            ("linear", self.linear.is_some()),
        ];
        let lone = self.line.is_some() && !kinds.iter().any(|k| k.1);
        let lone = [("line", lone)];
        let mut given = kinds.iter().chain(&lone).filter(|k| k.1).map(|k| k.0);
        let (Some(kind), None) = (given.next(), given.next()) else {
            return Err(
                "[[print]] needs exactly one of 'text', 'trace', 'events', 'table', 'log2' and 'linear'"
                    .to_owned(),
            );
        };
        if kind == "line" {
            return Ok(());
        }
        let rows = matches!(kind, "trace" | "events" | "table");
        let hist = matches!(kind, "log2" | "linear");
        let wants = [
            ("type", self.type_name.is_some(), hist || kind == "events"),
            ("line", self.line.is_some(), rows),
            ("group", self.group.is_some(), kind == "events"),
            ("only", self.only.is_some(), rows && self.line.is_some()),
            ("sort", self.sort.is_some(), rows && self.line.is_some()),
            ("reverse", self.reverse, rows && self.line.is_some()),
            ("limit", self.limit.is_some(), rows && self.line.is_some()),
            ("section", self.section.is_some(), hist),
            ("section_line", self.section_line.is_some(), hist),
        ];
        if self.line.is_none() && matches!(kind, "events" | "table") {
            return Err(format!("'{kind}' needs a 'line', which says what is printed for each"));
        }
        if let Some((name, ..)) = wants.iter().find(|(_, given, fits)| *given && !fits) {
            return Err(format!("'{name}' says nothing about '{kind}'"));
        }
        Ok(())
    }
}
