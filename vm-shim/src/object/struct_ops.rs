//! Kernel structures of function pointers: `.struct_ops` and `.struct_ops.link`, both also with `?`.
//!
//! Source: libbpf's `init_struct_ops_maps` and `bpf_object__collect_st_ops_relos`.

use std::collections::BTreeMap;

use super::elf::{Elf, Section};
use super::error::{LoadError, limit};
use super::kinds::MapType;
use super::map::{BPF_F_LINK, MapData, MapDef, MapOrigin, StructOps, StructOpsMember};
use super::maps_btf::var_offset;
use super::parse::{MapPlace, Notes};
use super::places::{CodeRefs, Places};
use crate::btf::{Btf, Kind, Type, TypeId};

fn is_struct_ops(section: &Section<'_>) -> bool {
    let name = section.name.strip_prefix('?').unwrap_or(&section.name);
    matches!(name, ".struct_ops" | ".struct_ops.link") && section.is_progbits() && !section.data.is_empty()
}

/// Collects the structures, each as a map.
pub(super) fn collect(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    notes: &Notes,
) -> Result<Vec<(MapDef, MapPlace)>, LoadError> {
    let mut out = Vec::new();
    let mut copied = 0u64;
    for (index, section) in elf.sections.iter().enumerate().filter(|(_, s)| is_struct_ops(s)) {
        let missing = |reason: &str| LoadError::NoBtf {
            needed_by: format!("section '{}'", section.name),
            reason: reason.to_owned(),
        };
        let btf =
            btf.ok_or_else(|| missing(notes.btf_error.as_deref().unwrap_or("section '.BTF' is missing")))?;
        let datasec = btf.find(Kind::DataSec, &section.name).and_then(|id| btf.get(id).ok());
        let Some(Type::DataSec(datasec)) = datasec else {
            return Err(missing("it does not describe that section"));
        };
        for entry in datasec.vars() {
            let Ok(Type::Var { name, target, linkage }) = btf.get(entry.type_id) else { continue };
            let (type_id, ty) = btf.resolve(target).map_err(|e| LoadError::map(name, e.to_string()))?;
            let Type::Struct(def) = ty else {
                return Err(LoadError::map(name, format!("a struct_ops variable of kind {}", ty.kind())));
            };
            copied = copied.saturating_add(u64::from(def.size));
            LoadError::check("struct_ops data", copied, limit::COPIED_BYTES)?;
            let offset = var_offset(elf, index, name, entry, linkage);
            let data = usize::try_from(offset)
                .ok()
                .and_then(|at| section.data.get(at..at.checked_add(def.size as usize)?))
                .ok_or_else(|| {
                    LoadError::map(
                        name,
                        format!("{} bytes at {offset:#x} exceed section '{}'", def.size, section.name),
                    )
                })?;
            let mut map = MapDef::new(name, &section.name, MapOrigin::StructOps);
            map.map_type = MapType::StructOps;
            map.key_size = 4;
            map.value_size = def.size;
            map.max_entries = 1;
            map.autocreate = !section.name.starts_with('?');
            if section.name.ends_with(".link") {
                map.map_flags |= BPF_F_LINK;
            }
            map.data = Some(MapData::new(data.to_vec(), def.size));
            let type_name = def.name.to_owned();
            map.struct_ops = Some(StructOps { type_id, type_name, members: Vec::new() });
            let size = u64::from(def.size);
            out.push((map, MapPlace { section: index, offset, size, values_at: None }));
        }
    }
    Ok(out)
}

/// Resolves the function pointers of each structure to programs.
pub(super) fn relocate(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    code: &CodeRefs<'_>,
    maps: &mut [MapDef],
    places: &Places,
    notes: &mut Notes,
) {
    let Some(btf) = btf else { return };
    let mut members_of: BTreeMap<TypeId, BTreeMap<u32, &str>> = BTreeMap::new();
    for (index, section) in elf.sections.iter().enumerate().filter(|(_, s)| is_struct_ops(s)) {
        for reloc in &section.relocs {
            let Some((map, offset)) = places.containing(index, reloc.offset) else { continue };
            let Some(map) = maps.get_mut(map) else { continue };
            let Some(ops) = &mut map.struct_ops else { continue };
            let Some(sym) = elf.symbols.get(reloc.symbol) else { continue };
            let members = members_of.entry(ops.type_id).or_insert_with(|| members(btf, ops.type_id));
            let offset = offset as u32;
            let program = code.program_at(sym, reloc.addend.or_else(|| inline_addend(section, reloc.offset)));
            match (members.get(&offset), program) {
                (Some(name), Some(program)) => {
                    ops.members.push(StructOpsMember { name: (*name).to_owned(), offset, program });
                }
                _ => notes.push(format!(
                    "struct_ops '{}': the pointer at offset {offset:#x} to '{}' leads to no program",
                    map.name, sym.name
                )),
            }
        }
    }
    for map in maps {
        if let Some(ops) = &mut map.struct_ops {
            ops.members.sort_by_key(|m| m.offset);
        }
    }
}

/// Members of a structure by their offset in bytes.
fn members(btf: &Btf, id: TypeId) -> BTreeMap<u32, &str> {
    match btf.get(id) {
        Ok(Type::Struct(def)) => def.members().map(|m| (m.bit_offset / 8, m.name)).collect(),
        _ => BTreeMap::new(),
    }
}

/// The addend that the patched 8 bytes hold.
pub(super) fn inline_addend(section: &Section<'_>, offset: u64) -> Option<i64> {
    let at = usize::try_from(offset).ok()?;
    section.data.get(at..)?.first_chunk::<8>().map(|b| i64::from_le_bytes(*b))
}
