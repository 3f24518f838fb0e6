//! Values of maps and records as what expressions calculate with.

use minijinja::value::Value as Any;

use crate::value::{Value, escape, unescape};

/// A value: addresses are numbers, structures have members, arrays are lists.
pub(in crate::scenario) fn any(value: &Value) -> Any {
    match value {
        Value::Null => Any::from(()),
        Value::Bool(v) => Any::from(*v),
        Value::Int(v) => Any::from(*v),
        Value::Uint(v) | Value::Pointer(v) => Any::from(*v),
        Value::Wide(v) => Any::from(*v),
        Value::Float(v) => Any::from(*v),
        Value::Enum(t) => Any::from(t.as_str()),
        // As C reads it: what stands behind the first NUL is left over from before.
        Value::Text(t) => {
            let bytes = unescape(t);
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            Any::from(escape(bytes.get(..end).unwrap_or_default()))
        }
        Value::Opaque(t) => Any::from(format!("<{t}>")),
        Value::Bytes(b) => Any::from_bytes(b.clone()),
        Value::List(items) | Value::PerCpu(items) => items.iter().map(any).collect(),
        Value::Struct(_) => record(value),
    }
}

/// A structure as names; of anything else, no names.
pub(in crate::scenario) fn record(value: &Value) -> Any {
    let members = match value {
        Value::Struct(members) => members.as_slice(),
        _ => &[],
    };
    Any::from_pairs(members.iter().map(|(name, v)| (name.clone(), any(v))))
}
