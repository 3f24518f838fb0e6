//! A minimal ELF64 writer: full control over what a compiler would never write.

/// `SHT_PROGBITS`.
pub(crate) const PROGBITS: u32 = 1;
/// `SHT_NOBITS`.
pub(crate) const NOBITS: u32 = 8;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const RELA: u32 = 4;
const REL: u32 = 9;

/// `STT_*`.
pub(crate) mod kind {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const OBJECT: u8 = 1;
    pub(crate) const FUNC: u8 = 2;
    pub(crate) const SECTION: u8 = 3;
}

/// `STB_*`.
pub(crate) mod bind {
    pub(crate) const LOCAL: u8 = 0;
    pub(crate) const GLOBAL: u8 = 1;
    pub(crate) const WEAK: u8 = 2;
}

/// `R_BPF_64_64`.
pub(crate) const R64_64: u32 = 1;
/// `R_BPF_64_ABS64`.
pub(crate) const R64_ABS64: u32 = 2;
/// `R_BPF_64_32`.
pub(crate) const R64_32: u32 = 10;

#[derive(Clone)]
struct Section {
    name: String,
    kind: u32,
    flags: u64,
    size: u64,
    data: Vec<u8>,
    relocs: Vec<(u64, usize, u32, Option<i64>)>,
}

#[derive(Clone)]
struct Symbol {
    name: String,
    kind: u8,
    bind: u8,
    section: u16,
    value: u64,
    size: u64,
}

/// An object in the making. Section numbers begin at 1, symbol numbers too.
#[derive(Clone)]
pub(crate) struct ElfBuilder {
    pub(crate) machine: u16,
    pub(crate) file_type: u16,
    pub(crate) symtab: bool,
    sections: Vec<Section>,
    symbols: Vec<Symbol>,
}

impl ElfBuilder {
    pub(crate) fn new() -> Self {
        Self { machine: 247, file_type: 1, symtab: true, sections: vec![], symbols: vec![] }
    }

    pub(crate) fn section(&mut self, name: &str, kind: u32, exec: bool, data: &[u8]) -> usize {
        let flags = if exec { 6 } else { 3 };
        let (name, data, size) = (name.to_owned(), data.to_vec(), data.len() as u64);
        self.sections.push(Section { name, kind, flags, size, data, relocs: vec![] });
        self.sections.len()
    }

    pub(crate) fn code(&mut self, name: &str, insns: &[[u8; 8]]) -> usize {
        self.section(name, PROGBITS, true, &insns.concat())
    }

    pub(crate) fn data(&mut self, name: &str, data: &[u8]) -> usize {
        self.section(name, PROGBITS, false, data)
    }

    pub(crate) fn bss(&mut self, name: &str, size: u64) -> usize {
        let index = self.section(name, NOBITS, false, &[]);
        self.sections[index - 1].size = size;
        index
    }

    pub(crate) fn symbol(
        &mut self,
        name: &str,
        kind: u8,
        bind: u8,
        section: usize,
        value: u64,
        size: u64,
    ) -> usize {
        let section = section as u16;
        self.symbols.push(Symbol { name: name.to_owned(), kind, bind, section, value, size });
        self.symbols.len()
    }

    /// A global function of whole instructions.
    pub(crate) fn func(&mut self, name: &str, section: usize, first: u64, insns: u64) -> usize {
        self.symbol(name, kind::FUNC, bind::GLOBAL, section, first * 8, insns * 8)
    }

    pub(crate) fn static_func(&mut self, name: &str, section: usize, first: u64, insns: u64) -> usize {
        self.symbol(name, kind::FUNC, bind::LOCAL, section, first * 8, insns * 8)
    }

    pub(crate) fn object(&mut self, name: &str, section: usize, value: u64, size: u64) -> usize {
        self.symbol(name, kind::OBJECT, bind::GLOBAL, section, value, size)
    }

    pub(crate) fn section_symbol(&mut self, section: usize) -> usize {
        self.symbol("", kind::SECTION, bind::LOCAL, section, 0, 0)
    }

    pub(crate) fn undefined(&mut self, name: &str, weak: bool) -> usize {
        self.symbol(name, kind::NONE, if weak { bind::WEAK } else { bind::GLOBAL }, 0, 0, 0)
    }

    /// A relocation at a byte offset of a section.
    pub(crate) fn reloc(&mut self, section: usize, offset: u64, symbol: usize, kind: u32) {
        self.sections[section - 1].relocs.push((offset, symbol, kind, None));
    }

