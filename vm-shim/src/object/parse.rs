//! From bytes to [`Object`].

use super::elf::{Elf, Section};
use super::error::{LoadError, limit};
use super::externs::{self, ExternDef};
use super::globals::GlobalVar;
use super::kinds::MapType;
use super::map::{
    BPF_F_MMAPABLE, BPF_F_RDONLY_PROG, InitialValue, MapData, MapDef, MapOrigin, SlotTarget, internal_name,
};
use super::maps_data::ARENA_SECTION;
use super::places::{CodeRefs, Places};
use super::program::{Program, ProgramDef};
use super::relocs::{JUMP_TABLES, Refs, Targets};
use super::struct_ops::inline_addend;
use super::{maps_btf, maps_data, maps_legacy, struct_ops};
use crate::btf::{Btf, BtfExt, Linkage};

/// Where a map's definition lies in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct MapPlace {
    /// ELF section index.
    pub(super) section: usize,
    /// Offset in the section.
    pub(super) offset: u64,
    /// Size in bytes.
    pub(super) size: u64,
    /// Where its `values` begin, from the start of the definition.
    pub(super) values_at: Option<u64>,
}

/// Remarks about what was read differently than its author may expect.
#[derive(Debug, Default)]
pub(super) struct Notes {
    list: Vec<String>,
    /// Why the object's BTF could not be read, if it has any.
    pub(super) btf_error: Option<String>,
}

impl Notes {
    /// More remarks help nobody.
    const MAX: usize = 256;

    pub(super) fn push(&mut self, note: String) {
        if self.list.len() < Self::MAX && !self.list.contains(&note) {
            self.list.push(note);
        }
    }
}

/// A compiled object: programs, maps, types and what it expects from a kernel. Depends on its bytes only.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Object {
    /// Name: the start of its data sections' map names. Empty unless given.
    pub name: String,
    /// Licence, as its section says; empty if there is none.
    pub license: String,
    /// Kernel version of the section `version`.
    pub version: Option<u32>,
    /// Programs, by section and offset.
    pub programs: Vec<ProgramDef>,
    /// Maps: defined ones, then data sections, `.kconfig` and `struct_ops`.
    pub maps: Vec<MapDef>,
    /// Type information.
    pub btf: Option<Btf>,
    /// Function, line and CO-RE records.
    pub btf_ext: Option<BtfExt>,
    /// What it expects from the kernel by name.
    pub externs: Vec<ExternDef>,
    /// Global variables of all data sections, `.kconfig` values included.
    pub globals: Vec<GlobalVar>,
    /// Remarks about what was read differently than its author may expect.
    pub notes: Vec<String>,
    pub(super) code: Program,
    pub(super) refs: Refs,
    /// The section of jump tables.
    pub(super) jump_tables: Vec<u8>,
    /// Index into `maps` of the `.kconfig` values.
    pub(super) kconfig_map: Option<usize>,
}

