//! What each patched instruction refers to (libbpf's `bpf_object__collect_prog_relos`).

use std::collections::BTreeMap;

use super::elf::{Elf, Reloc, Section, Symbol, SymbolKind};
use super::error::LoadError;
use super::externs::Externs;
use super::map::MapDef;
use super::maps_data::ARENA_SECTION;
use super::places::{CodeRefs, Places};
use super::program::Program;
use crate::isa::{Insn, pseudo};

/// The target of a relocated instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ref {
    /// The map itself.
    Map(usize),
    /// An address inside the first value of a map.
    MapValue { map: usize, offset: u32 },
    /// Index into the externs.
    Extern(usize),
    /// The function at a slot of a code section.
    Func { code: usize, slot: usize },
    /// A table of jump targets: its extent in `.jumptables`, in bytes.
    JumpTable { offset: u64, size: u64 },
}

/// The section of jump tables (clang 22 and later, for `gotox`).
pub(super) const JUMP_TABLES: &str = ".jumptables";

/// References by code section and instruction slot.
pub(super) type Refs = BTreeMap<(usize, usize), Ref>;

/// Relocation types of the BPF psABI (LLVM's `ELFRelocs/BPF.def`).
mod kind {
    pub(super) const NONE: u32 = 0;
    pub(super) const R64_64: u32 = 1;
    pub(super) const R64_ABS64: u32 = 2;
    pub(super) const R64_ABS32: u32 = 3;
    pub(super) const R64_NODYLD32: u32 = 4;
    pub(super) const R64_32: u32 = 10;
}

/// Everything a relocation may lead to.
pub(super) struct Targets<'a> {
    pub(super) elf: &'a Elf<'a>,
    pub(super) code: &'a CodeRefs<'a>,
    pub(super) maps: &'a [MapDef],
    pub(super) places: &'a Places,
    pub(super) externs: &'a Externs,
}

impl Targets<'_> {
    /// Collects the references of all code.
    pub(super) fn collect(&self, program: &Program) -> Result<Refs, LoadError> {
        let mut refs = Refs::new();
        for (index, code) in program.code.iter().enumerate() {
            let Some(section) = self.elf.sections.get(code.section) else { continue };
            for reloc in section.relocs.iter().filter(|r| r.kind != kind::NONE) {
                let fail = |reason: String| LoadError::BadRelocation {
                    section: section.name.clone(),
                    offset: reloc.offset,
                    symbol: self.display(reloc),
                    reason,
                };
                let slot = usize::try_from(reloc.offset).unwrap_or(usize::MAX) / Insn::SIZE;
                let insn = code.insns.get(slot).filter(|_| reloc.offset.is_multiple_of(Insn::SIZE as u64));
                let insn = insn.ok_or_else(|| fail("no instruction begins there".to_owned()))?;
                let target = self.resolve(*insn, reloc).map_err(fail)?;
                refs.insert((index, slot), target);
            }
        }
        Ok(refs)
    }

    fn display(&self, reloc: &Reloc) -> String {
        let Some(sym) = self.elf.symbols.get(reloc.symbol) else { return format!("#{}", reloc.symbol) };
        if sym.name.is_empty() { self.section_name(sym).to_owned() } else { sym.name.clone() }
    }

    fn section_name(&self, sym: &Symbol) -> &str {
        sym.section.and_then(|s| self.elf.sections.get(s)).map_or("", |s| s.name.as_str())
    }

    fn resolve(&self, insn: Insn, reloc: &Reloc) -> Result<Ref, String> {
        match reloc.kind {
            kind::R64_64 | kind::R64_ABS64 | kind::R64_ABS32 | kind::R64_NODYLD32 | kind::R64_32 => {}
            other => return Err(format!("relocation type {other} is not one of BPF's")),
        }
        let is_call = insn.opcode == 0x85;
        if !is_call && !insn.is_ld_imm64() {
            return Err(format!("opcode {:#04x} is neither a call nor ld_imm64", insn.opcode));
        }
        let sym = self.elf.symbols.get(reloc.symbol).ok_or("the symbol does not exist")?;
        if sym.undefined {
            return match self.externs.by_symbol.get(&reloc.symbol) {
                Some(ext) => Ok(Ref::Extern(*ext)),
                None => Err("the symbol is undefined".to_owned()),
            };
        }
        let section_index = sym.section.ok_or("the symbol is in no section; is the variable initialised?")?;
        let section = self.elf.sections.get(section_index).ok_or("the symbol's section does not exist")?;
        if is_call {
            self.call(insn, reloc, sym, section_index)
        } else {
            self.load(insn, reloc, sym, section_index, section)
        }
    }

    /// A call: the immediate counts slots from the symbol, and from the next instruction.
    fn call(&self, insn: Insn, reloc: &Reloc, sym: &Symbol, section: usize) -> Result<Ref, String> {
        let code = self.code.code(section);
        let code = code
            .ok_or_else(|| format!("a call into section '{}', which is no code", self.section_name(sym)))?;
        let bytes = match reloc.addend {
            Some(addend) => addend,
            None => (i64::from(insn.imm) + 1) * Insn::SIZE as i64,
        };
        self.func(code, sym, bytes)
    }

    fn func(&self, code: usize, sym: &Symbol, bytes: i64) -> Result<Ref, String> {
        let at = sym.value.checked_add_signed(bytes).filter(|at| at.is_multiple_of(Insn::SIZE as u64));
        let at = at.ok_or_else(|| format!("{:#x}{bytes:+} is no instruction", sym.value))?;
        let slot = usize::try_from(at).unwrap_or(usize::MAX) / Insn::SIZE;
        Ok(Ref::Func { code, slot })
    }

    fn load(
        &self,
        insn: Insn,
        reloc: &Reloc,
        sym: &Symbol,
        section_index: usize,
        section: &Section<'_>,
    ) -> Result<Ref, String> {
        let addend = reloc.addend.unwrap_or(i64::from(insn.imm));
        if let Some(code) = self.code.code(section_index) {
            return self.func(code, sym, addend);
        }
        if section.name == JUMP_TABLES {
            return Ok(Ref::JumpTable { offset: sym.value, size: sym.size });
        }
        let outside = || format!("{:#x}{addend:+} is outside section '{}'", sym.value, section.name);
        let at = sym.value.checked_add_signed(addend).ok_or_else(outside)?;
        // The start of a definition means the map, wherever the definition is.
        let defined = self.places.at(section_index, at).or_else(|| self.places.at(section_index, sym.value));
        let is_arena = section.name == ARENA_SECTION;
        let is_map = |map: usize| !is_arena && self.maps.get(map).is_some_and(|m| !m.is_internal());
        if let Some(map) = defined.filter(|m| is_map(*m) && insn.src != pseudo::MAP_VALUE) {
            return Ok(Ref::Map(map));
        }
        match self.places.containing(section_index, at) {
            Some((map, _)) if is_map(map) => {
                Err(format!("it points into the definition of a map in section '{}'", section.name))
            }
            Some((map, offset)) => {
                let offset = u32::try_from(offset).map_err(|_| outside())?;
                Ok(Ref::MapValue { map, offset })
            }
            // Addresses outside the section wrap in libbpf and are caught when used.
            None => match self.places.place_of(section_index, 0) {
                Some((map, _, _)) if !is_map(map) => Ok(Ref::MapValue { map, offset: at as u32 }),
                _ if sym.kind == SymbolKind::Section => {
                    Err(format!("section '{}' is neither code, data nor maps", section.name))
                }
                _ => Err(format!(
                    "the symbol is in section '{}', which is neither code, data nor maps",
                    section.name
                )),
            },
        }
    }
}
