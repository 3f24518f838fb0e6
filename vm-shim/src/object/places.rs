//! Finding maps and programs by where they lie in the file.

use std::collections::BTreeMap;

use super::elf::Symbol;
use super::parse::MapPlace;
use super::program::{Program, ProgramDef};
use crate::isa::Insn;

/// Maps by section and offset.
#[derive(Debug, Default)]
pub(super) struct Places {
    maps: BTreeMap<(usize, u64), (usize, MapPlace)>,
}

impl Places {
    pub(super) fn add(&mut self, map: usize, place: MapPlace) {
        self.maps.entry((place.section, place.offset)).or_insert((map, place));
    }

    /// The map around an offset, and how far inside it the offset lies.
    pub(super) fn containing(&self, section: usize, offset: u64) -> Option<(usize, u64)> {
        let (map, _, inside) = self.place_of(section, offset)?;
        Some((map, inside))
    }

    /// The map around an offset, its place, and how far inside it the offset lies.
    pub(super) fn place_of(&self, section: usize, offset: u64) -> Option<(usize, &MapPlace, u64)> {
        let (_, (map, place)) = self.maps.range((section, 0)..=(section, offset)).next_back()?;
        let inside = offset.checked_sub(place.offset)?;
        // The end counts as inside: a pointer behind an array is legal C.
        (inside <= place.size).then_some((*map, place, inside))
    }

    /// The map that begins at an offset.
    pub(super) fn at(&self, section: usize, offset: u64) -> Option<usize> {
        self.maps.get(&(section, offset)).map(|(map, _)| *map)
    }
}

/// Functions and programs by section and offset.
#[derive(Debug)]
pub(super) struct CodeRefs<'a> {
    program: &'a Program,
    by_section: BTreeMap<usize, usize>,
    by_function: BTreeMap<usize, usize>,
}

impl<'a> CodeRefs<'a> {
    pub(super) fn new(program: &'a Program, programs: &[ProgramDef]) -> Self {
        Self {
            program,
            by_section: program.code.iter().enumerate().map(|(i, c)| (c.section, i)).collect(),
            by_function: programs.iter().enumerate().map(|(i, p)| (p.func, i)).collect(),
        }
    }

    /// The code section made from an ELF section.
    pub(super) fn code(&self, section: usize) -> Option<usize> {
        self.by_section.get(&section).copied()
    }

    /// The program that a data pointer to a symbol leads to.
    pub(super) fn program_at(&self, sym: &Symbol, addend: Option<i64>) -> Option<usize> {
        let target = sym.value.checked_add_signed(addend.unwrap_or(0))?;
        let slot = usize::try_from(target).ok()? / Insn::SIZE;
        let function = self.program.function_at(self.code(sym.section?)?, slot)?;
        self.by_function.get(&function).copied()
    }
}