impl Object {
    /// Reads an object without a name.
    ///
    /// # Errors
    /// If the file is malformed or of another kind, or needs what it does not contain. No input panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        Self::parse_named("", bytes)
    }

    /// Reads an object. libbpf names an object after its file, up to the first dot; the start of the name
    /// becomes part of the names of its data sections' maps (`my_objec.rodata`).
    ///
    /// # Errors
    /// As [`Object::parse`].
    pub fn parse_named(name: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        let elf = Elf::parse(bytes)?;
        let mut notes = Notes::default();
        let license = elf.section("license").map(|(_, s)| text(s.data)).unwrap_or_default();
        let version = elf.section("version").map(|(_, s)| version(s)).transpose()?;
        let (btf, btf_ext) = types(&elf, &mut notes);

        let code = Program::collect(&elf)?;
        let mut programs = code.programs();
        let externs = externs::collect(&elf, btf.as_ref(), &mut notes)?;

        let mut found = maps_legacy::collect(&elf)?;
        found.extend(maps_btf::collect(&elf, btf.as_ref(), &mut notes)?);
        found.extend(maps_data::collect(&elf, btf.as_ref(), name)?);
        let kconfig_map = externs.kconfig_size.map(|size| {
            found.push((
                kconfig(name, btf.as_ref(), size),
                MapPlace { section: usize::MAX, offset: 0, size: 0, values_at: None },
            ));
            found.len() - 1
        });
        found.extend(struct_ops::collect(&elf, btf.as_ref(), &notes)?);
        LoadError::check("maps", found.len() as u64, limit::MAPS)?;

        let mut places = Places::default();
        let mut maps = Vec::with_capacity(found.len());
        let mut globals = Vec::new();
        for (index, (map, place)) in found.into_iter().enumerate() {
            places.add(index, place);
            if map.is_internal() && map.origin != MapOrigin::Kconfig {
                globals.extend(maps_data::globals(&elf, btf.as_ref(), place.section, index));
            }
            maps.push(map);
        }
        globals.extend(kconfig_globals(btf.as_ref(), &externs.list, kconfig_map));
        arena(&elf, btf.as_ref(), &mut maps, &mut places, &mut globals)?;

        let code_refs = CodeRefs::new(&code, &programs);
        initial_values(&elf, &code_refs, &mut maps, &places, &mut notes);
        struct_ops::relocate(&elf, btf.as_ref(), &code_refs, &mut maps, &places, &mut notes);
        let refs = Targets { elf: &elf, code: &code_refs, maps: &maps, places: &places, externs: &externs }
            .collect(&code)?;
        name_struct_ops_programs(&mut programs, &maps);

        let Notes { list: notes, .. } = notes;
        Ok(Self {
            name: name.to_owned(),
            license,
            version,
            programs,
            maps,
            btf,
            btf_ext,
            externs: externs.list,
            globals,
            notes,
            code,
            refs,
            jump_tables: elf.section(JUMP_TABLES).map(|(_, s)| s.data.to_vec()).unwrap_or_default(),
            kconfig_map,
        })
    }

    /// The program with a name.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&ProgramDef> {
        self.programs.iter().find(|p| p.name == name)
    }

    /// The map with a name; a data section also answers to its section's name.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&MapDef> {
        let by_name = self.maps.iter().find(|m| m.name == name);
        by_name.or_else(|| self.maps.iter().find(|m| m.is_internal() && m.section == name))
    }

    /// The global variable with a name: the global one before static ones.
    #[must_use]
    pub fn global(&self, name: &str) -> Option<&GlobalVar> {
        let mut named = self.globals.iter().filter(|g| g.name == name);
        let first = named.clone().next()?;
        Some(named.find(|g| g.linkage != Linkage::Static).unwrap_or(first))
    }

    /// The initial value of a global variable; `None` if there is no such variable.
    #[must_use]
    pub fn global_bytes(&self, name: &str) -> Option<Vec<u8>> {
        let global = self.global(name)?;
        self.maps.get(global.map)?.data.as_ref()?.read(global.offset, global.size)
    }

    /// Overwrites the start of a global variable before linking; `None` if there is no such variable or the
    /// bytes are more than it holds. Configuration values are the kernel profile's to set.
    pub fn set_global_bytes(&mut self, name: &str, bytes: &[u8]) -> Option<()> {
        let global = self.global(name)?;
        let (map, offset, size) = (global.map, global.offset, global.size);
        let data = self.maps.get_mut(map)?.data.as_mut()?;
        (bytes.len() <= size as usize).then(|| data.write(offset, bytes))?
    }

    /// Names of the functions that only other functions of the object call.
    pub fn subprograms(&self) -> impl Iterator<Item = &str> {
        let programs: std::collections::BTreeSet<_> = self.programs.iter().map(|p| p.func).collect();
        let functions = self.code.functions.iter().enumerate();
        functions.filter(move |(i, _)| !programs.contains(i)).map(|(_, f)| f.name.as_str())
    }
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn version(section: &Section<'_>) -> Result<u32, LoadError> {
    match <[u8; 4]>::try_from(section.data) {
        Ok(bytes) => Ok(u32::from_le_bytes(bytes)),
        Err(_) => {
            Err(LoadError::BadSection { section: section.name.clone(), size: section.size, expected: 4 })
        }
    }
}

/// Type information. Damage is no error by itself: only maps and externs need types (libbpf's
/// `bpf_object__init_btf`).
fn types(elf: &Elf<'_>, notes: &mut Notes) -> (Option<Btf>, Option<BtfExt>) {
    let Some((_, section)) = elf.section(".BTF").filter(|(_, s)| s.is_progbits()) else {
        return (None, None);
    };
    let btf = match Btf::parse(section.data) {
        Ok(btf) => btf,
        Err(e) => {
            notes.push(format!("section '.BTF' is ignored: {e}"));
            notes.btf_error = Some(format!("section '.BTF' is damaged: {e}"));
            return (None, None);
        }
    };
    let ext = elf.section(".BTF.ext").filter(|(_, s)| s.is_progbits()).and_then(|(_, s)| {
        BtfExt::parse(s.data, &btf)
            .map_err(|e| notes.push(format!("section '.BTF.ext' is ignored: {e}")))
            .ok()
    });
    (Some(btf), ext)
}

