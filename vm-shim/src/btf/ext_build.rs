//! Making `.BTF.ext`, for tests and synthetic objects.

use std::collections::BTreeMap;

use super::{BtfBuilder, TypeId, core::CoreReloKind};

/// Collects records and encodes them as a `.BTF.ext` section. Strings go into the object's [`BtfBuilder`].
#[derive(Clone, Debug, Default)]
pub struct BtfExtBuilder {
    /// func_info, line_info, core_relo: words of records by name offset of the section.
    parts: [BTreeMap<u32, Vec<u32>>; 3],
}

impl BtfExtBuilder {
    /// An empty section.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn push(&mut self, part: usize, section: u32, words: &[u32]) {
        if let Some(part) = self.parts.get_mut(part) {
            part.entry(section).or_default().extend_from_slice(words);
        }
    }

    /// A function at a byte offset of an ELF section.
    pub fn add_func(&mut self, btf: &mut BtfBuilder, section: &str, insn_off: u32, func: TypeId) {
        let section = btf.add_string(section);
        self.push(0, section, &[insn_off, func.0]);
    }

    /// A source line (file, text, line, column) at a byte offset of an ELF section.
    pub fn add_line(
        &mut self,
        btf: &mut BtfBuilder,
        section: &str,
        insn_off: u32,
        (file, text, line, col): (&str, &str, u32, u32),
    ) {
        let (section, file, text) = (btf.add_string(section), btf.add_string(file), btf.add_string(text));
        self.push(1, section, &[insn_off, file, text, line << 10 | col & 0x3ff]);
    }

    /// A CO-RE relocation of the instruction at a byte offset of an ELF section.
    pub fn add_core_relo(
        &mut self,
        btf: &mut BtfBuilder,
        section: &str,
        insn_off: u32,
        (type_id, access, kind): (TypeId, &str, CoreReloKind),
    ) {
        let (section, access) = (btf.add_string(section), btf.add_string(access));
        self.push(2, section, &[insn_off, type_id.0, access, kind.number()]);
    }

    /// The blob, as in a `.BTF.ext` section.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut header = vec![];
        let mut body: Vec<u32> = vec![];
        for (part, rec_words) in self.parts.iter().zip([2_u32, 4, 4]) {
            let start = body.len() as u32 * 4;
            if !part.is_empty() {
                body.push(rec_words * 4);
            }
            for (section, words) in part {
                body.extend([*section, words.len() as u32 / rec_words]);
                body.extend_from_slice(words);
            }
            header.extend([start, body.len() as u32 * 4 - start]);
        }
        let mut out = vec![0x9f, 0xeb, 1, 0];
        for word in [32].iter().chain(&header).chain(&body) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out
    }
}
