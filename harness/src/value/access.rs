//! Looking into values, and making them from plain ones.

use std::ops::Index;

use super::Value;
use super::text::unescape;

/// What a missing member reads as.
static NULL: Value = Value::Null;

impl Value {
    /// A member of a structure.
    #[must_use]
    pub fn get(&self, member: &str) -> Option<&Self> {
        match self {
            Self::Struct(members) => members.iter().find(|(name, _)| name == member).map(|(_, v)| v),
            _ => None,
        }
    }

    /// An element of an array or of a per-CPU value.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<&Self> {
        match self {
            Self::List(v) | Self::PerCpu(v) => v.get(index),
            _ => None,
        }
    }

    /// The elements of an array or of a per-CPU value; none of anything else.
    #[must_use]
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::List(v) | Self::PerCpu(v) => v,
            _ => &[],
        }
    }

    /// The value as an unsigned number, if it is one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Bool(v) => Some((*v).into()),
            Self::Int(v) => u64::try_from(*v).ok(),
            Self::Uint(v) | Self::Pointer(v) => Some(*v),
            Self::Wide(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// The value as a signed number, if it is one.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(*v),
            other => i64::try_from(other.as_u64()?).ok(),
        }
    }

    /// The text of characters or an enumerator.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(v) | Self::Enum(v) => Some(v),
            _ => None,
        }
    }

    /// The bytes of characters (without trailing NULs) or of a byte array.
    #[must_use]
    pub fn as_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(v) => Some(unescape(v)),
            Self::Bytes(v) => Some(v.clone()),
            _ => None,
        }
    }

    /// The sum over CPUs of a per-CPU number, or the number itself. Wraps, as counters do.
    #[must_use]
    pub fn sum(&self) -> Option<u64> {
        match self {
            Self::PerCpu(v) => v.iter().try_fold(0u64, |sum, v| Some(sum.wrapping_add(v.sum()?))),
            Self::Int(v) => Some(v.cast_unsigned()),
            other => other.as_u64(),
        }
    }
}

/// A member of a structure; `Null` if there is none.
impl Index<&str> for Value {
    type Output = Value;

    fn index(&self, member: &str) -> &Value {
        self.get(member).unwrap_or(&NULL)
    }
}

/// An element of an array; `Null` if there is none.
impl Index<usize> for Value {
    type Output = Value;

    fn index(&self, index: usize) -> &Value {
        self.at(index).unwrap_or(&NULL)
    }
}

macro_rules! from_number {
    ($($variant:ident as $wide:ty: $($t:ty),*;)*) => {
        $($(
            impl From<$t> for Value {
                fn from(v: $t) -> Self {
                    Self::$variant(<$wide>::from(v))
                }
            }

            impl PartialEq<$t> for Value {
                fn eq(&self, other: &$t) -> bool {
                    self.total_cmp(&Self::from(*other)).is_eq()
                }
            }
        )*)*
    };
}

from_number! {
    Int as i64: i8, i16, i32, i64;
    Uint as u64: u8, u16, u32, u64;
    Bool as bool: bool;
    Float as f64: f32, f64;
}

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Text(v.to_owned())
    }
}

impl From<String> for Value {
    fn from(v: String) -> Self {
        Self::Text(v)
    }
}

impl From<&[u8]> for Value {
    fn from(v: &[u8]) -> Self {
        Self::Bytes(v.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(v: Vec<u8>) -> Self {
        Self::Bytes(v)
    }
}

impl<T: Into<Value>, const N: usize> From<[(&str, T); N]> for Value {
    fn from(members: [(&str, T); N]) -> Self {
        Self::Struct(members.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect())
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(*other)
    }
}
