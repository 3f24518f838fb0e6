//! Decoded views of type records. They borrow from the [`Btf`] and decode members on demand.

use super::{Btf, Kind, TypeId};

/// One type, decoded.
#[derive(Clone, Copy, Debug)]
pub enum Type<'a> {
    /// `void`.
    Void,
    /// Integer.
    Int(Int<'a>),
    /// Pointer to a type.
    Ptr(TypeId),
    /// Array.
    Array(Array),
    /// Structure.
    Struct(Composite<'a>),
    /// Union.
    Union(Composite<'a>),
    /// Enumeration with 32-bit values.
    Enum(Enum<'a>),
    /// Forward declaration.
    Fwd {
        /// Name.
        name: &'a str,
        /// Of a union (else of a structure).
        union: bool,
    },
    /// Alias.
    Typedef {
        /// Name.
        name: &'a str,
        /// The type it names.
        target: TypeId,
    },
    /// `volatile`.
    Volatile(TypeId),
    /// `const`.
    Const(TypeId),
    /// `restrict`.
    Restrict(TypeId),
    /// Function.
    Func {
        /// Name.
        name: &'a str,
        /// Its prototype.
        proto: TypeId,
        /// Visibility.
        linkage: Linkage,
    },
    /// Function prototype.
    FuncProto(FuncProto<'a>),
    /// Variable.
    Var {
        /// Name.
        name: &'a str,
        /// Its type.
        target: TypeId,
        /// Visibility.
        linkage: Linkage,
    },
    /// Data section.
    DataSec(DataSec<'a>),
    /// Floating point number.
    Float {
        /// Name.
        name: &'a str,
        /// Size in bytes.
        size: u32,
    },
    /// Tag on a declaration.
    DeclTag {
        /// The tag's text.
        tag: &'a str,
        /// The declaration it is on.
        target: TypeId,
        /// Member or parameter number, or -1 for the declaration itself.
        component: i32,
        /// `kind_flag`: the text is a whole attribute, not an argument of `btf_decl_tag`.
        attribute: bool,
    },
    /// Tag on a type.
    TypeTag {
        /// The tag's text.
        tag: &'a str,
        /// The type it is on.
        target: TypeId,
        /// `kind_flag`: the text is a whole attribute, not an argument of `btf_type_tag`.
        attribute: bool,
    },
    /// Enumeration with 64-bit values.
    Enum64(Enum<'a>),
}

impl<'a> Type<'a> {
    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Void => Kind::Void,
            Self::Int(_) => Kind::Int,
            Self::Ptr(_) => Kind::Ptr,
            Self::Array(_) => Kind::Array,
            Self::Struct(_) => Kind::Struct,
            Self::Union(_) => Kind::Union,
            Self::Enum(_) => Kind::Enum,
            Self::Fwd { .. } => Kind::Fwd,
            Self::Typedef { .. } => Kind::Typedef,
            Self::Volatile(_) => Kind::Volatile,
            Self::Const(_) => Kind::Const,
            Self::Restrict(_) => Kind::Restrict,
            Self::Func { .. } => Kind::Func,
            Self::FuncProto(_) => Kind::FuncProto,
            Self::Var { .. } => Kind::Var,
            Self::DataSec(_) => Kind::DataSec,
            Self::Float { .. } => Kind::Float,
            Self::DeclTag { .. } => Kind::DeclTag,
            Self::TypeTag { .. } => Kind::TypeTag,
            Self::Enum64(_) => Kind::Enum64,
        }
    }

    /// The name; empty for anonymous types and kinds without one. A tag's text counts as its name.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        match self {
            Self::Void | Self::Ptr(_) | Self::Array(_) | Self::FuncProto(_) => "",
            Self::Volatile(_) | Self::Const(_) | Self::Restrict(_) => "",
            Self::Int(t) => t.name,
            Self::Struct(t) | Self::Union(t) => t.name,
            Self::Enum(t) | Self::Enum64(t) => t.name,
            Self::DataSec(t) => t.name,
            Self::Fwd { name, .. }
            | Self::Typedef { name, .. }
            | Self::Func { name, .. }
            | Self::Var { name, .. }
            | Self::Float { name, .. } => name,
            Self::DeclTag { tag, .. } | Self::TypeTag { tag, .. } => tag,
        }
    }

    /// The structure or union in it.
    #[must_use]
    pub const fn as_composite(&self) -> Option<Composite<'a>> {
        match self {
            Self::Struct(c) | Self::Union(c) => Some(*c),
            _ => None,
        }
    }

    /// The enumeration in it, of either width.
    #[must_use]
    pub const fn as_enum(&self) -> Option<Enum<'a>> {
        match self {
            Self::Enum(e) | Self::Enum64(e) => Some(*e),
            _ => None,
        }
    }

    /// What a modifier or alias stands for: the target of a typedef, const, volatile, restrict or type tag.
    #[must_use]
    pub const fn modified(&self) -> Option<TypeId> {
        match self {
            Self::Typedef { target, .. }
            | Self::TypeTag { target, .. }
            | Self::Volatile(target)
            | Self::Const(target)
            | Self::Restrict(target) => Some(*target),
            _ => None,
        }
    }
}

