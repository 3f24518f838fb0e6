//! The one pass over a blob that makes every later access safe.

use std::sync::{Arc, OnceLock};

use super::types::{words, words2};
use super::{Btf, BtfError, Inner, Kind, Linkage, Record, TypeDefect, TypeId};

const SECTION: &str = ".BTF";
/// `struct btf_header` as of version 1. A longer one is accepted and its excess ignored.
const HEADER_LEN: usize = 24;
const MAGIC: u16 = 0xeb9f;
/// Info bits that no version of the format uses.
const RESERVED: u32 = 0x60ff_0000;

/// Checks magic, byte order and version, common to `.BTF` and `.BTF.ext`; gives `hdr_len`.
pub(super) fn check_preamble(section: &'static str, b: &[u8], need: usize) -> Result<usize, BtfError> {
    let truncated = |need| BtfError::TruncatedHeader { section, len: b.len(), need };
    let magic = u16::from_le_bytes(*b.first_chunk().ok_or_else(|| truncated(need))?);
    if magic.swap_bytes() == MAGIC {
        return Err(BtfError::BigEndian { section });
    }
    if magic != MAGIC {
        return Err(BtfError::BadMagic { section, found: magic });
    }
    let &[_, _, version, _flags, ..] = b else { return Err(truncated(need)) };
    if version != 1 {
        return Err(BtfError::UnsupportedVersion { section, version });
    }
    let hdr_len = u32_at(b, 4).ok_or_else(|| truncated(need))? as usize;
    if hdr_len < need || hdr_len > b.len() {
        return Err(truncated(hdr_len.max(need)));
    }
    Ok(hdr_len)
}

pub(super) fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    b.get(at..)?.first_chunk().map(|w| u32::from_le_bytes(*w))
}

/// The extent of one part of the blob, checked against the blob's size.
pub(super) fn part(
    section: &'static str,
    part: &'static str,
    len: usize,
    hdr_len: usize,
    (off, size): (u32, u32),
) -> Result<(usize, usize), BtfError> {
    let offset = hdr_len as u64 + u64::from(off);
    let end = offset + u64::from(size);
    let bad = |why| BtfError::BadSectionLayout { section, part, offset, end, why };
    if end > len as u64 {
        return Err(bad("it ends behind the blob"));
    }
    if !offset.is_multiple_of(4) && part != "strings" {
        return Err(bad("it is not aligned to 4 bytes"));
    }
    Ok((offset as usize, size as usize))
}

pub(super) fn parse(data: Arc<[u8]>, base: Option<Btf>) -> Result<Btf, BtfError> {
    let hdr_len = check_preamble(SECTION, &data, HEADER_LEN)?;
    let field = |at| {
        u32_at(&data, at).ok_or(BtfError::TruncatedHeader {
            section: SECTION,
            len: data.len(),
            need: HEADER_LEN,
        })
    };
    let (type_off, type_len) = (field(8)?, field(12)?);
    let (str_off, str_len) = (field(16)?, field(20)?);
    let (types_at, types_len) = part(SECTION, "types", data.len(), hdr_len, (type_off, type_len))?;
    let (strings_at, strings_len) = part(SECTION, "strings", data.len(), hdr_len, (str_off, str_len))?;
    if types_at + types_len > strings_at {
        return Err(BtfError::BadSectionLayout {
            section: SECTION,
            part: "types",
            offset: types_at as u64,
            end: (types_at + types_len) as u64,
            why: "it overlaps the strings or lies behind them",
        });
    }
    let strings = data.get(strings_at..strings_at + strings_len).unwrap_or_default();
    check_strings(strings, base.is_some())?;

    let first_id = base.as_ref().map_or(1, Btf::len);
    let first_string = base.as_ref().map_or(0, Btf::string_len);
    let types = data.get(types_at..types_at + types_len).unwrap_or_default();
    let offsets = index_types(types, first_id)?;
    let ascii = strings.is_ascii();
    let btf = Btf {
        inner: Arc::new(Inner {
            types_at,
            types_len,
            strings_at,
            strings_len,
            base,
            first_id,
            first_string,
            offsets,
            names: OnceLock::new(),
            tags: OnceLock::new(),
            data: Arc::clone(&data),
        }),
    };
    Check { btf: &btf, ascii, len: btf.len(), strings: btf.string_len() }.run()?;
    Ok(btf)
}

/// The rules of libbpf's `btf_parse_str_sec`.
fn check_strings(strings: &[u8], split: bool) -> Result<(), BtfError> {
    match (strings.first(), strings.last()) {
        (None, _) if split => Ok(()),
        (None, _) => Err(BtfError::BadStringSection { why: "it is empty" }),
        (Some(first), _) if *first != 0 && !split => {
            Err(BtfError::BadStringSection { why: "it does not begin with the empty string" })
        }
        (_, Some(0)) => Ok(()),
        _ => Err(BtfError::BadStringSection { why: "its last string has no final NUL" }),
    }
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `b` and checks that it is whole.
    pub(super) fn read(b: &'a [u8]) -> Result<Self, TypeDefect> {
        let truncated = |need: usize| TypeDefect::Truncated { need: need as u64, have: b.len() as u64 };
        let (head, rest) = b.split_first_chunk::<12>().ok_or_else(|| truncated(12))?;
        let [name_off, info, value] = words(head);
        let mut rec = Record { name_off, info, value, tail: &[] };
        let kind = match Kind::from_number(rec.kind_number()) {
            None | Some(Kind::Void) => return Err(TypeDefect::UnknownKind(rec.kind_number())),
            Some(kind) => kind,
        };
        let (size, counted) = kind.trailer();
        let tail_len = size * if counted { rec.vlen() } else { 1 };
        rec.tail = rest.get(..tail_len).ok_or_else(|| truncated(12 + tail_len))?;
        Ok(rec)
    }
}

