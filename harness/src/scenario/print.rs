//! `[[print]]`: what the tool's user would see, in order.

use std::collections::BTreeMap;

use minijinja::value::Value as Any;
use serde::Deserialize;
use toml::Spanned;

use super::kernel::{Placed, at};
use super::line::{Expression, Line, Lines, Shared, any, record};
use super::output::Printed;
use crate::bpf::{Bpf, TraceFields};
use crate::hist::Hist;
use crate::value::Value;

/// One thing to print: exactly one of `text`, `trace`, `events`, `table`, `log2` and `linear`.
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

/// An element that is about to be printed.
struct Row {
    names: Any,
    data: Value,
}

pub(super) fn print(
    files: &[Spanned<PrintFile>],
    bpf: &Shared,
    lines: &Lines,
    parts: &mut Vec<Printed>,
) -> Result<(), Placed> {
    for file in files {
        parts.push(one(file, bpf, lines)?);
    }
    Ok(())
}

fn one(spanned: &Spanned<PrintFile>, bpf: &Shared, lines: &Lines) -> Result<Printed, Placed> {
    let file = spanned.get_ref();
    file.check().map_err(at(spanned))?;
    let mut out = Printed { kind: "print", name: String::new(), data: None, text: None };
    let mut text = file.header.as_ref().map_or_else(String::new, |h| format!("{h}\n"));
    let mut locked = bpf.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(plain) = &file.text {
        text.push_str(plain);
        text.push('\n');
    } else if let Some(trace) = &file.trace {
        "trace".clone_into(&mut out.name);
        match &file.line {
            None => trace.print(&mut locked, &mut text).map_err(at(spanned))?,
            Some(_) => {
                let found = std::iter::from_fn(|| locked.trace_fields(true).ok().flatten());
                let rows = found.map(|f| Row { names: trace_names(&f), data: Value::Null }).collect();
                drop(locked);
                file.rows(rows, lines, &mut text)?;
            }
        }
    } else if let Some(map) = &file.events {
        out.name.clone_from(map.get_ref());
        let records = events(&mut locked, map.get_ref(), file.type_name.as_deref()).map_err(at(map))?;
        let lost = locked.lost_records(map.get_ref()).map_err(|e| at(map)(e.to_string()))?;
        drop(locked);
        let first = records.first().map_or(Any::from(()), record);
        let mut previous = Any::from(());
        let mut rows = Vec::new();
        for (index, value) in records.into_iter().enumerate() {
            let names =
                with(&value, [("index", index.into()), ("first", first.clone()), ("previous", previous)]);
            previous = record(&value);
            rows.push(Row { names, data: value });
        }
        out.data = Some(file.rows(rows, lines, &mut text)?);
        if lost > 0 {
            // bcc says so on standard error, wherever the poll happens to be.
            text.push_str(&format!("Possibly lost {lost} samples\n"));
        }
    } else if let Some(map) = &file.table {
        out.name.clone_from(map.get_ref());
        let table = locked.table(map.get_ref()).map_err(|e| at(map)(e.to_string()))?;
        let table = if super::output::is_array(&mut locked, map.get_ref()) { table.nonzero() } else { table };
        drop(locked);
        let mut rows = Vec::new();
        for e in &table {
            let data = Value::from([("key", e.key.clone()), ("value", e.value.clone())]);
            rows.push(Row { names: record(&data), data });
        }
        out.data = Some(file.rows(rows, lines, &mut text)?);
    } else if let Some(map) = file.log2.as_ref().or(file.linear.as_ref()) {
        out.name.clone_from(map.get_ref());
        let table = locked.table(map.get_ref()).map_err(|e| at(map)(e.to_string()))?;
        drop(locked);
        text.push_str(&file.histogram(&table, lines, map)?);
    }
    out.text = Some(text);
    Ok(out)
}

