//! `bpf-harness inspect`: what is in an object.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use bpf_helpers_mock::{helpers, kfuncs};
use bpf_vm_shim::isa::{Insn, class, pseudo};
use bpf_vm_shim::object::{KernelProfile, LinkOptions, Linked, LinkedProgram, Object};
use serde::Serialize;

use super::{Format, Status, input, json_line};
use crate::support;

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Compiled BPF objects
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One line of output.
#[derive(Serialize)]
struct Line {
    object: String,
    ok: bool,
    error: Option<String>,
    license: Option<String>,
    programs: Vec<Program>,
    maps: Vec<Map>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Program {
    name: String,
    section: String,
    #[serde(rename = "type")]
    prog_type: String,
    insns: usize,
    helpers: Vec<String>,
    kfuncs: Vec<String>,
    supported: bool,
    unsupported: Vec<String>,
}

#[derive(Serialize)]
struct Map {
    name: String,
    #[serde(rename = "type")]
    map_type: String,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

pub(super) fn main(args: &Args, out: &mut dyn Write) -> io::Result<Status> {
    let mut status = Status::Ok;
    for file in &args.files {
        let name = file.display().to_string();
        let line = match input::object(file).and_then(|object| describe(&name, &object)) {
            Ok(line) => line,
            Err(error) => {
                status = status.and(Status::Failed);
                let (license, programs, maps, notes) = (None, Vec::new(), Vec::new(), Vec::new());
                Line { object: name, ok: false, error: Some(error), license, programs, maps, notes }
            }
        };
        match args.format {
            Format::Json => json_line(out, &line)?,
            Format::Text => text(&line, out)?,
        }
    }
    Ok(status)
}

fn describe(name: &str, object: &Object) -> Result<Line, String> {
    let options = LinkOptions::every_program();
    let linked = object.link(&KernelProfile::default(), &options).map_err(|e| e.to_string())?;
    let programs = linked.programs.iter().map(|p| program(p, &linked)).collect();
    let maps = linked.maps.iter().map(|m| Map {
        name: m.name.clone(),
        map_type: m.map_type.name().to_owned(),
        key_size: m.key_size,
        value_size: m.value_size,
        max_entries: m.max_entries,
    });
    Ok(Line {
        object: name.to_owned(),
        ok: true,
        error: None,
        license: Some(object.license.clone()),
        programs,
        maps: maps.collect(),
        notes: linked.notes.clone(),
    })
}

fn program(p: &LinkedProgram, linked: &Linked) -> Program {
    let (mut called, mut functions) = (BTreeSet::new(), BTreeSet::new());
    let mut unsupported = BTreeSet::new();
    for (i, insn) in p.insns.iter().enumerate() {
        if p.poisoned.contains_key(&i) {
            continue;
        }
        if is_call(insn) && insn.src == pseudo::CALL_HELPER {
            called.insert(insn.imm as u32);
        } else if is_call(insn) && insn.src == pseudo::CALL_KFUNC {
            functions.extend(linked.kfuncs.get(insn.imm as u32 as usize).map(|k| k.name.clone()));
        } else if insn.is_ld_imm64() && matches!(insn.src, pseudo::MAP_IDX | pseudo::MAP_IDX_VALUE) {
            let map = linked.maps.get(insn.imm as u32 as usize);
            let gap = map.filter(|m| !support::map_type(m.map_type));
            unsupported.extend(gap.map(|m| format!("map type {}", m.map_type)));
        }
    }
    for id in &called {
        if helpers::by_id(*id).is_none() {
            unsupported.insert(format!("helper {}", helpers::name_of(*id)));
        }
    }
    for name in &functions {
        if kfuncs::by_name(name).is_none() {
            unsupported.insert(format!("kfunc {name}"));
        }
    }
    Program {
        name: p.name.clone(),
        section: p.section.clone(),
        prog_type: p.prog_type.name().to_owned(),
        insns: p.insns.len(),
        helpers: called.iter().map(|id| helpers::name_of(*id)).collect(),
        kfuncs: functions.into_iter().collect(),
        supported: unsupported.is_empty(),
        unsupported: unsupported.into_iter().collect(),
    }
}

fn is_call(insn: &Insn) -> bool {
    insn.opcode == class::JMP | 0x80
}

fn text(line: &Line, out: &mut dyn Write) -> io::Result<()> {
    if let Some(error) = &line.error {
        return writeln!(out, "{}: error: {error}", line.object);
    }
    let license = line.license.as_deref().filter(|l| !l.is_empty()).unwrap_or("none");
    writeln!(out, "{}: licence {license}", line.object)?;
    for p in &line.programs {
        writeln!(
            out,
            "  program {} ({}, section '{}', {} instructions)",
            p.name, p.prog_type, p.section, p.insns
        )?;
        for (what, names) in
            [("helpers", &p.helpers), ("kfuncs", &p.kfuncs), ("not supported", &p.unsupported)]
        {
            if !names.is_empty() {
                writeln!(out, "    {what}: {}", names.join(", "))?;
            }
        }
    }
    for m in &line.maps {
        writeln!(
            out,
            "  map {} ({}, key {} bytes, value {} bytes, {} entries)",
            m.name, m.map_type, m.key_size, m.value_size, m.max_entries
        )?;
    }
    for note in &line.notes {
        writeln!(out, "  note: {note}")?;
    }
    Ok(())
}
