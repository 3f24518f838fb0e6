//! Keys and values of one map: bytes to values and back.

use bpf_vm_shim::btf::{Btf, TypeId};
use bpf_vm_shim::object::MapDef;

use crate::error::Error;
use crate::value::{Value, decode, encode, hex_to_bytes};

/// How a map's bytes are read.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    name: String,
    btf: Option<Btf>,
    key: Option<TypeId>,
    value: Option<TypeId>,
    key_size: u32,
    value_size: u32,
}

impl Codec {
    pub(crate) fn new(def: &MapDef, btf: Option<&Btf>) -> Self {
        Self {
            name: def.name.clone(),
            btf: btf.cloned(),
            key: def.key_type,
            value: def.value_type,
            key_size: def.key_size,
            value_size: def.value_size,
        }
    }

    pub(crate) fn key(&self, bytes: &[u8]) -> Result<Value, Error> {
        self.decode(self.key, bytes, "a key")
    }

    pub(crate) fn value(&self, bytes: &[u8]) -> Result<Value, Error> {
        self.decode(self.value, bytes, "a value")
    }

    pub(crate) fn key_bytes(&self, key: &Value) -> Result<Vec<u8>, Error> {
        self.encode(self.key, self.key_size, key, "the key")
    }

    pub(crate) fn value_bytes(&self, value: &Value) -> Result<Vec<u8>, Error> {
        match value {
            // All CPUs at once, each value padded as the kernel does.
            Value::PerCpu(values) => {
                let mut out = Vec::new();
                for v in values {
                    out.extend(self.encode(self.value, self.value_size, v, "the value")?);
                    out.resize(out.len().next_multiple_of(8), 0);
                }
                Ok(out)
            }
            other => self.encode(self.value, self.value_size, other, "the value"),
        }
    }

    fn decode(&self, ty: Option<TypeId>, bytes: &[u8], what: &str) -> Result<Value, Error> {
        match (&self.btf, ty) {
            (Some(btf), Some(ty)) => decode(btf, ty, bytes)
                .map_err(|source| Error::value(format!("{what} of map '{}'", self.name), source)),
            // Without types, what has the size of a number is one.
            _ => Ok(match bytes {
                [a] => Value::Uint((*a).into()),
                [a, b] => Value::Uint(u16::from_le_bytes([*a, *b]).into()),
                [a, b, c, d] => Value::Uint(u32::from_le_bytes([*a, *b, *c, *d]).into()),
                [a, b, c, d, e, f, g, h] => Value::Uint(u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
                other => Value::Bytes(other.to_vec()),
            }),
        }
    }

    fn encode(&self, ty: Option<TypeId>, size: u32, value: &Value, what: &str) -> Result<Vec<u8>, Error> {
        if let (Some(btf), Some(ty)) = (&self.btf, ty) {
            let what = || format!("{what} of map '{}'", self.name);
            return encode(btf, ty, value).map_err(|source| Error::value(what(), source));
        }
        let bytes = match value {
            Value::Bytes(b) => b.clone(),
            Value::Text(t) => hex_to_bytes(t).unwrap_or_default(),
            Value::Int(v) => v.to_le_bytes().to_vec(),
            other => other.as_u64().map(|v| v.to_le_bytes().to_vec()).unwrap_or_default(),
        };
        let fits = match value {
            Value::Bytes(_) | Value::Text(_) => bytes.len() == size as usize,
            _ => !bytes.is_empty() && (size >= 8 || number_fits(value, size)),
        };
        if !fits {
            let name = &self.name;
            return Err(Error::Invalid(format!(
                "{what} of map '{name}', without a type, needs {size} bytes"
            )));
        }
        let mut bytes = bytes;
        bytes.resize(size as usize, if matches!(value, Value::Int(v) if *v < 0) { 0xff } else { 0 });
        Ok(bytes)
    }
}

fn number_fits(value: &Value, size: u32) -> bool {
    let bits = size * 8;
    match value {
        Value::Int(v) => *v >= -(1i64 << (bits - 1).min(62)) && *v < 1i64 << bits.min(62),
        other => other.as_u64().is_some_and(|v| v >> bits.min(63) == 0),
    }
}
