//! What loads give (`check_mem_access`), apart from the stack.

use bpf_vm_shim::object::{MapData, MapDef, MapType, ProgType};

use super::Subject;
use super::kinds::{Detail, Kinds, Value};
use crate::maps::{FieldKind, Fields, flag};

/// What a load gives through everything that the base may be but the stack. `at` is the displacement.
pub(super) fn load(subject: &Subject<'_>, base: Value, at: i64, size: u8, fields: &[Fields]) -> Value {
    let kinds = base.kinds;
    let mut out = Value::NONE;
    if kinds.intersects(Kinds::CTX) {
        out = out.join(context(subject.prog_type, at, size));
    }
    if kinds.intersects(Kinds::MAP_VALUE) {
        out = out.join(map_value(subject, base.detail, at, size, fields));
    }
    if kinds.intersects(Kinds::BTF.union(Kinds::MAP)) {
        // Pointers lead to further objects; what is narrower is a number.
        let typed = Value::of(Kinds::BTF).or_null();
        out = out.join(if size == 8 { typed } else { Value::SCALAR });
    }
    if kinds.intersects(Kinds::UNKNOWN) {
        out = out.join(if size == 8 { Value::UNKNOWN } else { Value::SCALAR });
    }
    let rest = [Kinds::STACK, Kinds::CTX, Kinds::MAP_VALUE, Kinds::BTF, Kinds::MAP, Kinds::UNKNOWN];
    let rest = rest.into_iter().fold(kinds, Kinds::without);
    if !rest.without(Kinds::ZERO).is_empty() || kinds == Kinds::ZERO {
        out = out.join(Value::SCALAR);
    }
    out
}

/// A field of the context (the `is_valid_access` functions).
fn context(prog_type: ProgType, at: i64, size: u8) -> Value {
    use ProgType as P;
    let packet = Value::of(Kinds::PACKET);
    let end = Value::of(Kinds::PACKET_END);
    match prog_type {
        P::Kprobe | P::Tracepoint | P::PerfEvent | P::RawTracepoint | P::Syscall => Value::SCALAR,
        // What the context points to is a buffer that the program may write.
        P::RawTracepointWritable if at == 0 => Value::of(Kinds::MEM),
        P::RawTracepointWritable => Value::SCALAR,
        P::SocketFilter
        | P::SchedCls
        | P::SchedAct
        | P::CgroupSkb
        | P::LwtIn
        | P::LwtOut
        | P::LwtXmit
        | P::LwtSeg6local
        | P::SkSkb
        | P::FlowDissector => match (at, size) {
            (76 | 140, 4) => packet,
            (80, 4) => end,
            (_, 8) => Value::UNKNOWN,
            _ => Value::SCALAR,
        },
        P::Xdp => match at {
            0 | 8 => packet,
            4 => end,
            _ => Value::SCALAR,
        },
        P::SkMsg | P::SkReuseport => match (at, size) {
            (0, 8) => packet,
            (8, 8) => end,
            (_, 8) => Value::UNKNOWN,
            _ => Value::SCALAR,
        },
        // Arguments are typed pointers, or numbers.
        _ if size == 8 => Value::UNKNOWN,
        _ => Value::SCALAR,
    }
}

fn map_value(subject: &Subject<'_>, detail: Detail, at: i64, size: u8, fields: &[Fields]) -> Value {
    let Detail::MapValue { map, off } = detail else {
        return if size == 8 { kptr_anywhere(fields) } else { Value::SCALAR };
    };
    let Some(def) = subject.tables.maps.get(map as usize) else { return Value::SCALAR };
    let off = off.map(|o| o.wrapping_add(at));
    if size == 8
        && let Some(fields) = fields.get(map as usize)
        && fields.iter().any(|f| is_pointer(f.kind) && off.is_none_or(|o| o == i64::from(f.offset)))
    {
        return Value::of(Kinds::BTF).or_null().join(off.map_or(Value::SCALAR, |_| Value::NONE));
    }
    off.and_then(|o| constant(def, o, size)).map_or(Value::SCALAR, Value::number)
}

fn kptr_anywhere(fields: &[Fields]) -> Value {
    let any = fields.iter().any(|f| f.iter().any(|f| is_pointer(f.kind)));
    if any { Value::UNKNOWN } else { Value::SCALAR }
}

fn is_pointer(kind: FieldKind) -> bool {
    matches!(kind, FieldKind::Kptr | FieldKind::KptrUntrusted | FieldKind::KptrPercpu | FieldKind::Uptr)
}

/// A constant of a frozen read-only map (`bpf_map_direct_read`).
fn constant(def: &MapDef, off: i64, size: u8) -> Option<u64> {
    if def.map_flags & flag::RDONLY_PROG == 0 || def.map_type != MapType::Array {
        return None;
    }
    let bytes = def.data.as_ref().map(MapData::bytes)?;
    let from = usize::try_from(off).ok()?;
    let end = from.checked_add(size.into())?;
    // Zeros at the end need not be stored.
    if end > def.value_size as usize {
        return None;
    }
    let byte = |i: usize| u64::from(bytes.get(i).copied().unwrap_or_default());
    Some((from..end).rev().fold(0, |v, i| v << 8 | byte(i)))
}