fn index_types(types: &[u8], first_id: u32) -> Result<Vec<u32>, BtfError> {
    // Kernels average about 35 bytes per type.
    let mut offsets = Vec::with_capacity(types.len() / 32);
    let mut at = 0;
    while let Some(rest) = types.get(at..).filter(|r| !r.is_empty()) {
        let offset = at as u32;
        let id = TypeId(first_id.saturating_add(offsets.len() as u32));
        let rec = Record::read(rest).map_err(|why| BtfError::BadType { id, offset, why })?;
        if rec.info & RESERVED != 0 {
            return Err(BtfError::BadType { id, offset, why: TypeDefect::ReservedBits(rec.info) });
        }
        offsets.push(offset);
        at += 12 + rec.tail.len();
    }
    Ok(offsets)
}

/// Checks references and names of all records.
struct Check<'a> {
    btf: &'a Btf,
    ascii: bool,
    len: u32,
    strings: u32,
}

impl Check<'_> {
    fn run(&self) -> Result<(), BtfError> {
        let inner = &self.btf.inner;
        let types = inner.data.get(inner.types_at..inner.types_at + inner.types_len).unwrap_or_default();
        for (i, &offset) in inner.offsets.iter().enumerate() {
            types
                .get(offset as usize..)
                .ok_or(TypeDefect::Truncated { need: 12, have: 0 })
                .and_then(Record::read)
                .and_then(|rec| self.record(rec))
                .map_err(|why| BtfError::BadType {
                    id: TypeId(inner.first_id.saturating_add(i as u32)),
                    offset,
                    why,
                })?;
        }
        Ok(())
    }

    fn record(&self, rec: Record<'_>) -> Result<(), TypeDefect> {
        let kind = Kind::from_number(rec.kind_number()).unwrap_or(Kind::Void);
        self.name("type", rec.name_off)?;
        match kind {
            Kind::Void | Kind::Int | Kind::Fwd | Kind::Float => Ok(()),
            Kind::Array => {
                let [element, index, _] = rec.tail.first_chunk().map_or([0; 3], words);
                self.reference("element", element)?;
                self.reference("index", index)
            }
            Kind::Struct | Kind::Union => rec.tail.as_chunks::<12>().0.iter().try_for_each(|c| {
                let [name, ty, _] = words(c);
                self.name("member", name)?;
                self.reference("member", ty)
            }),
            Kind::Enum64 => {
                rec.tail.as_chunks::<12>().0.iter().try_for_each(|c| self.name("enumerator", words(c)[0]))
            }
            Kind::Enum => {
                rec.tail.as_chunks::<8>().0.iter().try_for_each(|c| self.name("enumerator", words2(c)[0]))
            }
            Kind::FuncProto => {
                self.reference("result", rec.value)?;
                rec.tail.as_chunks::<8>().0.iter().try_for_each(|c| {
                    let [name, ty] = words2(c);
                    self.name("parameter", name)?;
                    self.reference("parameter", ty)
                })
            }
            Kind::DataSec => rec.tail.as_chunks::<12>().0.iter().try_for_each(|c| {
                let [ty, _, _] = words(c);
                self.reference("variable", ty)
            }),
            Kind::Func => {
                linkage(rec.vlen() as u32)?;
                self.reference("type", rec.value)
            }
            Kind::Var => {
                linkage(u32_at(rec.tail, 0).unwrap_or(0))?;
                self.reference("type", rec.value)
            }
            Kind::Ptr
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::DeclTag
            | Kind::TypeTag => self.reference("type", rec.value),
        }
    }

    fn reference(&self, what: &'static str, target: u32) -> Result<(), TypeDefect> {
        if target < self.len {
            return Ok(());
        }
        Err(TypeDefect::BadReference { what, target: TypeId(target), len: self.len })
    }

    fn name(&self, what: &'static str, offset: u32) -> Result<(), TypeDefect> {
        if offset >= self.strings && offset != 0 {
            return Err(TypeDefect::BadName { what, offset });
        }
        if !self.ascii && offset >= self.btf.inner.first_string && self.btf.string(offset).is_err() {
            return Err(TypeDefect::NameNotUtf8 { what, offset });
        }
        Ok(())
    }
}

fn linkage(n: u32) -> Result<(), TypeDefect> {
    Linkage::from_number(n).map(|_| ()).ok_or(TypeDefect::BadLinkage(n))
}
