//! `[[print]]`: what the tool's user would see, in order.

mod file;

pub use file::{PrintFile, Trace};

use std::collections::BTreeMap;

use minijinja::value::Value as Any;
use toml::Spanned;

use super::kernel::{Placed, at};
use super::line::{Expression, Line, Lines, Shared, any};
use super::output::Printed;
use crate::bpf::{Bpf, TraceFields};
use crate::hist::Hist;
use crate::redact::{Redact, Redaction};
use crate::value::Value;

/// An element that is about to be printed, and what else its line can name.
struct Row {
    data: Value,
    more: Vec<(&'static str, Value)>,
}

impl Row {
    /// What its line can name. Members win over our own names.
    fn names(&self) -> Any {
        let members = match &self.data {
            Value::Struct(members) => members.as_slice(),
            _ => &[],
        };
        let own = members.iter().map(|(name, v)| (name.clone(), any(v)));
        let more = self.more.iter().filter(|(name, _)| self.data.get(name).is_none());
        Any::from_pairs(own.chain(more.map(|(name, v)| ((*name).to_owned(), any(v)))).collect::<Vec<_>>())
    }

    /// The same, with what differs between runs replaced.
    fn redacted(self, redaction: &mut Redaction) -> Self {
        let data = self.data.redact(redaction);
        let more = self.more.into_iter().map(|(name, v)| (name, v.redact(redaction))).collect();
        Self { data, more }
    }
}

pub(super) fn print(
    files: &[Spanned<PrintFile>],
    bpf: &Shared,
    lines: &Lines,
    redaction: &mut Option<Redaction>,
    parts: &mut Vec<Printed>,
) -> Result<(), Placed> {
    for file in files {
        parts.push(one(file, bpf, lines, redaction)?);
    }
    Ok(())
}

fn one(
    spanned: &Spanned<PrintFile>,
    bpf: &Shared,
    lines: &Lines,
    redaction: &mut Option<Redaction>,
) -> Result<Printed, Placed> {
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
            None => trace.print(&mut locked, redaction, &mut text).map_err(at(spanned))?,
            Some(_) => {
                let found = std::iter::from_fn(|| locked.trace_fields(true).ok().flatten());
                let rows = found.map(|f| Row { data: fields(&f), more: Vec::new() }).collect();
                drop(locked);
                file.rows(rows, lines, redaction, &mut text)?;
            }
        }
    } else if let Some(map) = &file.events {
        out.name.clone_from(map.get_ref());
        let records = events(&mut locked, map.get_ref(), file.type_name.as_deref()).map_err(at(map))?;
        let lost = locked.known_losses(map.get_ref()).map_err(|e| at(map)(e.to_string()))?.unwrap_or(0);
        drop(locked);
        let first = records.first().cloned().unwrap_or(Value::Null);
        let mut previous = Value::Null;
        let mut rows = Vec::new();
        for (index, data) in (0u64..).zip(records) {
            let before = std::mem::replace(&mut previous, data.clone());
            let more = vec![("index", index.into()), ("first", first.clone()), ("previous", before)];
            rows.push(Row { data, more });
        }
        out.data = Some(file.rows(rows, lines, redaction, &mut text)?);
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
            rows.push(Row { data, more: Vec::new() });
        }
        out.data = Some(file.rows(rows, lines, redaction, &mut text)?);
    } else if let Some(map) = file.log2.as_ref().or(file.linear.as_ref()) {
        out.name.clone_from(map.get_ref());
        let table = locked.table(map.get_ref()).map_err(|e| at(map)(e.to_string()))?;
        drop(locked);
        text.push_str(&file.histogram(&table, lines, map)?);
    } else {
        drop(locked);
        file.rows(vec![Row { data: Value::Null, more: Vec::new() }], lines, redaction, &mut text)?;
    }
    out.text = Some(text);
    Ok(out)
}

impl PrintFile {
    /// Filters, sorts, redacts and prints rows; gives them as data.
    fn rows(
        &self,
        rows: Vec<Row>,
        lines: &Lines,
        redaction: &mut Option<Redaction>,
        text: &mut String,
    ) -> Result<serde_json::Value, Placed> {
        let mut rows = self.chosen(rows, lines)?;
        if let Some(sort) = &self.sort {
            let by = lines.expression(sort.get_ref()).map_err(at(sort))?;
            let mut keyed = Vec::new();
            for row in rows {
                keyed.push((by.value(&row.names()).map_err(at(sort))?, row));
            }
            keyed.sort_by(|a, b| a.0.cmp(&b.0));
            rows = keyed.into_iter().map(|(_, row)| row).collect();
        }
        if self.reverse {
            rows.reverse();
        }
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        if let Some(redaction) = redaction {
            rows = rows.into_iter().map(|row| row.redacted(redaction)).collect();
        }
        if let Some(line) = &self.line {
            let each: Vec<Line<'_>> = lines.lines(line.get_ref()).map_err(at(line))?;
            for row in &rows {
                for l in &each {
                    l.write(&row.names(), text).map_err(at(line))?;
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
        let (mut groups, mut chosen) = (BTreeMap::<Any, Vec<Value>>::new(), Vec::new());
        for mut row in rows {
            let mut key = None;
            if let Some(by) = &by {
                let of = value(by, &self.group, &row.names())?;
                let group = groups.entry(of.clone()).or_default();
                group.push(row.data.clone());
                row.more.push(("group", Value::List(group.clone())));
                key = Some(of);
            }
            if let Some(wanted) = &wanted
                && !value(wanted, &self.only, &row.names())?.is_true()
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
    fn print(
        &self,
        bpf: &mut Bpf,
        redaction: &mut Option<Redaction>,
        text: &mut String,
    ) -> Result<(), String> {
        let format = match self {
            Self::Lines(false) => return Ok(()),
            Self::Lines(true) => None,
            Self::Format(format) => Some(format.as_str()),
        };
        let mut bytes = Vec::new();
        bpf.trace_print_to(&mut bytes, format).map_err(|e| e.to_string())?;
        let printed = String::from_utf8_lossy(&bytes);
        match redaction {
            Some(redaction) => text.push_str(&printed.redact(redaction)),
            None => text.push_str(&printed),
        }
        Ok(())
    }
}

fn fields(f: &TraceFields) -> Value {
    Value::from([
        ("task", Value::from(f.task.as_str())),
        ("pid", f.pid.into()),
        ("cpu", f.cpu.into()),
        ("flags", f.flags.as_str().into()),
        ("ts", Value::Float(f.ts)),
        ("msg", f.msg.as_str().into()),
    ])
}

/// The records of a buffer, each decoded by its own size unless a type is named.
fn events(bpf: &mut Bpf, map: &str, type_name: Option<&str>) -> Result<Vec<Value>, String> {
    bpf.decoded_records(map, type_name).map_err(|e| e.to_string())
}
