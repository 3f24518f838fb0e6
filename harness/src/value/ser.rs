//! Values as serde data.

use serde::ser::{Serialize, Serializer};

use super::Value;
use super::text::bytes_to_hex;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => s.serialize_unit(),
            Self::Bool(v) => s.serialize_bool(*v),
            Self::Int(v) => s.serialize_i64(*v),
            Self::Uint(v) => s.serialize_u64(*v),
            Self::Wide(v) => s.serialize_str(&format!("{v:#x}")),
            Self::Float(v) => s.serialize_f64(*v),
            Self::Text(v) | Self::Enum(v) => s.serialize_str(v),
            Self::Pointer(v) => s.serialize_str(&format!("{v:#x}")),
            Self::Bytes(v) => s.serialize_str(&bytes_to_hex(v)),
            Self::List(v) | Self::PerCpu(v) => s.collect_seq(v),
            Self::Struct(v) => s.collect_map(v.iter().map(|(k, v)| (k, v))),
            Self::Opaque(v) => s.serialize_str(&format!("<{v}>")),
        }
    }
}
