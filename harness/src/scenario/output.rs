//! What a scenario shows at its end.

use serde::Serialize;

use super::file::OutputFile;
use super::kernel::{Placed, at};
use crate::bpf::Bpf;
use crate::redact::{Redact, Redaction};
use crate::value::Value;

/// One thing to show.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Printed {
    /// What it is: `print`, `table`, `log2`, `linear`, `events`, `global` or `trace`.
    pub kind: &'static str,
    /// Whose.
    pub name: String,
    /// Tables, records and variables as data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
    /// Histograms and traces as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// All that a scenario shows: its `[[print]]` in order, then what `[output]` names: tables, histograms, records,
/// variables, trace.
#[derive(Clone, Default, Debug, Serialize)]
#[serde(transparent)]
pub struct Output {
    /// The parts.
    pub parts: Vec<Printed>,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for p in &self.parts {
            match (&p.data, &p.text) {
                (_, Some(text)) if matches!(p.kind, "trace" | "print") => f.write_str(text)?,
                (_, Some(text)) => write!(f, "{}:\n{text}", p.name)?,
                (Some(serde_json::Value::Array(rows)), _) => {
                    writeln!(f, "{}:", p.name)?;
                    for row in rows {
                        match (row.get("key"), row.get("value")) {
                            (Some(k), Some(v)) => writeln!(f, "  {k}: {v}")?,
                            _ => writeln!(f, "  {row}")?,
                        }
                    }
                }
                (Some(data), _) => writeln!(f, "{} = {data}", p.name)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// What `[output]` names, redacted but for histograms, which have no names in them.
pub(super) fn show(
    file: &OutputFile,
    bpf: &mut Bpf,
    mut redaction: Option<&mut Redaction>,
    out: &mut Output,
) -> Result<(), Placed> {
    for name in &file.tables {
        let table = bpf.table(name.get_ref()).map_err(|e| at(name)(e.to_string()))?;
        let table = if is_array(bpf, name.get_ref()) { table.nonzero() } else { table };
        let rows = match &mut redaction {
            Some(redaction) => json(&table.redact(redaction)),
            None => json(&table),
        };
        out.push("table", name.get_ref(), Some(rows), None);
    }
    for h in &file.log2 {
        let file = h.get_ref();
        let table = bpf.table(&file.map).map_err(|e| at(h)(e.to_string()))?;
        out.push("log2", &file.map, None, Some(table.log2_hist(&file.val_type, &file.section)));
    }
    for h in &file.linear {
        let file = h.get_ref();
        let table = bpf.table(&file.map).map_err(|e| at(h)(e.to_string()))?;
        out.push("linear", &file.map, None, Some(table.linear_hist(&file.val_type, &file.section)));
    }
    for e in &file.events {
        let file = e.get_ref();
        let records =
            bpf.records(&file.map, file.type_name.as_deref()).map_err(|err| at(e)(err.to_string()))?;
        let records = match &mut redaction {
            Some(redaction) => records.redact(redaction),
            None => records,
        };
        out.push("events", &file.map, Some(json(&Value::List(records))), None);
    }
    for name in &file.globals {
        let value = bpf.global(name.get_ref()).map_err(|e| at(name)(e.to_string()))?;
        let value = match &mut redaction {
            // By its name, as a member.
            Some(redaction) => json(&Value::Struct(vec![(name.get_ref().clone(), value)]).redact(redaction))
                .get_mut(name.get_ref().as_str())
                .map(serde_json::Value::take),
            None => Some(json(&value)),
        };
        out.push("global", name.get_ref(), value, None);
    }
    if file.trace {
        let lines = bpf.trace();
        let lines = match redaction {
            Some(redaction) => lines.redact(redaction),
            None => lines,
        };
        let text: String = lines.into_iter().map(|l| l + "\n").collect();
        out.push("trace", "trace", None, Some(text));
    }
    Ok(())
}

impl Output {
    fn push(
        &mut self,
        kind: &'static str,
        name: &str,
        data: Option<serde_json::Value>,
        text: Option<String>,
    ) {
        self.parts.push(Printed { kind, name: name.to_owned(), data, text });
    }
}

/// Serde data as JSON; ours never fails.
pub(super) fn json(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

pub(super) fn is_array(bpf: &mut Bpf, name: &str) -> bool {
    use bpf_vm_shim::object::MapType as T;
    let machine = bpf.machine();
    let map = machine.map_by_name(name).and_then(|id| machine.kernel.maps.get(id));
    map.is_some_and(|m| matches!(m.def.map_type, T::Array | T::PercpuArray) && m.def.max_entries > 1)
}
