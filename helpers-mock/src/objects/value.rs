//! Values to be put into objects.

use bpf_vm_shim::btf::{BitRange, Btf, Type};
use bpf_vm_shim::mem::Memory;

use super::builder::Object;
use super::error::ObjectError;
use super::walk::Place;

/// A value for a member.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Value {
    /// A number, also a pointer; must fit the member, signed or not.
    Int(i128),
    /// Text for an array of characters (the rest is zeroed), or an enumerator's name.
    Text(String),
    /// Raw bytes, at most as many as the member has.
    Bytes(Vec<u8>),
}

macro_rules! from_ints {
    ($($t:ty)*) => {
        $(impl From<$t> for Value {
            fn from(v: $t) -> Self {
                Self::Int(v.into())
            }
        })*
    };
}

from_ints!(u8 u16 u32 u64 i8 i16 i32 i64 bool);

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

impl From<Vec<u8>> for Value {
    fn from(v: Vec<u8>) -> Self {
        Self::Bytes(v)
    }
}

impl From<&[u8]> for Value {
    fn from(v: &[u8]) -> Self {
        Self::Bytes(v.to_owned())
    }
}

impl From<Object> for Value {
    /// A pointer to the object.
    fn from(v: Object) -> Self {
        Self::Int(v.addr.into())
    }
}

/// Writes a value where a path led.
pub(super) fn store(
    btf: &Btf,
    mem: &mut Memory,
    place: &Place,
    path: &str,
    value: &Value,
) -> Result<(), ObjectError> {
    let wrong = |why: String| ObjectError::Value { path: path.to_owned(), why };
    let (id, ty) = btf.resolve(place.type_id)?;
    let size = btf.size_of(id)?;
    let bytes = match value {
        Value::Int(v) => return number(btf, mem, place, path, *v),
        Value::Text(text) => match ty {
            Type::Enum(e) | Type::Enum64(e) => {
                let found = e.values().find(|v| v.name == text);
                let v = found.ok_or_else(|| wrong(format!("{} has no '{text}'", btf.type_name(id))))?;
                return number(btf, mem, place, path, v.value);
            }
            Type::Array(_) => {
                let mut bytes = text.clone().into_bytes();
                if bytes.len() as u64 > size {
                    return Err(wrong(format!("'{text}' is longer than its {size} bytes")));
                }
                bytes.resize(size as usize, 0);
                bytes
            }
            _ => return Err(wrong(format!("{} takes no text", btf.type_name(place.type_id)))),
        },
        Value::Bytes(bytes) if bytes.len() as u64 <= size => bytes.clone(),
        Value::Bytes(bytes) => {
            return Err(wrong(format!("{} bytes do not go into {size}", bytes.len())));
        }
    };
    mem.poke(place.addr, &bytes).map_err(|_| wrong("its memory is gone".to_owned()))
}

fn number(btf: &Btf, mem: &mut Memory, place: &Place, path: &str, value: i128) -> Result<(), ObjectError> {
    let wrong = |why: String| ObjectError::Value { path: path.to_owned(), why };
    let range = range(btf, place)
        .ok_or_else(|| wrong(format!("{} takes no number", btf.type_name(place.type_id))))?;
    let bits = range.bits;
    if bits < 127 && (value >= 1 << bits || value < -(1 << (bits - 1).min(126))) {
        return Err(wrong(format!("{value} does not fit {bits} bits")));
    }
    let gone = |_| wrong("its memory is gone".to_owned());
    let mut bytes = [0; 20];
    let len = (range.byte_offset + range.byte_len) as usize - range.byte_offset as usize;
    let at = place.addr + u64::from(range.byte_offset);
    let inner = BitRange { byte_offset: 0, ..range };
    let Some(bytes) = bytes.get_mut(..len) else { return Err(wrong("its bits lie strangely".to_owned())) };
    mem.peek(at, bytes).map_err(gone)?;
    inner.insert(bytes, value.cast_unsigned()).ok_or_else(|| wrong("its bits lie strangely".to_owned()))?;
    mem.poke(at, bytes).map_err(gone)
}

/// The bits of a number, relative to its place; `None` if it is no number.
pub(super) fn range(btf: &Btf, place: &Place) -> Option<BitRange> {
    if let Some(bits) = place.bits {
        return Some(bits).filter(|b| b.bits > 0);
    }
    let (id, ty) = btf.resolve(place.type_id).ok()?;
    match ty {
        Type::Int(_) | Type::Enum(_) | Type::Enum64(_) | Type::Ptr(_) | Type::Float { .. } => {
            let byte_len = u32::try_from(btf.size_of(id).ok()?).ok().filter(|n| (1..=16).contains(n))?;
            Some(BitRange { byte_offset: 0, byte_len, shift: 0, bits: byte_len * 8 })
        }
        _ => None,
    }
}
