//! Data sections as maps: global variables (libbpf's `bpf_object__init_global_data_maps`).

use std::collections::BTreeSet;

use super::elf::{Elf, Section, SymbolKind};
use super::error::{LoadError, limit};
use super::globals::GlobalVar;
use super::kinds::MapType;
use super::map::{BPF_F_MMAPABLE, BPF_F_RDONLY_PROG, MapData, MapDef, MapOrigin, internal_name};
use super::maps_btf::var_offset;
use super::parse::MapPlace;
use crate::btf::{Btf, Kind, Linkage, Type};

/// The section whose variables live in the arena (`__arena` globals).
pub(super) const ARENA_SECTION: &str = ".addr_space.1";

/// What kind of data a section holds, if any: `.data`, `.rodata`, `.bss`, each also with a custom suffix.
pub(super) fn origin(section: &Section<'_>) -> Option<MapOrigin> {
    let is = |base: &str| {
        section.name.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if section.exec || section.size == 0 {
        None
    } else if section.is_progbits() && is(".data") {
        Some(MapOrigin::Data)
    } else if section.is_progbits() && is(".rodata") {
        Some(MapOrigin::Rodata)
    } else if section.is_nobits() && is(".bss") {
        Some(MapOrigin::Bss)
    } else {
        None
    }
}

/// Collects data sections, each as an array of one element.
pub(super) fn collect(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    object_name: &str,
) -> Result<Vec<(MapDef, MapPlace)>, LoadError> {
    let mut copied = 0u64;
    let mut out = Vec::new();
    for (index, section) in elf.sections.iter().enumerate() {
        let Some(origin) = origin(section) else { continue };
        LoadError::check(format!("size of section '{}'", section.name), section.size, limit::DATA_SECTION)?;
        copied = copied.saturating_add(section.data.len() as u64);
        LoadError::check("data", copied, limit::COPIED_BYTES)?;
        let size = section.size as u32;
        let mut map = MapDef::new(internal_name(object_name, &section.name), &section.name, origin);
        map.map_type = MapType::Array;
        map.key_size = 4;
        map.value_size = size;
        map.max_entries = 1;
        if origin == MapOrigin::Rodata {
            map.map_flags |= BPF_F_RDONLY_PROG;
        }
        if let Some(btf) = btf {
            // Sections of string literals (`.rodata.str1.1`) have no BTF.
            map.value_type = btf.find(Kind::DataSec, &section.name);
            if globals_of(elf, btf, index, 0).iter().any(|g| g.linkage == Linkage::Global) {
                map.map_flags |= BPF_F_MMAPABLE;
            }
        }
        map.data = Some(MapData::new(section.data.to_vec(), size));
        out.push((map, MapPlace { section: index, offset: 0, size: section.size, values_at: None }));
    }
    Ok(out)
}

/// The variables of the ELF section `index`, which became the map `map`.
pub(super) fn globals(elf: &Elf<'_>, btf: Option<&Btf>, index: usize, map: usize) -> Vec<GlobalVar> {
    let described = btf.map(|btf| globals_of(elf, btf, index, map)).unwrap_or_default();
    if !described.is_empty() {
        return described;
    }
    // Without BTF the symbol table still knows names and sizes.
    let mut out: Vec<_> = elf
        .symbols_in(index)
        .filter(|s| s.kind == SymbolKind::Object && !s.name.is_empty())
        .map(|s| GlobalVar {
            name: s.name.clone(),
            map,
            offset: u32::try_from(s.value).unwrap_or(u32::MAX),
            size: u32::try_from(s.size).unwrap_or(u32::MAX),
            type_id: None,
            linkage: if s.local || s.hidden { Linkage::Static } else { Linkage::Global },
        })
        .collect();
    out.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    out
}

fn globals_of(elf: &Elf<'_>, btf: &Btf, index: usize, map: usize) -> Vec<GlobalVar> {
    let Some(section) = elf.sections.get(index) else { return Vec::new() };
    // BTF knows sections by name only: it describes the first of that name.
    if elf.section(&section.name).is_none_or(|(first, _)| first != index) {
        return Vec::new();
    }
    let datasec = btf.find(Kind::DataSec, &section.name).and_then(|id| btf.get(id).ok());
    let Some(Type::DataSec(datasec)) = datasec else { return Vec::new() };
    let hidden: BTreeSet<&str> =
        elf.symbols_in(index).filter(|s| s.hidden).map(|s| s.name.as_str()).collect();
    let mut out = Vec::new();
    for entry in datasec.vars() {
        let Ok(Type::Var { name, target, linkage }) = btf.get(entry.type_id) else { continue };
        let offset = var_offset(elf, index, name, entry, linkage);
        let linkage = if hidden.contains(name) { Linkage::Static } else { linkage };
        let Ok(offset) = u32::try_from(offset) else { continue };
        out.push(GlobalVar {
            name: name.to_owned(),
            map,
            offset,
            size: entry.size,
            type_id: Some(target),
            linkage,
        });
    }
    out.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    out
}
