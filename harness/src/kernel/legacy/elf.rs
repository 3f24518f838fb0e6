//! Changing an object file: what is there stays where it is, what is new is appended.

use goblin::elf::section_header::{SHF_EXECINSTR, SHT_PROGBITS, SHT_REL, SHT_SYMTAB};
use goblin::elf::sym::{STB_GLOBAL, STT_OBJECT, STT_SECTION};
use goblin::elf::{Elf, SectionHeader};

use super::Moved;

/// Bytes of a section header, a symbol and a relocation without an addend, in a 64-bit file.
const HEADER: usize = 64;
const SYMBOL: usize = 24;
const REL: usize = 16;
/// Where the file's header has the place of the section headers, and their number.
const TABLE: usize = 40;
const COUNT: usize = 60;

/// An object file that is being changed.
#[derive(Debug)]
pub(super) struct File<'a> {
    elf: Elf<'a>,
    original: &'a [u8],
    bytes: Vec<u8>,
    headers: Vec<SectionHeader>,
    names: Vec<u8>,
}

impl<'a> File<'a> {
    pub(super) fn parse(original: &'a [u8]) -> Result<Self, String> {
        let elf = Elf::parse(original).map_err(|e| e.to_string())?;
        let headers = elf.section_headers.clone();
        let names = headers.get(usize::from(elf.header.e_shstrndx)).and_then(SectionHeader::file_range);
        let names = names.and_then(|range| original.get(range)).ok_or("its sections have no names")?.to_vec();
        Ok(Self { elf, original, bytes: original.to_vec(), headers, names })
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        self.elf.section_headers.iter().position(|h| self.elf.shdr_strtab.get_at(h.sh_name) == Some(name))
    }

