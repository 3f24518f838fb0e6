//! An ELF file of user space: its symbols, segments and statically defined probes.

use std::path::Path;

use bpf_vm_shim::object::Arch;
use goblin::elf::program_header::PT_LOAD;
use goblin::elf::{Elf, header, sym};

use super::table::{Symbol, SymbolTable};
use crate::error::Error;
use crate::usdt::{self, Location, NoteError, Probe, SpecError};

/// A binary or library that user-space probes can be attached to: read from an ELF file, or declared by a test.
///
/// ```
/// use bpf_harness::symbols::Binary;
/// let libc = Binary::declared("/usr/lib/libc.so.6").symbol("strlen", 0x9_d000, 64);
/// assert_eq!(libc.address("strlen"), Some(0x9_d000));
/// assert!(libc.is_called("c"), "libraries have short names");
/// ```
#[derive(Clone, Debug)]
pub struct Binary {
    path: String,
    arch: Arch,
    segments: Vec<Segment>,
    symbols: SymbolTable,
    position_independent: bool,
    probes: Result<Vec<Probe>, NoteError>,
}

/// A loaded part of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Segment {
    vaddr: u64,
    offset: u64,
    size: u64,
}

impl Binary {
    /// Reads a file of this machine.
    ///
    /// # Errors
    /// If it cannot be read or is no ELF file.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let read = |why| Error::Read { path: path.to_owned(), why };
        let bytes = std::fs::read(path).map_err(|e| read(e.to_string()))?;
        Self::parse(&path.to_string_lossy(), &bytes)
    }

    /// Reads the bytes of an ELF file that is known under this path.
    ///
    /// # Errors
    /// If they are no little-endian ELF file of a known architecture.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |why: String| Error::Read { path: path.into(), why };
        let elf = Elf::parse(bytes).map_err(|e| wrong(format!("no ELF file: {e}")))?;
        if !elf.little_endian {
            return Err(wrong("big-endian ELF files are not supported".to_owned()));
        }
        let arch = match elf.header.e_machine {
            header::EM_X86_64 => Arch::X86_64,
            header::EM_AARCH64 => Arch::Arm64,
            other => return Err(wrong(format!("ELF files of machine {other} are not supported"))),
        };
        let loaded = elf.program_headers.iter().filter(|p| p.p_type == PT_LOAD);
        let segments =
            loaded.map(|p| Segment { vaddr: p.p_vaddr, offset: p.p_offset, size: p.p_filesz }).collect();
        let section =
            |name: &str| elf.section_headers.iter().find(|s| elf.shdr_strtab.get_at(s.sh_name) == Some(name));
        let notes = section(".note.stapsdt").and_then(|s| bytes.get(s.file_range()?)).unwrap_or_default();
        let base = section(".stapsdt.base").map(|b| b.sh_addr);
        let probes = usdt::read_notes(notes, base, if elf.is_64 { 8 } else { 4 }, arch);
        Ok(Self {
            path: path.to_owned(),
            arch,
            segments,
            symbols: symbols(&elf),
            position_independent: elf.header.e_type == header::ET_DYN,
            probes,
        })
    }

    /// A library that exists for this test only, position-independent, for x86-64, without any symbol yet.
    #[must_use]
    pub fn declared(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            arch: Arch::X86_64,
            segments: Vec::new(),
            symbols: SymbolTable::default(),
            position_independent: true,
            probes: Ok(Vec::new()),
        }
    }

    /// Adds a function at an address of the file, of so many bytes.
    #[must_use]
    pub fn symbol(mut self, name: impl Into<String>, addr: u64, size: u64) -> Self {
        self.symbols.insert(Symbol { name: name.into(), addr, size, function: true });
        self
    }

    /// Adds a statically defined probe at an address of the file, with arguments as a note has them. The same provider
    /// and name again are another place of the same probe.
    ///
    /// # Errors
    /// If an argument cannot be read.
    pub fn probe(mut self, provider: &str, name: &str, addr: u64, args: &str) -> Result<Self, SpecError> {
        let location = Location::new(addr, None, args, self.arch)?;
        if let Ok(probes) = &mut self.probes {
            usdt::add_location(probes, provider, name, location);
        }
        Ok(self)
    }

    /// Its statically defined probes, in the order of their first notes.
    ///
    /// # Errors
    /// If the notes are broken.
    pub fn probes(&self) -> Result<&[Probe], NoteError> {
        self.probes.as_deref().map_err(Clone::clone)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last part of its path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        super::base_name(&self.path)
    }

    /// The architecture of its code.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// Whether it may be loaded anywhere (`ET_DYN`).
    #[must_use]
    pub fn is_position_independent(&self) -> bool {
        self.position_independent
    }

    /// Its symbols.
    #[must_use]
    pub fn symbols(&self) -> &SymbolTable {
        &self.symbols
    }

    /// The address of a symbol, as the file has it.
    #[must_use]
    pub fn address(&self, symbol: &str) -> Option<u64> {
        self.symbols.by_name(symbol).map(|s| s.addr)
    }

    /// Where in the file an address is; the address itself where nothing is known of segments.
    #[must_use]
    pub fn file_offset(&self, addr: u64) -> u64 {
        let inside = |s: &&Segment| addr.wrapping_sub(s.vaddr) < s.size;
        self.segments.iter().find(inside).map_or(addr, |s| addr - s.vaddr + s.offset)
    }

    /// The address that a place in the file is loaded at; the place itself where nothing is known of segments.
    #[must_use]
    pub fn address_of_offset(&self, offset: u64) -> u64 {
        let inside = |s: &&Segment| offset.wrapping_sub(s.offset) < s.size;
        self.segments.iter().find(inside).map_or(offset, |s| offset - s.offset + s.vaddr)
    }

    /// Whether a name means this binary: its path, its file name, or as a library `c` for `libc.so.6`.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        if name.contains('/') {
            return self.path == name;
        }
        let file = self.file_name();
        file == name || super::library::is_library(file, name)
    }
}

/// Functions and variables of both symbol tables. A file without debug information has its exported ones only.
fn symbols(elf: &Elf<'_>) -> SymbolTable {
    let mut table = SymbolTable::default();
    let both = [(&elf.syms, &elf.strtab), (&elf.dynsyms, &elf.dynstrtab)];
    for (syms, names) in both {
        for s in syms.iter() {
            let kind = s.st_type();
            let function = matches!(kind, sym::STT_FUNC | sym::STT_GNU_IFUNC);
            if s.st_shndx == 0 || !(function || kind == sym::STT_OBJECT) {
                continue;
            }
            if let Some(name) = names.get_at(s.st_name).filter(|n| !n.is_empty()) {
                table.insert(Symbol { name: name.to_owned(), addr: s.st_value, size: s.st_size, function });
            }
        }
    }
    table
}
