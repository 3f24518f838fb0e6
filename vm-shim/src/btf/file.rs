//! BTF from the bytes of a file: raw, or an ELF file's `.BTF` section.

use std::sync::Arc;

use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, SectionHeader};

use super::{Btf, BtfError};

impl Btf {
    /// Parses what a file holds: raw BTF (`/sys/kernel/btf/vmlinux`), or a 64-bit little-endian ELF file for any
    /// machine with a `.BTF` section (`vmlinux`, a compiled object).
    ///
    /// # Errors
    ///
    /// As for [`Btf::parse`]; [`BtfError::Elf`] if the ELF file is malformed or has no such section.
    ///
    /// Source: libbpf's `btf__parse()`.
    pub fn parse_file(bytes: impl Into<Arc<[u8]>>) -> Result<Self, BtfError> {
        let bytes = bytes.into();
        if bytes.starts_with(b"\x7fELF") { Self::parse(section(&bytes)?) } else { Self::parse(bytes) }
    }
}

fn section(bytes: &[u8]) -> Result<&[u8], BtfError> {
    let malformed = |e: object::read::Error| BtfError::Elf { why: e.to_string() };
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(malformed)?;
    let endian = header.endian().map_err(malformed)?;
    let table = header.sections(endian, bytes).map_err(malformed)?;
    let Some((_, found)) = table.section_by_name(endian, b".BTF") else {
        return Err(BtfError::Elf { why: "there is no section .BTF".to_owned() });
    };
    found.data(endian, bytes).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::{Btf, BtfError};
    use crate::btf::BtfBuilder;

    /// An x86-64 ELF file whose second section is `name`, with `data`.
    fn elf(name: &[u8], data: &[u8]) -> Vec<u8> {
        let mut out = b"\x7fELF\x02\x01\x01".to_vec();
        out.resize(64, 0);
        let mut names = vec![0];
        names.extend(name);
        names.push(0);
        let (names_at, data_at) = (64, 64 + names.len());
        out.extend(&names);
        out.extend(data);
        let table_at = out.len();
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &1u16.to_le_bytes());
        put(18, &62u16.to_le_bytes());
        put(40, &(table_at as u64).to_le_bytes());
        for (at, half) in [(52, 64u16), (58, 64), (60, 3), (62, 2)] {
            put(at, &half.to_le_bytes());
        }
        out.extend([0; 64]);
        for (name, kind, at, size) in [(1u32, 1u32, data_at, data.len()), (0, 3, names_at, names.len())] {
            let start = out.len();
            out.extend(name.to_le_bytes());
            out.extend(kind.to_le_bytes());
            out.resize(start + 24, 0);
            out.extend((at as u64).to_le_bytes());
            out.extend((size as u64).to_le_bytes());
            out.resize(start + 64, 0);
        }
        out
    }

    fn blob() -> Vec<u8> {
        let mut b = BtfBuilder::new();
        b.add_fwd("only", false);
        b.build()
    }

    #[test]
    fn takes_raw_btf_and_elf_files_of_any_machine() {
        for file in [blob(), elf(b".BTF", &blob())] {
            assert_eq!(Btf::parse_file(file).map(|b| b.len()), Ok(2));
        }
    }

    #[test]
    fn says_what_an_elf_file_lacks() {
        let none = Btf::parse_file(elf(b".btf", &blob())).unwrap_err();
        assert_eq!(none, BtfError::Elf { why: "there is no section .BTF".to_owned() });
        let whole = elf(b".BTF", &blob());
        for len in 0..whole.len() {
            assert!(Btf::parse_file(&whole[..len]).is_err(), "cut at {len}");
        }
    }
}
