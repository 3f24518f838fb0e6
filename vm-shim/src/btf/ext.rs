//! `.BTF.ext`: which function and source line an instruction belongs to, and what CO-RE must relocate.
//!
//! Each of the three parts begins with its record size, so that records of a newer compiler are read by
//! their known beginning (libbpf's `btf_ext_parse`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::core::{CoreRelo, CoreReloKind};
use super::parse::{check_preamble, part, u32_at};
use super::{Btf, BtfError, TypeId};

const SECTION: &str = ".BTF.ext";
/// `struct btf_ext_header` without the CO-RE part, which came later.
const HEADER_LEN: usize = 24;
const HEADER_LEN_CORE: usize = 32;

/// The type of a function and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    /// Byte offset of its first instruction in the ELF section.
    pub insn_off: u32,
    /// Its `BTF_KIND_FUNC`.
    pub type_id: TypeId,
}

/// The source line of an instruction and of those that follow, up to the next record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// Byte offset of the instruction in the ELF section.
    pub insn_off: u32,
    /// Path of the source file as the compiler saw it.
    pub file: Arc<str>,
    /// Text of the line; may be empty.
    pub text: Arc<str>,
    /// Line, from 1; 0 if unknown.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub col: u32,
}

/// A decoded `.BTF.ext` section: records by the ELF section that they describe.
#[derive(Clone, Debug, Default)]
pub struct BtfExt {
    func_info: BTreeMap<String, Vec<FuncInfo>>,
    line_info: BTreeMap<String, Vec<LineInfo>>,
    core_relos: BTreeMap<String, Vec<CoreRelo>>,
}

impl BtfExt {
    /// Reads the section; strings and types are those of the object's BTF.
    ///
    /// # Errors
    /// If the header, a record's extent, a string or a type id is broken.
    pub fn parse(bytes: &[u8], btf: &Btf) -> Result<Self, BtfError> {
        let hdr_len = check_preamble(SECTION, bytes, HEADER_LEN)?;
        let extent = |at| (u32_at(bytes, at).unwrap_or(0), u32_at(bytes, at + 4).unwrap_or(0));
        let reader = |name, at, min| Reader::new(bytes, btf, name, min, hdr_len, extent(at));
        let mut strings = Strings { btf, seen: BTreeMap::new() };

        let mut ext = Self::default();
        for (section, rec) in reader("func_info", 8, 8)?.records()? {
            let [insn_off, type_id, ..] = rec.words;
            let type_id = rec.type_id(btf, "func_info", type_id)?;
            ext.func_info.entry(section).or_default().push(FuncInfo { insn_off, type_id });
        }
        for (section, rec) in reader("line_info", 16, 16)?.records()? {
            let [insn_off, file, text, line_col] = rec.words;
            let (file, text) = (strings.get(file), strings.get(text));
            let (file, text) = file.zip(text).ok_or_else(|| rec.bad("line_info", "bad string offset"))?;
            let line = LineInfo { insn_off, file, text, line: line_col >> 10, col: line_col & 0x3ff };
            ext.line_info.entry(section).or_default().push(line);
        }
        if hdr_len >= HEADER_LEN_CORE {
            for (section, rec) in reader("core_relo", 24, 16)?.records()? {
                let [insn_off, type_id, access, kind] = rec.words;
                let type_id = rec.type_id(btf, "core_relo", type_id)?;
                let access = strings.get(access).ok_or_else(|| rec.bad("core_relo", "bad string offset"))?;
                let kind = CoreReloKind::from_number(kind);
                let relo = CoreRelo { insn_off, type_id, access, kind };
                ext.core_relos.entry(section).or_default().push(relo);
            }
        }
        // Compilers sort them; linkers of any kind need not.
        ext.line_info.values_mut().for_each(|lines| lines.sort_by_key(|l| l.insn_off));
        ext.func_info.values_mut().for_each(|funcs| funcs.sort_by_key(|f| f.insn_off));
        Ok(ext)
    }

    /// Functions of an ELF section, sorted by offset.
    #[must_use]
    pub fn func_info(&self, section: &str) -> &[FuncInfo] {
        self.func_info.get(section).map(Vec::as_slice).unwrap_or_default()
    }

    /// Lines of an ELF section, sorted by offset.
    #[must_use]
    pub fn line_info(&self, section: &str) -> &[LineInfo] {
        self.line_info.get(section).map(Vec::as_slice).unwrap_or_default()
    }

