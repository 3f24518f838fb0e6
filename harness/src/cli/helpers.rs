//! `bpf-harness helpers`: what is simulated, from the tables.

use std::collections::BTreeSet;
use std::io::{self, Write};

use bpf_helpers_mock::{helpers, kfuncs};
use bpf_vm_shim::object::MapType;
use serde::Serialize;

use super::{Format, Status, json_line};
use crate::support;

/// Arguments of `helpers`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print only what is supported
    #[arg(long)]
    supported: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Row {
    kind: &'static str,
    id: Option<u32>,
    name: String,
    supported: bool,
    since: Option<String>,
    gpl_only: Option<bool>,
}

pub(super) fn main(args: &Args, out: &mut dyn Write) -> io::Result<Status> {
    let rows: Vec<Row> = rows().filter(|r| r.supported || !args.supported).collect();
    for row in &rows {
        match args.format {
            Format::Json => json_line(out, row)?,
            Format::Text => {
                let mark = if row.supported { "yes" } else { "no " };
                let id = row.id.map(|id| format!("#{id}")).unwrap_or_default();
                let since = row.since.as_deref().map(|v| format!("since {v}")).unwrap_or_default();
                let line = format!("{:<9} {mark} {id:>4} {:<36} {since}", row.kind, row.name);
                writeln!(out, "{}", line.trim_end())?;
            }
        }
    }
    if args.format == Format::Text {
        for kind in ["helper", "kfunc", "map_type"] {
            let all = rows.iter().filter(|r| r.kind == kind);
            let supported = all.clone().filter(|r| r.supported).count();
            writeln!(out, "{kind}: {supported} of {} supported", all.count())?;
        }
    }
    Ok(Status::Ok)
}

fn rows() -> impl Iterator<Item = Row> {
    let helpers = helpers::known().map(|(id, _)| {
        let desc = helpers::by_id(id);
        Row {
            kind: "helper",
            id: Some(id),
            name: helpers::name_of(id),
            supported: desc.is_some(),
            since: desc.map(|d| format!("{}.{}", d.since.0, d.since.1)),
            gpl_only: desc.map(|d| d.gpl_only),
        }
    });
    let mut seen = BTreeSet::new();
    let kfuncs = kfuncs::all().filter(move |k| seen.insert(k.name)).map(|k| Row {
        kind: "kfunc",
        id: None,
        name: k.name.to_owned(),
        supported: true,
        since: (k.since.0 > 0).then(|| format!("{}.{}", k.since.0, k.since.1)),
        gpl_only: None,
    });
    let maps = MapType::ALL.iter().filter(|t| **t != MapType::Unspec).map(|t| Row {
        kind: "map_type",
        id: Some(t.number()),
        name: t.name().to_owned(),
        supported: support::map_type(*t),
        since: None,
        gpl_only: None,
    });
    helpers.chain(kfuncs).chain(maps)
}