impl PrintFile {
    /// That it says what to print once, and nothing that this cannot use.
    fn check(&self) -> Result<(), String> {
        let kinds = [
            ("text", self.text.is_some()),
            ("trace", self.trace.is_some()),
            ("events", self.events.is_some()),
            ("table", self.table.is_some()),
            ("log2", self.log2.is_some()),
            ("linear", self.linear.is_some()),
        ];
        let mut given = kinds.iter().filter(|k| k.1).map(|k| k.0);
        let (Some(kind), None) = (given.next(), given.next()) else {
            return Err(
                "[[print]] needs exactly one of 'text', 'trace', 'events', 'table', 'log2' and 'linear'"
                    .to_owned(),
            );
        };
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

    /// Filters, sorts and prints rows; gives them as data.
    fn rows(&self, rows: Vec<Row>, lines: &Lines, text: &mut String) -> Result<serde_json::Value, Placed> {
        let mut rows = self.chosen(rows, lines)?;
        if let Some(sort) = &self.sort {
            let by = lines.expression(sort.get_ref()).map_err(at(sort))?;
            let mut keyed = Vec::new();
            for row in rows {
                keyed.push((by.value(&row.names).map_err(at(sort))?, row));
            }
            keyed.sort_by(|a, b| a.0.cmp(&b.0));
            rows = keyed.into_iter().map(|(_, row)| row).collect();
        }
        if self.reverse {
            rows.reverse();
        }
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        if let Some(line) = &self.line {
            let each: Vec<Line<'_>> = lines.lines(line.get_ref()).map_err(at(line))?;
            for row in &rows {
                for l in &each {
                    l.write(&row.names, text).map_err(at(line))?;
                }
            }
        }
        Ok(super::output::json(&Value::List(rows.into_iter().map(|r| r.data).collect())))
    }

    /// The rows that are to be printed, each with its group.
    fn chosen(&self, rows: Vec<Row>, lines: &Lines) -> Result<Vec<Row>, Placed> {
        let expression = |text: &Option<Spanned<String>>| {
            text.as_ref().map(|t| lines.expression(t.get_ref()).map_err(at(t))).transpose()
        };
        let (by, wanted) = (expression(&self.group)?, expression(&self.only)?);
        let value = |e: &Expression<'_>, text: &Option<Spanned<String>>, names: &Any| {
            e.value(names).map_err(|why| (text.as_ref().map(Spanned::span), why))
        };
        let (mut groups, mut chosen) = (BTreeMap::<Any, Vec<Any>>::new(), Vec::new());
        for mut row in rows {
            let mut key = None;
            if let Some(by) = &by {
                let of = value(by, &self.group, &row.names)?;
                let group = groups.entry(of.clone()).or_default();
                group.push(record(&row.data));
                row.names = and(&row.names, "group", Any::from(group.clone()));
                key = Some(of);
            }
            if let Some(wanted) = &wanted
                && !value(wanted, &self.only, &row.names)?.is_true()
            {
                continue;
            }
            if let Some(key) = key {
                groups.remove(&key);
            }
            chosen.push(row);
        }
        Ok(chosen)
    }

    fn histogram(
        &self,
        table: &crate::table::Table,
        lines: &Lines,
        map: &Spanned<String>,
    ) -> Result<String, Placed> {
        let failed = std::cell::RefCell::new(None);
        let mut hist = Hist::new(self.type_name.as_deref().unwrap_or("value"));
        if let Some(section) = &self.section {
            hist = hist.section_header(section.as_str());
        }
        if let Some(spanned) = &self.section_line {
            let line = lines.expression(spanned.get_ref()).map_err(at(spanned))?;
            let failed = &failed;
            hist = hist.section_print_fn(move |section| {
                let names = Any::from_pairs([("section", any(section))]);
                line.value(&names).map(|v| v.to_string()).unwrap_or_else(|why| {
                    failed.replace(Some(at(spanned)(why)));
                    String::new()
                })
            });
        }
        let text =
            if self.log2.is_some() { table.log2_hist_with(hist) } else { table.linear_hist_with(hist) };
        if let Some(placed) = failed.into_inner() {
            return Err(placed);
        }
        text.map_err(|e| at(map)(e.to_string()))
    }
}

impl Trace {
    fn print(&self, bpf: &mut Bpf, text: &mut String) -> Result<(), String> {
        let format = match self {
            Self::Lines(false) => return Ok(()),
            Self::Lines(true) => None,
            Self::Format(format) => Some(format.as_str()),
        };
        let mut bytes = Vec::new();
        bpf.trace_print_to(&mut bytes, format).map_err(|e| e.to_string())?;
        text.push_str(&String::from_utf8_lossy(&bytes));
        Ok(())
    }
}

fn trace_names(f: &TraceFields) -> Any {
    Any::from_pairs([
        ("task", Any::from(f.task.as_str())),
        ("pid", f.pid.into()),
        ("cpu", f.cpu.into()),
        ("flags", f.flags.as_str().into()),
        ("ts", f.ts.into()),
        ("msg", f.msg.as_str().into()),
    ])
}

/// Names and one more.
fn and(names: &Any, name: &str, value: Any) -> Any {
    let own = names.try_iter().into_iter().flatten();
    let own = own.filter_map(|key| Some((key.to_string(), names.get_item(&key).ok()?)));
    Any::from_pairs(own.chain([(name.to_owned(), value)]).collect::<Vec<_>>())
}

/// A record's members and more names.
fn with<const N: usize>(value: &Value, more: [(&str, Any); N]) -> Any {
    let members = match value {
        Value::Struct(members) => members.as_slice(),
        _ => &[],
    };
    let own = members.iter().map(|(name, v)| (name.clone(), any(v)));
    // Members win over our own names.
    let more = more.into_iter().filter(|(name, _)| value.get(name).is_none());
    Any::from_pairs(own.chain(more.map(|(name, v)| (name.to_owned(), v))).collect::<Vec<_>>())
}

/// The records of a buffer, each decoded by its own size unless a type is named.
fn events(bpf: &mut Bpf, map: &str, type_name: Option<&str>) -> Result<Vec<Value>, String> {
    bpf.decoded_records(map, type_name).map_err(|e| e.to_string())
}
