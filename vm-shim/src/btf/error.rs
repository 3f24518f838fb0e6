//! What can be wrong with BTF, and where.

use super::{Kind, TypeId};

/// Why a blob is not usable BTF, or why a question about a type has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The blob ends inside the header.
    #[error("{section}: truncated header: {len} bytes, at least {need} needed")]
    TruncatedHeader {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// Bytes present.
        len: usize,
        /// Bytes needed.
        need: usize,
    },
    /// The first two bytes are not `0xeb9f`.
    #[error("{section}: bad magic {found:#06x}, expected 0xeb9f")]
    BadMagic {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// The little-endian value found.
        found: u16,
    },
    /// The blob was made for a big-endian target.
    #[error("{section}: big-endian BTF is not supported (compile with -target bpfel)")]
    BigEndian {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
    },
    /// A format version other than 1.
    #[error("{section}: unsupported version {version}, only 1 is known")]
    UnsupportedVersion {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// The version found.
        version: u8,
    },
    /// Header fields contradict each other or the size of the blob.
    #[error("{section}: {part} at {offset}..{end} does not fit: {why}")]
    BadSectionLayout {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// Which part (types, strings, func_info, ...).
        part: &'static str,
        /// Its first byte, counted from the start of the blob.
        offset: u64,
        /// Its end.
        end: u64,
        /// The violated rule.
        why: &'static str,
    },
    /// An ELF file that should hold BTF is malformed, or does not.
    #[error("ELF file: {why}")]
    Elf {
        /// What is wrong.
        why: String,
    },
    /// The string section breaks a rule of the format.
    #[error(".BTF: string section: {why}")]
    BadStringSection {
        /// The violated rule.
        why: &'static str,
    },
    /// A string offset outside the string section.
    #[error("string offset {offset} is outside the string section of {len} bytes")]
    BadStringOffset {
        /// The offset asked for.
        offset: u32,
        /// Length of the string section (with the base's).
        len: u32,
    },
    /// A string that is not UTF-8.
    #[error("string at offset {offset} is not UTF-8")]
    NotUtf8 {
        /// Its offset.
        offset: u32,
    },
    /// A type record is broken.
    #[error(".BTF: type [{id}] at byte {offset} of the type section: {why}")]
    BadType {
        /// Id the record has by its position.
        id: TypeId,
        /// Offset of the record in the type section.
        offset: u32,
        /// What is wrong with it.
        why: TypeDefect,
    },
    /// No type has this id.
    #[error("type id {id} is out of range: there are {len} types")]
    NoSuchType {
        /// The id asked for.
        id: TypeId,
        /// Number of types, void included.
        len: u32,
    },
    /// Following references from this type does not end.
    #[error("type [{id}] refers to itself, or is nested more than {limit} levels deep")]
    TooDeep {
        /// The type where the walk began.
        id: TypeId,
        /// The limit that was hit.
        limit: u32,
    },
    /// A kind that occupies no memory.
    #[error("type [{id}] of kind {kind} has no size")]
    NoSize {
        /// The type.
        id: TypeId,
        /// Its kind.
        kind: Kind,
    },
    /// An array whose size in bytes does not fit.
    #[error("size of type [{id}] overflows")]
    SizeOverflow {
        /// The type.
        id: TypeId,
    },
    /// The wrong kind for the question.
    #[error("type [{id}] is of kind {kind}, expected {expected}")]
    WrongKind {
        /// The type.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// What was asked for.
        expected: &'static str,
    },
    /// A rendering grew beyond its limit (types that expand exponentially).
    #[error("type [{id}] is longer than {limit} bytes in C")]
    TooLong {
        /// The type where rendering began.
        id: TypeId,
        /// The limit in bytes.
        limit: usize,
    },
    /// A record of `.BTF.ext` is broken.
    #[error(".BTF.ext: {part} at byte {offset}: {why}")]
    BadExt {
        /// func_info, line_info or core_relo.
        part: &'static str,
        /// Offset from the start of the blob.
        offset: u64,
        /// What is wrong.
        why: String,
    },
}

/// What is wrong with one type record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypeDefect {
    /// The section ends inside the record.
    #[error("truncated: {need} bytes needed, {have} left")]
    Truncated {
        /// Bytes the record needs.
        need: u64,
        /// Bytes left in the section.
        have: u64,
    },
    /// A kind number that is not defined.
    #[error("unknown kind {0}")]
    UnknownKind(u8),
    /// Bits of the info word that the format reserves.
    #[error("reserved bits set in info word {0:#010x}")]
    ReservedBits(u32),
    /// A name offset outside the string section.
    #[error("{what} name offset {offset} is outside the string section")]
    BadName {
        /// Whose name (type, member, parameter, enumerator).
        what: &'static str,
        /// The offset.
        offset: u32,
    },
    /// A name that is not UTF-8.
    #[error("{what} name at offset {offset} is not UTF-8")]
    NameNotUtf8 {
        /// Whose name.
        what: &'static str,
        /// The offset.
        offset: u32,
    },
    /// A reference to a type that does not exist.
    #[error("{what} refers to type [{target}], but there are only {len} types")]
    BadReference {
        /// What refers (type, member, element, parameter, variable).
        what: &'static str,
        /// The id referred to.
        target: TypeId,
        /// Number of types, void included.
        len: u32,
    },
    /// A linkage number that is not defined.
    #[error("unknown linkage {0}")]
    BadLinkage(u32),
}