fn kconfig(object: &str, btf: Option<&Btf>, size: u32) -> MapDef {
    let section = ".kconfig";
    let mut map = MapDef::new(internal_name(object, section), section, MapOrigin::Kconfig);
    map.map_type = MapType::Array;
    map.key_size = 4;
    map.value_size = size;
    map.max_entries = 1;
    map.map_flags = BPF_F_RDONLY_PROG | BPF_F_MMAPABLE;
    map.value_type = btf.and_then(|btf| btf.find(crate::btf::Kind::DataSec, section));
    map.data = Some(MapData::new(Vec::new(), size));
    map
}

fn kconfig_globals(btf: Option<&Btf>, externs: &[ExternDef], map: Option<usize>) -> Vec<GlobalVar> {
    let (Some(btf), Some(map)) = (btf, map) else { return Vec::new() };
    let values = externs.iter().filter_map(|ext| match ext.kind {
        externs::ExternKind::Kconfig { offset, size, .. } => {
            let Ok(crate::btf::Type::Var { target, .. }) = btf.get(ext.btf_id?) else { return None };
            let (name, type_id) = (ext.name.clone(), Some(target));
            Some(GlobalVar { name, map, offset, size, type_id, linkage: Linkage::Global })
        }
        _ => None,
    });
    values.collect()
}

/// Variables of the arena become the first bytes of the arena map, which must exist once.
fn arena(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    maps: &mut [MapDef],
    places: &mut Places,
    globals: &mut Vec<GlobalVar>,
) -> Result<(), LoadError> {
    let Some((index, section)) = elf.section(ARENA_SECTION).filter(|(_, s)| s.size > 0) else {
        return Ok(());
    };
    LoadError::check(format!("size of section '{}'", section.name), section.size, limit::DATA_SECTION)?;
    let arena = maps.iter_mut().enumerate().find(|(_, m)| m.map_type == MapType::Arena);
    let Some((map, def)) = arena else {
        return Err(LoadError::map(ARENA_SECTION, "arena variables, but no map of type arena"));
    };
    def.data = Some(MapData::new(section.data.to_vec(), section.size as u32));
    places.add(map, MapPlace { section: index, offset: 0, size: section.size, values_at: None });
    globals.extend(maps_data::globals(elf, btf, index, map));
    Ok(())
}

/// The elements that `values` of maps in `.maps` name (libbpf's `bpf_object__collect_map_relos`).
fn initial_values(
    elf: &Elf<'_>,
    code: &CodeRefs<'_>,
    maps: &mut [MapDef],
    places: &Places,
    notes: &mut Notes,
) {
    const POINTER: u64 = 8;
    let Some((index, section)) = elf.section(".maps") else { return };
    for reloc in &section.relocs {
        let Some(sym) = elf.symbols.get(reloc.symbol) else { continue };
        let addend = reloc.addend.or_else(|| inline_addend(section, reloc.offset));
        let slot = places.place_of(index, reloc.offset).and_then(|(map, place, inside)| {
            let at = inside.checked_sub(place.values_at?)?;
            Some((map, u32::try_from(at / POINTER).ok()?))
        });
        let target = sym.value.checked_add_signed(addend.unwrap_or(0));
        let target_map = sym.section.zip(target).and_then(|(s, at)| places.at(s, at));
        let target = match (target_map, code.program_at(sym, addend)) {
            (Some(map), _) => Some(SlotTarget::Map(map)),
            (None, Some(program)) => Some(SlotTarget::Program(program)),
            (None, None) => None,
        };
        match (slot.and_then(|(map, slot)| Some((maps.get_mut(map)?, slot))), target) {
            (Some((map, slot)), Some(target)) => map.values.push(InitialValue { slot, target }),
            (Some((map, _)), None) => {
                notes.push(format!(
                    "map '{}': its initial value '{}' is neither a map nor a program",
                    map.name, sym.name
                ));
            }
            _ => {}
        }
    }
    for map in maps {
        map.values.sort_by_key(|v| v.slot);
    }
}

/// A program of a `struct_ops` structure is attached to the member that points to it.
fn name_struct_ops_programs(programs: &mut [ProgramDef], maps: &[MapDef]) {
    for ops in maps.iter().filter_map(|m| m.struct_ops.as_ref()) {
        for member in &ops.members {
            if let Some(program) = programs.get_mut(member.program) {
                program.struct_ops.get_or_insert_with(|| (ops.type_name.clone(), member.name.clone()));
            }
        }
    }
}
