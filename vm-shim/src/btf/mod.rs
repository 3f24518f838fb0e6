//! BTF: the type information of a kernel, a module or a BPF object.
//!
//! [`Btf`] checks a blob once, in one pass that stores nothing but where each type begins, so that a
//! kernel's 5 MB open in milliseconds; everything else is decoded or indexed when first asked for. It
//! is cheap to clone and shared between threads. [`BtfBuilder`] is the way back, [`BtfExt`] the line and
//! relocation records of an object, [`core`] the relocation of field accesses between two of them.
//!
//! Source: `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`, libbpf's `btf.c`.

mod build;
pub mod core;
mod define;
mod error;
mod ext;
mod ext_build;
mod file;
mod header;
mod index;
mod kind;
mod layout;
mod parse;
mod render;
mod tags;
mod types;

use std::fmt;
use std::sync::{Arc, OnceLock};

pub use build::BtfBuilder;
pub use error::{BtfError, TypeDefect};
pub use ext::{BtfExt, FuncInfo, LineInfo};
pub use ext_build::BtfExtBuilder;
pub use header::HeaderOptions;
pub use kind::{Kind, TypeId};
pub use layout::BitRange;
pub use tags::DeclTag;
pub use types::{
    Array, Composite, DataSec, Enum, Enumerator, FuncProto, Int, IntEncoding, Linkage, Member, Param, SecVar,
    Type,
};

use types::words;

/// The types of a kernel, a module or an object.
#[derive(Clone)]
pub struct Btf {
    inner: Arc<Inner>,
}

struct Inner {
    data: Arc<[u8]>,
    /// Start of the type section in `data`.
    types_at: usize,
    types_len: usize,
    /// Start of the string section in `data`.
    strings_at: usize,
    strings_len: usize,
    base: Option<Btf>,
    /// Id of the first own type.
    first_id: u32,
    /// Offset of the first own string.
    first_string: u32,
    /// Offsets of own types in the type section, by `id - first_id`.
    offsets: Vec<u32>,
    names: OnceLock<index::NameIndex>,
    tags: OnceLock<tags::TagIndex>,
}

/// One undecoded type record.
#[derive(Clone, Copy)]
struct Record<'a> {
    name_off: u32,
    info: u32,
    /// Size or type, by kind.
    value: u32,
    tail: &'a [u8],
}

impl Record<'_> {
    fn kind_number(self) -> u8 {
        (self.info >> 24 & 0x1f) as u8
    }

    fn vlen(self) -> usize {
        (self.info & 0xffff) as usize
    }

    fn kind_flag(self) -> bool {
        self.info >> 31 != 0
    }
}

impl Btf {
    /// Reads a `.BTF` section or a file like `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// If the header, a type record, a reference or a name is broken, or the blob is big-endian.
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<Self, BtfError> {
        parse::parse(bytes.into(), None)
    }

    /// Reads a module's BTF, whose ids and strings continue those of `base`.
    ///
    /// # Errors
    /// As [`Btf::parse`].
    pub fn parse_split(bytes: impl Into<Arc<[u8]>>, base: &Self) -> Result<Self, BtfError> {
        parse::parse(bytes.into(), Some(base.clone()))
    }

    /// The BTF that this one continues.
    #[must_use]
    pub fn base(&self) -> Option<&Self> {
        self.inner.base.as_ref()
    }

