//! The raw layer: sections, symbols and relocations of a BPF ELF file, checked but not interpreted.

use std::collections::BTreeMap;

use object::elf;
use object::read::elf::{FileHeader, Rel, Rela, SectionHeader, Sym};
use object::{Endianness, SectionIndex, SymbolIndex};

use super::error::{LoadError, limit};

type Header = elf::FileHeader64<Endianness>;

/// `SHT_LLVM_ADDRSIG`: a table of symbols, of no interest to a loader.
const SHT_LLVM_ADDRSIG: u32 = 0x6fff_4c03;

/// A section, its data and the relocations that patch it.
#[derive(Clone, Debug)]
pub(super) struct Section<'d> {
    pub(super) name: String,
    pub(super) kind: u32,
    pub(super) exec: bool,
    /// Size in memory; for `.bss` the file holds no data.
    pub(super) size: u64,
    pub(super) data: &'d [u8],
    pub(super) relocs: Vec<Reloc>,
}

impl Section<'_> {
    pub(super) fn is_progbits(&self) -> bool {
        self.kind == elf::SHT_PROGBITS.0
    }

    pub(super) fn is_nobits(&self) -> bool {
        self.kind == elf::SHT_NOBITS.0
    }
}

/// What a symbol stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SymbolKind {
    None,
    Object,
    Func,
    Section,
    Other,
}

/// A symbol of the one symbol table.
#[derive(Clone, Debug)]
pub(super) struct Symbol {
    pub(super) name: String,
    pub(super) kind: SymbolKind,
    pub(super) local: bool,
    pub(super) weak: bool,
    pub(super) hidden: bool,
    /// Section index; `None` for undefined, absolute and common symbols.
    pub(super) section: Option<usize>,
    pub(super) undefined: bool,
    pub(super) value: u64,
    pub(super) size: u64,
}

impl Symbol {
    /// An undefined global symbol without a type is an extern (libbpf's `sym_is_extern`).
    pub(super) fn is_extern(&self) -> bool {
        self.undefined
            && !self.local
            && matches!(self.kind, SymbolKind::None | SymbolKind::Func | SymbolKind::Object)
    }
}

/// A relocation entry of either form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reloc {
    pub(super) offset: u64,
    pub(super) kind: u32,
    pub(super) symbol: usize,
    /// Explicit addend; `None` for the REL form, where the patched field holds it.
    pub(super) addend: Option<i64>,
}

/// For each of some ascending offsets, where the next greater one lies; `end` behind the last.
pub(super) fn next_offsets(offsets: &[u64], end: u64) -> Vec<u64> {
    let mut out = vec![end; offsets.len()];
    let mut next = end;
    let mut last = None;
    for (slot, offset) in out.iter_mut().zip(offsets).rev() {
        if let Some(last) = last.filter(|l| l != offset) {
            next = last;
        }
        *slot = next;
        last = Some(*offset);
    }
    out
}

/// The relevant parts of an ELF file.
#[derive(Debug)]
pub(super) struct Elf<'d> {
    /// By section index; index 0 is the null section.
    pub(super) sections: Vec<Section<'d>>,
    /// By symbol index.
    pub(super) symbols: Vec<Symbol>,
    /// Indexes of the symbols in each section, by ascending value.
    by_section: Vec<Vec<usize>>,
    /// The first section of each name.
    by_name: BTreeMap<String, usize>,
    /// Value of each global variable, by section and name.
    variables: BTreeMap<(usize, String), u64>,
}

impl<'d> Elf<'d> {
    pub(super) fn parse(bytes: &'d [u8]) -> Result<Self, LoadError> {
        check_ident(bytes)?;
        let header = Header::parse(bytes).map_err(|e| LoadError::malformed("file header", e))?;
        let endian = header.endian().map_err(|e| LoadError::malformed("file header", e))?;
        let machine = header.e_machine(endian);
        // Early compilers left the machine at 0, which libbpf still accepts.
        if machine != elf::EM_BPF && machine != elf::EM_NONE {
            return Err(LoadError::NotBpf { machine: machine_name(machine), number: machine.0 });
        }
        let file_type = header.e_type(endian);
        if file_type != elf::ET_REL {
            return Err(LoadError::NotRelocatable(file_type.0));
        }
        let table = header.sections(endian, bytes).map_err(|e| LoadError::malformed("section table", e))?;
        let mut names = 0u64;
        let mut sections = Vec::with_capacity(table.len());
        for (index, shdr) in table.enumerate() {
            let name = table
                .section_name(endian, shdr)
                .map_err(|e| LoadError::malformed(format!("name of section {}", index.0), e))?;
            let name = own_name(name, &mut names)?;
            let kind = shdr.sh_type(endian).0;
            let data = if is_ignored(&name, kind) || kind == elf::SHT_NULL.0 {
                &[]
            } else {
                shdr.data(endian, bytes)
                    .map_err(|e| LoadError::malformed(format!("data of section '{name}'"), e))?
            };
            let exec = shdr.sh_flags(endian).0 & elf::SHF_EXECINSTR.0 != 0;
            let size = shdr.sh_size(endian);
            sections.push(Section { name, kind, exec, size, data, relocs: Vec::new() });
        }
        let mut file = Self {
            sections,
            symbols: Vec::new(),
            by_section: Vec::new(),
            by_name: BTreeMap::new(),
            variables: BTreeMap::new(),
        };
        file.read_symbols(endian, bytes, &table, names)?;
        file.index();
        file.read_relocs(endian, bytes, &table)?;
        Ok(file)
    }