/// How an integer's bits are meant to be read (`BTF_INT_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct IntEncoding(pub u8);

impl IntEncoding {
    /// Unsigned.
    pub const UNSIGNED: Self = Self(0);
    /// Two's complement.
    pub const SIGNED: Self = Self(1);
    /// A character.
    pub const CHAR: Self = Self(2);
    /// `bool`.
    pub const BOOL: Self = Self(4);

    /// Whether the value is signed.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether the value is a character (compilers hardly ever say so).
    #[must_use]
    pub const fn is_char(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether the value is a `bool`.
    #[must_use]
    pub const fn is_bool(self) -> bool {
        self.0 & 4 != 0
    }
}

/// An integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int<'a> {
    /// Name.
    pub name: &'a str,
    /// Size in bytes.
    pub size: u32,
    /// Encoding.
    pub encoding: IntEncoding,
    /// First used bit; not 0 only in the oldest encoding of bit-fields.
    pub offset: u8,
    /// Used bits.
    pub bits: u8,
}

/// An array type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// Type of an element.
    pub element: TypeId,
    /// Type of the index.
    pub index: TypeId,
    /// Number of elements; 0 for a flexible array.
    pub len: u32,
}

/// Visibility of a function or variable (`enum btf_func_linkage`, `BTF_VAR_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// Of its file.
    Static,
    /// Defined, visible to all.
    Global,
    /// Declared only.
    Extern,
}

impl Linkage {
    pub(super) const fn from_number(n: u32) -> Option<Self> {
        match n {
            0 => Some(Self::Static),
            1 => Some(Self::Global),
            2 => Some(Self::Extern),
            _ => None,
        }
    }

    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Static => 0,
            Self::Global => 1,
            Self::Extern => 2,
        }
    }
}

/// A structure or union.
#[derive(Clone, Copy, Debug)]
pub struct Composite<'a> {
    pub(super) btf: &'a Btf,
    pub(super) tail: &'a [u8],
    pub(super) kind_flag: bool,
    /// Name; empty if anonymous.
    pub name: &'a str,
    /// Size in bytes.
    pub size: u32,
}

/// A member of a structure or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Name; empty for an anonymous structure or union.
    pub name: &'a str,
    /// Its type.
    pub type_id: TypeId,
    /// Position in bits from the start of the structure.
    pub bit_offset: u32,
    /// Width in bits if it is a bit-field, else 0.
    pub bitfield_size: u8,
}

impl<'a> Member<'a> {
    /// A member that is not a bit-field, for [`super::BtfBuilder`].
    #[must_use]
    pub const fn new(name: &'a str, type_id: TypeId, bit_offset: u32) -> Self {
        Self { name, type_id, bit_offset, bitfield_size: 0 }
    }

    /// The same member as a bit-field of this width.
    #[must_use]
    pub const fn bits(mut self, width: u8) -> Self {
        self.bitfield_size = width;
        self
    }
}

impl<'a> Composite<'a> {
    /// Number of members.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tail.len() / 12
    }

    /// Whether it has no members.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// Members in declaration order.
    pub fn members(
        self,
    ) -> impl ExactSizeIterator<Item = Member<'a>> + DoubleEndedIterator + Clone + use<'a> {
        let (chunks, _) = self.tail.as_chunks::<12>();
        chunks.iter().map(move |c| self.decode(c))
    }

    /// The member with this number.
    #[must_use]
    pub fn member(self, index: usize) -> Option<Member<'a>> {
        let (chunks, _) = self.tail.as_chunks::<12>();
        chunks.get(index).map(|c| self.decode(c))
    }

    fn decode(self, c: &[u8; 12]) -> Member<'a> {
        let [name, ty, offset] = words(c);
        let (bit_offset, bitfield_size) =
            if self.kind_flag { (offset & 0x00ff_ffff, (offset >> 24) as u8) } else { (offset, 0) };
        Member { name: self.btf.name_at(name), type_id: TypeId(ty), bit_offset, bitfield_size }
    }
}