    /// The same with an explicit addend.
    pub(crate) fn rela(&mut self, section: usize, offset: u64, symbol: usize, kind: u32, addend: i64) {
        self.sections[section - 1].relocs.push((offset, symbol, kind, Some(addend)));
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut strings = Strings::default();
        let mut file = vec![0; 64];
        let mut headers: Vec<[u64; 10]> = vec![[0; 10]];
        for s in &self.sections {
            let at = file.len() as u64;
            file.extend_from_slice(&s.data);
            file.resize(file.len().next_multiple_of(8), 0);
            let name = strings.add(&s.name);
            headers.push([name, u64::from(s.kind), s.flags, 0, at, s.size, 0, 0, 8, 0]);
        }
        let symtab_index =
            headers.len() as u64 + self.sections.iter().filter(|s| !s.relocs.is_empty()).count() as u64;
        for (i, s) in self.sections.iter().enumerate().filter(|(_, s)| !s.relocs.is_empty()) {
            let at = file.len() as u64;
            let explicit = s.relocs.iter().any(|r| r.3.is_some());
            for (offset, symbol, kind, addend) in &s.relocs {
                file.extend_from_slice(&offset.to_le_bytes());
                file.extend_from_slice(&((*symbol as u64) << 32 | u64::from(*kind)).to_le_bytes());
                if explicit {
                    file.extend_from_slice(&addend.unwrap_or(0).to_le_bytes());
                }
            }
            let (kind, entry, prefix) = if explicit { (RELA, 24, ".rela") } else { (REL, 16, ".rel") };
            let name = strings.add(&format!("{prefix}{}", s.name));
            let size = file.len() as u64 - at;
            headers.push([name, u64::from(kind), 0, 0, at, size, symtab_index, i as u64 + 1, 8, entry]);
        }
        if self.symtab {
            let at = file.len() as u64;
            file.resize(file.len() + 24, 0);
            for s in &self.symbols {
                file.extend_from_slice(&(strings.add(&s.name) as u32).to_le_bytes());
                file.extend_from_slice(&[s.bind << 4 | s.kind, 0]);
                file.extend_from_slice(&s.section.to_le_bytes());
                file.extend_from_slice(&s.value.to_le_bytes());
                file.extend_from_slice(&s.size.to_le_bytes());
            }
            let size = file.len() as u64 - at;
            let name = strings.add(".symtab");
            let strtab = headers.len() as u64 + 1;
            headers.push([name, u64::from(SYMTAB), 0, 0, at, size, strtab, 1, 8, 24]);
        }
        let name = strings.add(".strtab");
        let at = file.len() as u64;
        file.extend_from_slice(&strings.bytes());
        headers.push([name, u64::from(STRTAB), 0, 0, at, strings.bytes().len() as u64, 0, 0, 1, 0]);
        file.resize(file.len().next_multiple_of(8), 0);
        let table = file.len() as u64;
        for h in &headers {
            let [name, kind, flags, addr, at, size, link, info, align, entry] = *h;
            file.extend_from_slice(&(name as u32).to_le_bytes());
            file.extend_from_slice(&(kind as u32).to_le_bytes());
            [flags, addr, at, size].iter().for_each(|v| file.extend_from_slice(&v.to_le_bytes()));
            [link, info].iter().for_each(|v| file.extend_from_slice(&(*v as u32).to_le_bytes()));
            [align, entry].iter().for_each(|v| file.extend_from_slice(&v.to_le_bytes()));
        }
        let mut header = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header.extend_from_slice(&self.file_type.to_le_bytes());
        header.extend_from_slice(&self.machine.to_le_bytes());
        header.extend_from_slice(&1u32.to_le_bytes());
        [0, 0, table].iter().for_each(|v: &u64| header.extend_from_slice(&v.to_le_bytes()));
        header.extend_from_slice(&0u32.to_le_bytes());
        let count = headers.len() as u16;
        [64, 0, 0, 64, count, count - 1]
            .iter()
            .for_each(|v: &u16| header.extend_from_slice(&v.to_le_bytes()));
        file[..64].copy_from_slice(&header);
        file
    }
}

#[derive(Default)]
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, s: &str) -> u64 {
        if s.is_empty() {
            return 0;
        }
        let at = self.0.len() as u64 + 1;
        self.0.extend_from_slice(s.as_bytes());
        self.0.push(0);
        at
    }

    fn bytes(&self) -> Vec<u8> {
        let mut all = vec![0];
        all.extend_from_slice(&self.0);
        all
    }
}