    /// The first section with a name.
    pub(super) fn section(&self, name: &str) -> Option<(usize, &Section<'d>)> {
        let index = *self.by_name.get(name)?;
        Some((index, self.sections.get(index)?))
    }

    /// The symbols in a section, by ascending value.
    pub(super) fn symbols_in(&self, section: usize) -> impl Iterator<Item = &Symbol> + Clone {
        let indexes = self.by_section.get(section).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().filter_map(|i| self.symbols.get(*i))
    }

    /// Where a global variable lies in its section.
    pub(super) fn variable(&self, section: usize, name: &str) -> Option<u64> {
        self.variables.get(&(section, name.to_owned())).copied()
    }

    fn index(&mut self) {
        for (i, section) in self.sections.iter().enumerate() {
            self.by_name.entry(section.name.clone()).or_insert(i);
        }
        self.by_section = vec![Vec::new(); self.sections.len()];
        for (i, sym) in self.symbols.iter().enumerate() {
            let Some(section) = sym.section else { continue };
            if let Some(list) = self.by_section.get_mut(section) {
                list.push(i);
            }
            if sym.kind == SymbolKind::Object && !sym.local {
                self.variables.entry((section, sym.name.clone())).or_insert(sym.value);
            }
        }
        for list in &mut self.by_section {
            list.sort_by_key(|i| self.symbols.get(*i).map_or(0, |s| s.value));
        }
    }

    fn read_symbols(
        &mut self,
        endian: Endianness,
        bytes: &'d [u8],
        table: &object::read::elf::SectionTable<'d, Header>,
        mut names: u64,
    ) -> Result<(), LoadError> {
        if !self.sections.iter().any(|s| s.kind == elf::SHT_SYMTAB.0) {
            // An object without any code (a mere data carrier) has nothing to lose.
            return if self.sections.iter().any(|s| s.exec && s.size > 0) {
                Err(LoadError::NoSymbols)
            } else {
                Ok(())
            };
        }
        let symbols = table
            .symbols(endian, bytes, elf::SHT_SYMTAB)
            .map_err(|e| LoadError::malformed("symbol table", e))?;
        for (index, sym) in symbols.enumerate() {
            let section = symbols
                .symbol_section(endian, sym, index)
                .map_err(|e| LoadError::malformed(format!("symbol {}", index.0), e))?;
            let name = symbols
                .symbol_name(endian, sym)
                .map_err(|e| LoadError::malformed(format!("name of symbol {}", index.0), e))?;
            let bind = sym.st_bind();
            self.symbols.push(Symbol {
                name: own_name(name, &mut names)?,
                kind: match sym.st_type() {
                    elf::STT_NOTYPE => SymbolKind::None,
                    elf::STT_OBJECT => SymbolKind::Object,
                    elf::STT_FUNC => SymbolKind::Func,
                    elf::STT_SECTION => SymbolKind::Section,
                    _ => SymbolKind::Other,
                },
                local: bind == elf::STB_LOCAL,
                weak: bind == elf::STB_WEAK,
                hidden: matches!(sym.st_visibility(), elf::STV_HIDDEN | elf::STV_INTERNAL),
                section: section.map(|s: SectionIndex| s.0).filter(|s| *s < self.sections.len()),
                undefined: sym.st_shndx(endian) == elf::SHN_UNDEF,
                value: sym.st_value(endian),
                size: sym.st_size(endian),
            });
        }
        Ok(())
    }