/// An enumeration of either width.
#[derive(Clone, Copy, Debug)]
pub struct Enum<'a> {
    pub(super) btf: &'a Btf,
    pub(super) tail: &'a [u8],
    pub(super) wide: bool,
    /// Name; empty if anonymous.
    pub name: &'a str,
    /// Size in bytes.
    pub size: u32,
    /// Whether BTF says that its values are signed (clang before 15 never does).
    pub signed: bool,
}

/// One enumerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enumerator<'a> {
    /// Name.
    pub name: &'a str,
    /// Value: of `i64` or `u64` by the enumeration's signedness (`i32` or `u32` in the narrow kind).
    pub value: i128,
}

impl<'a> Enum<'a> {
    /// Number of enumerators.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tail.len() / if self.wide { 12 } else { 8 }
    }

    /// Whether it has no enumerators.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// Enumerators in declaration order.
    pub fn values(self) -> impl ExactSizeIterator<Item = Enumerator<'a>> + Clone + use<'a> {
        (0..self.len()).map(move |i| self.value(i).unwrap_or(Enumerator { name: "", value: 0 }))
    }

    /// The enumerator with this number.
    #[must_use]
    pub fn value(self, index: usize) -> Option<Enumerator<'a>> {
        let (name, bits) = if self.wide {
            let [name, lo, hi] = words(self.tail.as_chunks::<12>().0.get(index)?);
            (name, u64::from(hi) << 32 | u64::from(lo))
        } else {
            let [name, v] = words2(self.tail.as_chunks::<8>().0.get(index)?);
            (name, if self.signed { i64::from(v.cast_signed()).cast_unsigned() } else { u64::from(v) })
        };
        let value = if self.signed { i128::from(bits.cast_signed()) } else { i128::from(bits) };
        Some(Enumerator { name: self.btf.name_at(name), value })
    }
}

/// A function prototype.
#[derive(Clone, Copy, Debug)]
pub struct FuncProto<'a> {
    pub(super) btf: &'a Btf,
    pub(super) tail: &'a [u8],
    /// Type of the result.
    pub ret: TypeId,
}

/// One parameter of a prototype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// Name; may be empty.
    pub name: &'a str,
    /// Type; `void` as the last one stands for `...`.
    pub type_id: TypeId,
}

impl<'a> FuncProto<'a> {
    /// Number of parameters, a trailing `...` included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tail.len() / 8
    }

    /// Whether it takes no parameters.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// Parameters in order.
    pub fn params(self) -> impl ExactSizeIterator<Item = Param<'a>> + DoubleEndedIterator + Clone + use<'a> {
        let (chunks, _) = self.tail.as_chunks::<8>();
        chunks.iter().map(move |c| {
            let [name, ty] = words2(c);
            Param { name: self.btf.name_at(name), type_id: TypeId(ty) }
        })
    }
}

/// A data section.
#[derive(Clone, Copy, Debug)]
pub struct DataSec<'a> {
    pub(super) tail: &'a [u8],
    /// Name of the ELF section.
    pub name: &'a str,
    /// Size in bytes; compilers leave 0 and the loader takes the ELF section's.
    pub size: u32,
}

/// One variable of a data section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecVar {
    /// The variable (or, in `.ksyms`, the function).
    pub type_id: TypeId,
    /// Offset in the section; compilers leave 0 and the symbol table knows it.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

impl<'a> DataSec<'a> {
    /// Number of variables.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tail.len() / 12
    }

    /// Whether it has no variables.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// Variables in order.
    pub fn vars(self) -> impl ExactSizeIterator<Item = SecVar> + DoubleEndedIterator + Clone + use<'a> {
        let (chunks, _) = self.tail.as_chunks::<12>();
        chunks.iter().map(|c| {
            let [ty, offset, size] = words(c);
            SecVar { type_id: TypeId(ty), offset, size }
        })
    }
}

pub(super) fn words(c: &[u8; 12]) -> [u32; 3] {
    let (w, _) = c.as_chunks::<4>();
    [word(w, 0), word(w, 1), word(w, 2)]
}

pub(super) fn words2(c: &[u8; 8]) -> [u32; 2] {
    let (w, _) = c.as_chunks::<4>();
    [word(w, 0), word(w, 1)]
}

fn word(w: &[[u8; 4]], i: usize) -> u32 {
    w.get(i).map_or(0, |b| u32::from_le_bytes(*b))
}