    /// CO-RE relocations of an ELF section, in file order.
    #[must_use]
    pub fn core_relos(&self, section: &str) -> &[CoreRelo] {
        self.core_relos.get(section).map(Vec::as_slice).unwrap_or_default()
    }

    /// The ELF sections that have functions, by name.
    pub fn func_info_sections(&self) -> impl Iterator<Item = (&str, &[FuncInfo])> {
        self.func_info.iter().map(|(s, r)| (s.as_str(), r.as_slice()))
    }

    /// The ELF sections that have lines, by name.
    pub fn line_info_sections(&self) -> impl Iterator<Item = (&str, &[LineInfo])> {
        self.line_info.iter().map(|(s, r)| (s.as_str(), r.as_slice()))
    }

    /// The ELF sections that have CO-RE relocations, by name.
    pub fn core_relo_sections(&self) -> impl Iterator<Item = (&str, &[CoreRelo])> {
        self.core_relos.iter().map(|(s, r)| (s.as_str(), r.as_slice()))
    }
}

/// One record: its known words and where it began.
struct Rec {
    words: [u32; 4],
    at: u64,
}

impl Rec {
    fn bad(&self, part: &'static str, why: &str) -> BtfError {
        BtfError::BadExt { part, offset: self.at, why: why.to_owned() }
    }

    fn type_id(&self, btf: &Btf, part: &'static str, id: u32) -> Result<TypeId, BtfError> {
        if id < btf.len() {
            return Ok(TypeId(id));
        }
        Err(self.bad(part, &format!("type id {id} is out of range: there are {} types", btf.len())))
    }
}

/// The record lists of one part.
struct Reader<'a> {
    name: &'static str,
    btf: &'a Btf,
    body: &'a [u8],
    /// Where `body` begins in the blob.
    start: usize,
    min_size: usize,
}

impl<'a> Reader<'a> {
    fn new(
        bytes: &'a [u8],
        btf: &'a Btf,
        name: &'static str,
        min_size: usize,
        hdr_len: usize,
        extent: (u32, u32),
    ) -> Result<Self, BtfError> {
        let (start, len) = part(SECTION, name, bytes.len(), hdr_len, extent)?;
        let body = bytes.get(start..start + len).unwrap_or_default();
        Ok(Self { name, btf, body, start, min_size })
    }

    fn bad(&self, at: usize, why: impl Into<String>) -> BtfError {
        BtfError::BadExt { part: self.name, offset: (self.start + at) as u64, why: why.into() }
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        u32_at(self.body, at).ok_or_else(|| self.bad(at, "truncated"))
    }

    /// All records with the name of the ELF section that they are about.
    fn records(&self) -> Result<Vec<(String, Rec)>, BtfError> {
        let mut out = Vec::new();
        if self.body.is_empty() {
            return Ok(out);
        }
        let size = self.word(0)? as usize;
        if size < self.min_size || !size.is_multiple_of(4) {
            return Err(self.bad(0, format!("record size {size}, expected {} or more", self.min_size)));
        }
        let mut at = 4;
        while at < self.body.len() {
            let name = self.btf.string(self.word(at)?).map_err(|e| self.bad(at, e.to_string()))?;
            let count = self.word(at + 4)? as usize;
            if count == 0 {
                return Err(self.bad(at + 4, format!("no records for section {name}")));
            }
            at += 8;
            let end = count.checked_mul(size).and_then(|n| n.checked_add(at));
            let end = end.filter(|end| *end <= self.body.len());
            let end =
                end.ok_or_else(|| self.bad(at, format!("{count} records of {size} bytes do not fit")))?;
            while at < end {
                let mut words = [0; 4];
                for (i, w) in words.iter_mut().take(self.min_size / 4).enumerate() {
                    *w = self.word(at + i * 4)?;
                }
                out.push((name.to_owned(), Rec { words, at: (self.start + at) as u64 }));
                at += size;
            }
        }
        Ok(out)
    }
}

/// Strings by offset, each shared by all records that name it. Source text need not be UTF-8.
struct Strings<'a> {
    btf: &'a Btf,
    seen: BTreeMap<u32, Arc<str>>,
}

impl Strings<'_> {
    fn get(&mut self, offset: u32) -> Option<Arc<str>> {
        if let Some(s) = self.seen.get(&offset) {
            return Some(Arc::clone(s));
        }
        let s: Arc<str> = String::from_utf8_lossy(self.btf.string_bytes(offset).ok()?).into();
        self.seen.insert(offset, Arc::clone(&s));
        Some(s)
    }
}