    fn read_relocs(
        &mut self,
        endian: Endianness,
        bytes: &'d [u8],
        table: &object::read::elf::SectionTable<'d, Header>,
    ) -> Result<(), LoadError> {
        let mut total = 0u64;
        for (index, shdr) in table.enumerate() {
            let Some(own) = self.sections.get(index.0) else { continue };
            if is_ignored(&own.name, own.kind) {
                continue;
            }
            let what = || format!("relocation section '{}'", own.name);
            let mut relocs = Vec::new();
            if let Some((entries, _)) =
                shdr.rel(endian, bytes).map_err(|e| LoadError::malformed(what(), e))?
            {
                total = total.saturating_add(entries.len() as u64);
                LoadError::check("relocations", total, limit::RELOCATIONS)?;
                relocs.extend(entries.iter().map(|r| Reloc {
                    offset: r.r_offset(endian),
                    kind: r.r_type(endian).0,
                    symbol: r.symbol(endian).map_or(0, |SymbolIndex(i)| i),
                    addend: None,
                }));
            }
            if let Some((entries, _)) =
                shdr.rela(endian, bytes).map_err(|e| LoadError::malformed(what(), e))?
            {
                total = total.saturating_add(entries.len() as u64);
                LoadError::check("relocations", total, limit::RELOCATIONS)?;
                relocs.extend(entries.iter().map(|r| Reloc {
                    offset: r.r_offset(endian),
                    kind: r.r_type(endian, false).0,
                    symbol: r.symbol(endian, false).map_or(0, |SymbolIndex(i)| i),
                    addend: Some(r.r_addend(endian)),
                }));
            }
            if relocs.is_empty() {
                continue;
            }
            let target = shdr.sh_info(endian) as usize;
            let reason = || format!("it patches section {target}, which does not exist");
            let what = what();
            self.sections
                .get_mut(target)
                .filter(|_| target != 0)
                .ok_or_else(|| LoadError::malformed(what, reason()))?
                .relocs
                .append(&mut relocs);
        }
        Ok(())
    }
}

/// Copies a name. Thousands of symbols may point to one long string.
fn own_name(name: &[u8], total: &mut u64) -> Result<String, LoadError> {
    *total = total.saturating_add(name.len() as u64);
    LoadError::check("length of all names", *total, limit::NAMES)?;
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// Debugging information and tables that a loader has no use for (libbpf's `ignore_elf_section`).
fn is_ignored(name: &str, kind: u32) -> bool {
    let patched = name.strip_prefix(".rela").or_else(|| name.strip_prefix(".rel")).unwrap_or(name);
    kind == SHT_LLVM_ADDRSIG
        || patched.starts_with(".debug_")
        || patched.starts_with(".zdebug_")
        || (patched != name && (patched == ".BTF" || patched == ".BTF.ext"))
}

fn check_ident(bytes: &[u8]) -> Result<(), LoadError> {
    match bytes.get(..4) {
        Some(magic) if magic == elf::ELFMAG => {}
        Some(magic) => {
            return Err(LoadError::NotElf(format!("it starts with {magic:02x?}, not with 7f 'ELF'")));
        }
        None => return Err(LoadError::NotElf(format!("only {} bytes", bytes.len()))),
    }
    match bytes.get(elf::ELFMAG.len()) {
        Some(class) if *class == elf::ELFCLASS64.0 => {}
        Some(class) if *class == elf::ELFCLASS32.0 => return Err(LoadError::Not64Bit),
        Some(class) => return Err(LoadError::malformed("file header", format!("unknown class {class}"))),
        None => return Err(LoadError::malformed("file header", "cut off")),
    }
    match bytes.get(elf::ELFMAG.len() + 1) {
        Some(order) if *order == elf::ELFDATA2LSB.0 => Ok(()),
        Some(order) if *order == elf::ELFDATA2MSB.0 => {
            // A file for another machine is that first of all.
            let machine = bytes
                .get(18..20)
                .and_then(|b| b.try_into().ok())
                .map(|b| elf::Machine(u16::from_be_bytes(b)));
            match machine {
                Some(m) if m != elf::EM_BPF && m != elf::EM_NONE => {
                    Err(LoadError::NotBpf { machine: machine_name(m), number: m.0 })
                }
                _ => Err(LoadError::BigEndian),
            }
        }
        Some(order) => Err(LoadError::malformed("file header", format!("unknown byte order {order}"))),
        None => Err(LoadError::malformed("file header", "cut off")),
    }
}

fn machine_name(machine: elf::Machine) -> &'static str {
    match machine {
        elf::EM_NONE => "no machine",
        elf::EM_386 => "x86",
        elf::EM_X86_64 => "x86-64",
        elf::EM_ARM => "ARM",
        elf::EM_AARCH64 => "AArch64",
        elf::EM_RISCV => "RISC-V",
        elf::EM_S390 => "S/390",
        elf::EM_PPC => "PowerPC",
        elf::EM_PPC64 => "PowerPC 64",
        elf::EM_MIPS => "MIPS",
        elf::EM_LOONGARCH => "LoongArch",
        elf::EM_SPARCV9 => "SPARC 64",
        elf::EM_SBF => "Solana BPF",
        _ => "another machine",
    }
}