    pub(super) fn section_data(&self, name: &str) -> Option<&'a [u8]> {
        let header = self.elf.section_headers.get(self.index_of(name)?)?;
        self.original.get(header.file_range()?)
    }

    pub(super) fn size_of(&self, name: &str) -> u32 {
        let header = self.index_of(name).and_then(|i| self.elf.section_headers.get(i));
        header.and_then(|h| u32::try_from(h.sh_size).ok()).unwrap_or(u32::MAX)
    }

    /// The section and the offset of a variable.
    pub(super) fn place_of(&self, section: &str, name: &str) -> Option<(usize, u64)> {
        let here = |s: &goblin::elf::Sym| {
            self.elf.strtab.get_at(s.st_name) == Some(name)
                && self
                    .elf
                    .section_headers
                    .get(s.st_shndx)
                    .is_some_and(|h| self.elf.shdr_strtab.get_at(h.sh_name) == Some(section))
        };
        self.elf.syms.iter().find(here).map(|s| (s.st_shndx, s.st_value))
    }

    fn add_name(&mut self, name: &str) -> usize {
        let at = self.names.len();
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        at
    }

    /// Gives all sections of a name another one.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let name = self.add_name(to);
        let (elf, headers) = (&self.elf, &mut self.headers);
        for (header, own) in headers.iter_mut().zip(&elf.section_headers) {
            if elf.shdr_strtab.get_at(own.sh_name) == Some(from) {
                header.sh_name = name;
            }
        }
    }

    /// Gives a section other contents, or adds it. Gives its index.
    pub(super) fn put(&mut self, name: &str, data: &[u8]) -> usize {
        let at = self.append(data);
        let index = match self.index_of(name) {
            Some(index) => index,
            None => {
                let header = SectionHeader {
                    sh_type: SHT_PROGBITS,
                    sh_name: self.add_name(name),
                    ..SectionHeader::new()
                };
                self.headers.push(SectionHeader { sh_flags: 0, sh_addralign: 8, ..header });
                self.headers.len() - 1
            }
        };
        if let Some(header) = self.headers.get_mut(index) {
            header.sh_offset = at;
            header.sh_size = data.len() as u64;
        }
        index
    }

    fn append(&mut self, data: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.bytes.len() as u64;
        self.bytes.extend_from_slice(data);
        at
    }

    /// Lets symbols of maps, and what refers to maps without them, point to where the maps are now.
    pub(super) fn move_symbols(&mut self, moved: &[Moved<'_>], section: usize) {
        let tables = self.elf.section_headers.iter().filter(|h| h.sh_type == SHT_SYMTAB);
        let Some(table) = tables.map(|h| h.sh_offset as usize).next() else { return };
        let mut symbol_of = vec![None; moved.len()];
        let symbols: Vec<_> = self.elf.syms.iter().collect();
        for (i, symbol) in symbols.iter().enumerate().filter(|(_, s)| s.st_type() != STT_SECTION) {
            let place = (symbol.st_shndx, symbol.st_value);
            let Some((n, map)) = moved.iter().enumerate().find(|(_, m)| m.from == place) else { continue };
            let at = table.saturating_add(i * SYMBOL);
            // A global and visible variable: others are no maps to libbpf.
            let mut changed = vec![STB_GLOBAL << 4 | STT_OBJECT, 0];
            changed.extend(u16::try_from(section).unwrap_or(u16::MAX).to_le_bytes());
            changed.extend(map.to.to_le_bytes());
            changed.extend(map.size.to_le_bytes());
            self.write_at(at.saturating_add(4), &changed);
            if let Some(own) = symbol_of.get_mut(n).filter(|own| own.is_none()) {
                *own = Some(i as u32);
            }
        }
        self.move_relocations(moved, &symbol_of);
    }

    /// Relocations by way of a section's symbol: libbpf looks at the symbol's value alone.
    fn move_relocations(&mut self, moved: &[Moved<'_>], symbol_of: &[Option<u32>]) {
        let symbols: Vec<_> = self.elf.syms.iter().collect();
        let tables: Vec<SectionHeader> =
            self.elf.section_headers.iter().filter(|h| h.sh_type == SHT_REL).cloned().collect();
        for relocations in tables {
            let Some(code) = self.elf.section_headers.get(relocations.sh_info as usize).cloned() else {
                continue;
            };
            if code.sh_flags & u64::from(SHF_EXECINSTR) == 0 {
                continue;
            }
            for n in 0..(relocations.sh_size as usize / REL) {
                let at = (relocations.sh_offset as usize).saturating_add(n * REL);
                let (Some(place), Some(info)) = (self.word(at), self.word(at.saturating_add(8))) else {
                    continue;
                };
                let target = symbols.get((info >> 32) as usize).filter(|s| s.st_type() == STT_SECTION);
                let Some(target) = target else { continue };
                // The immediate value of the instruction is the offset in the section.
                let imm = (code.sh_offset as usize).saturating_add(place as usize).saturating_add(4);
                let Some(offset) = self.word(imm).map(|w| u64::from(w as u32)) else { continue };
                let map = moved.iter().position(|m| m.from == (target.st_shndx, offset));
                if let Some(own) = map.and_then(|n| symbol_of.get(n).copied().flatten()) {
                    self.write_at(at.saturating_add(12), &own.to_le_bytes());
                    self.write_at(imm, &[0; 4]);
                }
            }
        }
    }

    fn word(&self, at: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..)?.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*bytes))
    }

    fn write_at(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
            room.copy_from_slice(bytes);
        }
    }

    /// The changed file.
    pub(super) fn write(mut self) -> Vec<u8> {
        let names = std::mem::take(&mut self.names);
        let at = self.append(&names);
        if let Some(header) = self.headers.get_mut(usize::from(self.elf.header.e_shstrndx)) {
            header.sh_offset = at;
            header.sh_size = names.len() as u64;
        }
        let mut table = Vec::with_capacity(self.headers.len() * HEADER);
        for h in &self.headers {
            let words = [h.sh_flags, h.sh_addr, h.sh_offset, h.sh_size];
            table.extend_from_slice(&(h.sh_name as u32).to_le_bytes());
            table.extend_from_slice(&h.sh_type.to_le_bytes());
            words.iter().for_each(|w| table.extend_from_slice(&w.to_le_bytes()));
            table.extend_from_slice(&h.sh_link.to_le_bytes());
            table.extend_from_slice(&h.sh_info.to_le_bytes());
            table.extend_from_slice(&h.sh_addralign.to_le_bytes());
            table.extend_from_slice(&h.sh_entsize.to_le_bytes());
        }
        let at = self.append(&table);
        self.write_at(TABLE, &at.to_le_bytes());
        self.write_at(COUNT, &u16::try_from(self.headers.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.bytes
    }
}