    /// The bytes it was read from.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.inner.data
    }

    /// Number of types: void, the base's and its own. Ids are below it.
    #[must_use]
    pub fn len(&self) -> u32 {
        // Bounded by the size of the type section, which is a u32.
        self.inner.first_id.saturating_add(self.inner.offsets.len() as u32)
    }

    /// Whether there is no type but void.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }

    /// Id of the first type that is not the base's (1 without a base).
    #[must_use]
    pub fn first_own_id(&self) -> TypeId {
        TypeId(self.inner.first_id)
    }

    /// All types by ascending id, void and the base's included.
    pub fn iter(&self) -> impl Iterator<Item = (TypeId, Type<'_>)> {
        (0..self.len()).filter_map(|id| Some((TypeId(id), self.get(TypeId(id)).ok()?)))
    }

    /// Types by ascending id, without void and the base's.
    pub fn iter_own(&self) -> impl Iterator<Item = (TypeId, Type<'_>)> {
        (self.inner.first_id..self.len()).filter_map(|id| Some((TypeId(id), self.get(TypeId(id)).ok()?)))
    }

    /// The type with this id.
    ///
    /// # Errors
    /// If there is no such type.
    pub fn get(&self, id: TypeId) -> Result<Type<'_>, BtfError> {
        if id == TypeId::VOID {
            return Ok(Type::Void);
        }
        let no_such = || BtfError::NoSuchType { id, len: self.len() };
        let (owner, rec) = self.record(id).ok_or_else(no_such)?;
        owner.decode(rec).ok_or_else(no_such)
    }

    /// The string at an offset.
    ///
    /// # Errors
    /// If the offset is outside the string section or the string is not UTF-8.
    pub fn string(&self, offset: u32) -> Result<&str, BtfError> {
        let bytes = self.string_bytes(offset)?;
        std::str::from_utf8(bytes).map_err(|_| BtfError::NotUtf8 { offset })
    }

    /// The string at an offset, as bytes without the final NUL.
    ///
    /// # Errors
    /// If the offset is outside the string section.
    pub fn string_bytes(&self, offset: u32) -> Result<&[u8], BtfError> {
        let mut btf = self;
        loop {
            match btf.inner.base.as_ref() {
                Some(base) if offset < btf.inner.first_string => btf = base,
                _ => break,
            }
        }
        btf.own_string(offset).ok_or(BtfError::BadStringOffset { offset, len: self.string_len() })
    }

    /// Length of the string section, the base's included.
    #[must_use]
    pub fn string_len(&self) -> u32 {
        self.inner.first_string.saturating_add(self.inner.strings_len as u32)
    }

    fn own_string(&self, offset: u32) -> Option<&[u8]> {
        let section = self.strings();
        let rest = section.get(offset.checked_sub(self.inner.first_string)? as usize..)?;
        let end = rest.iter().position(|b| *b == 0)?;
        rest.get(..end)
    }

    fn strings(&self) -> &[u8] {
        let at = self.inner.strings_at;
        self.inner.data.get(at..at + self.inner.strings_len).unwrap_or_default()
    }

    /// A name that parsing has checked.
    fn name_at(&self, offset: u32) -> &str {
        if offset == 0 { "" } else { self.string(offset).unwrap_or_default() }
    }

    /// The record of a type and the BTF of the chain that holds it.
    fn record(&self, id: TypeId) -> Option<(&Self, Record<'_>)> {
        let mut btf = self;
        while id.0 < btf.inner.first_id {
            btf = btf.inner.base.as_ref()?;
        }
        let offset = *btf.inner.offsets.get((id.0 - btf.inner.first_id) as usize)? as usize;
        let at = btf.inner.types_at;
        let section = btf.inner.data.get(at..at + btf.inner.types_len)?;
        Some((btf, Record::read(section.get(offset..)?).ok()?))
    }

    fn decode<'a>(&'a self, rec: Record<'a>) -> Option<Type<'a>> {
        let name = self.name_at(rec.name_off);
        let (tail, kind_flag, target) = (rec.tail, rec.kind_flag(), TypeId(rec.value));
        let extra = || tail.first_chunk::<4>().map(|b| u32::from_le_bytes(*b));
        Some(match Kind::from_number(rec.kind_number())? {
            Kind::Void => return None,
            Kind::Int => {
                let word = extra()?;
                let encoding = IntEncoding((word >> 24 & 0x0f) as u8);
                let (offset, bits) = ((word >> 16 & 0xff) as u8, (word & 0xff) as u8);
                Type::Int(Int { name, size: rec.value, encoding, offset, bits })
            }
            Kind::Ptr => Type::Ptr(target),
            Kind::Array => {
                let [element, index, len] = words(tail.first_chunk()?);
                Type::Array(Array { element: TypeId(element), index: TypeId(index), len })
            }
            Kind::Struct => Type::Struct(Composite { btf: self, tail, kind_flag, name, size: rec.value }),
            Kind::Union => Type::Union(Composite { btf: self, tail, kind_flag, name, size: rec.value }),
            Kind::Enum => {
                Type::Enum(Enum { btf: self, tail, wide: false, name, size: rec.value, signed: kind_flag })
            }
            Kind::Enum64 => {
                Type::Enum64(Enum { btf: self, tail, wide: true, name, size: rec.value, signed: kind_flag })
            }
            Kind::Fwd => Type::Fwd { name, union: kind_flag },
            Kind::Typedef => Type::Typedef { name, target },
            Kind::Volatile => Type::Volatile(target),
            Kind::Const => Type::Const(target),
            Kind::Restrict => Type::Restrict(target),
            Kind::Func => {
                let linkage = Linkage::from_number(rec.vlen() as u32)?;
                Type::Func { name, proto: target, linkage }
            }
            Kind::FuncProto => Type::FuncProto(FuncProto { btf: self, tail, ret: target }),
            Kind::Var => Type::Var { name, target, linkage: Linkage::from_number(extra()?)? },
            Kind::DataSec => Type::DataSec(DataSec { tail, name, size: rec.value }),
            Kind::Float => Type::Float { name, size: rec.value },
            Kind::DeclTag => {
                Type::DeclTag { tag: name, target, component: extra()?.cast_signed(), attribute: kind_flag }
            }
            Kind::TypeTag => Type::TypeTag { tag: name, target, attribute: kind_flag },
        })
    }
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf")
            .field("types", &self.len())
            .field("bytes", &self.inner.data.len())
            .field("split", &self.inner.base.is_some())
            .finish_non_exhaustive()
    }
}
