//! A total order over values, for sorting tables by their keys as types mean them.

use std::cmp::Ordering;

use super::Value;

impl Value {
    /// Compares numbers by value, text by bytes, structures member by member.
    #[must_use]
    pub fn total_cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a) | Self::Enum(a), Self::Text(b) | Self::Enum(b)) => a.cmp(b),
            (Self::Opaque(a), Self::Opaque(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Wide(a), Self::Wide(b)) => a.cmp(b),
            (Self::List(a) | Self::PerCpu(a), Self::List(b) | Self::PerCpu(b)) => {
                sequence(a, b, Self::total_cmp)
            }
            (Self::Struct(a), Self::Struct(b)) => sequence(a, b, |a, b| a.1.total_cmp(&b.1)),
            _ => match (self.number(), other.number()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => self.rank().cmp(&other.rank()),
            },
        }
    }

    fn number(&self) -> Option<i128> {
        match self {
            Self::Bool(v) => Some((*v).into()),
            Self::Int(v) => Some((*v).into()),
            Self::Uint(v) | Self::Pointer(v) => Some((*v).into()),
            _ => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) | Self::Int(_) | Self::Uint(_) | Self::Pointer(_) => 1,
            Self::Wide(_) => 2,
            Self::Float(_) => 3,
            Self::Text(_) | Self::Enum(_) => 4,
            Self::Bytes(_) => 5,
            Self::List(_) | Self::PerCpu(_) => 6,
            Self::Struct(_) => 7,
            Self::Opaque(_) => 8,
        }
    }
}

fn sequence<T>(a: &[T], b: &[T], cmp: impl Fn(&T, &T) -> Ordering) -> Ordering {
    let first = a.iter().zip(b).map(|(a, b)| cmp(a, b)).find(|o| o.is_ne());
    first.unwrap_or_else(|| a.len().cmp(&b.len()))
}
