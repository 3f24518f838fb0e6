//! One relocation record.

use std::fmt;
use std::sync::Arc;

use super::super::TypeId;

/// What is to be known about the target (`enum bpf_core_relo_kind`, `include/uapi/linux/bpf.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum CoreReloKind {
    /// Byte offset of a field.
    FieldByteOffset,
    /// Size of a field in bytes.
    FieldByteSize,
    /// Whether a field exists.
    FieldExists,
    /// Whether a field is signed.
    FieldSigned,
    /// Left shift that brings a bit-field to the top of 64 bits.
    FieldLshiftU64,
    /// Right shift that brings it down again.
    FieldRshiftU64,
    /// Id of a type in the object's BTF.
    TypeIdLocal,
    /// Id of a type in the target's BTF.
    TypeIdTarget,
    /// Whether a type exists.
    TypeExists,
    /// Size of a type in bytes.
    TypeSize,
    /// Whether an enumerator exists.
    EnumvalExists,
    /// Value of an enumerator.
    EnumvalValue,
    /// Whether a type exists and is like the local one.
    TypeMatches,
    /// A number that this library does not know.
    Unknown(u32),
}

impl CoreReloKind {
    /// All known kinds in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::FieldByteOffset,
        Self::FieldByteSize,
        Self::FieldExists,
        Self::FieldSigned,
        Self::FieldLshiftU64,
        Self::FieldRshiftU64,
        Self::TypeIdLocal,
        Self::TypeIdTarget,
        Self::TypeExists,
        Self::TypeSize,
        Self::EnumvalExists,
        Self::EnumvalValue,
        Self::TypeMatches,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_number(n: u32) -> Self {
        Self::ALL.get(n as usize).copied().unwrap_or(Self::Unknown(n))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Unknown(n) => n,
            known => Self::ALL.iter().position(|k| *k == known).unwrap_or(0) as u32,
        }
    }

    /// The name that libbpf's messages use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FieldByteOffset => "byte_off",
            Self::FieldByteSize => "byte_sz",
            Self::FieldExists => "field_exists",
            Self::FieldSigned => "signed",
            Self::FieldLshiftU64 => "lshift_u64",
            Self::FieldRshiftU64 => "rshift_u64",
            Self::TypeIdLocal => "local_type_id",
            Self::TypeIdTarget => "target_type_id",
            Self::TypeExists => "type_exists",
            Self::TypeSize => "type_size",
            Self::EnumvalExists => "enumval_exists",
            Self::EnumvalValue => "enumval_value",
            Self::TypeMatches => "type_matches",
            Self::Unknown(_) => "unknown",
        }
    }

    pub(super) const fn is_field(self) -> bool {
        matches!(
            self,
            Self::FieldByteOffset
                | Self::FieldByteSize
                | Self::FieldExists
                | Self::FieldSigned
                | Self::FieldLshiftU64
                | Self::FieldRshiftU64
        )
    }

    pub(super) const fn is_type(self) -> bool {
        matches!(
            self,
            Self::TypeIdLocal | Self::TypeIdTarget | Self::TypeExists | Self::TypeSize | Self::TypeMatches
        )
    }

    pub(super) const fn is_enumval(self) -> bool {
        matches!(self, Self::EnumvalExists | Self::EnumvalValue)
    }
}

impl fmt::Display for CoreReloKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(n) => write!(f, "unknown ({n})"),
            known => f.pad(known.name()),
        }
    }
}

/// One CO-RE relocation (`struct bpf_core_relo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreRelo {
    /// Byte offset of the instruction in the ELF section.
    pub insn_off: u32,
    /// Root type in the object's BTF.
    pub type_id: TypeId,
    /// Path from the root type: numbers joined by colons. For an enumerator its number, for a type `0`.
    pub access: Arc<str>,
    /// What is asked.
    pub kind: CoreReloKind,
}
