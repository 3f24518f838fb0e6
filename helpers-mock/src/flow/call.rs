//! What calls give: helpers by number, kernel functions by their prototype (`check_helper_call`, `check_kfunc_call`).

use bpf_vm_shim::btf::{Btf, Type, TypeId};
use bpf_vm_shim::isa::{Insn, pseudo};
use bpf_vm_shim::object::{KfuncDecl, MapType};

use super::kinds::{Detail, Kinds, Value};
use super::{Subject, Tables};
use crate::helpers::{self, Arg};

/// The last helper that the kernel has; the list is closed, new functions are kernel functions.
const LAST_HELPER: u32 = 211;

/// What a helper's R0 may hold; `map` is its first argument.
pub(super) fn helper(subject: &Subject<'_>, id: u32, map: Value) -> Value {
    let typed = Value::of(Kinds::BTF);
    match id {
        // bpf_map_lookup_elem, bpf_map_lookup_percpu_elem
        1 | 195 => lookup(subject.tables, map).or_null(),
        // bpf_get_local_storage
        81 => Value::of(Kinds::MAP_VALUE),
        // bpf_sk_storage_get and the storages of inodes, tasks and control groups
        107 | 145 | 156 | 210 => value_of(map).or_null(),
        // bpf_ringbuf_reserve, bpf_dynptr_data
        131 | 203 => Value::of(Kinds::MEM).or_null(),
        // Sockets: lookups, casts, bpf_sock_from_file
        84 | 85 | 95 | 96 | 98 | 99 | 136..=140 | 162 | 178 | 196 => typed.or_null(),
        // bpf_per_cpu_ptr, bpf_this_cpu_ptr, bpf_kptr_xchg
        153 | 154 | 194 => typed.or_null(),
        // bpf_get_current_task_btf, bpf_task_pt_regs
        158 | 175 => typed,
        _ if id > LAST_HELPER => Value::UNKNOWN,
        _ => Value::SCALAR,
    }
}

/// A value of the map in a register.
fn value_of(map: Value) -> Value {
    match map.detail {
        Detail::Map(map) => Value { kinds: Kinds::MAP_VALUE, detail: Detail::MapValue { map, off: Some(0) } },
        _ => Value::of(Kinds::MAP_VALUE),
    }
}

fn lookup(tables: Tables<'_>, map: Value) -> Value {
    let def = match map.detail {
        Detail::Map(map) => tables.maps.get(map as usize),
        _ => None,
    };
    match def.map(|d| d.map_type) {
        Some(MapType::ArrayOfMaps | MapType::HashOfMaps) => Value::of(Kinds::MAP),
        Some(MapType::Sockmap | MapType::Sockhash | MapType::Xskmap) => Value::of(Kinds::BTF),
        Some(_) => value_of(map),
        // An inner map's value, or a map of a map that is not known here.
        None => Value::of(Kinds::MAP_VALUE.union(Kinds::MAP)),
    }
}

/// What a kernel function's R0 may hold. `index` is the call's immediate.
pub(super) fn kfunc(tables: Tables<'_>, index: i32) -> Value {
    let decl = usize::try_from(index).ok().and_then(|i| tables.kfuncs.get(i));
    let Some(decl) = decl else { return Value::UNKNOWN };
    let named = match decl.name.as_str() {
        "bpf_dynptr_slice" | "bpf_dynptr_slice_rdwr" => Some(Value::of(Kinds::MEM)),
        "bpf_arena_alloc_pages" | "bpf_arena_reserve_pages" => Some(Value::of(Kinds::ARENA)),
        "memcpy" | "memmove" | "memset" => Some(Value::UNKNOWN),
        _ => None,
    };
    if let Some(value) = named {
        return value.or_null();
    }
    by_prototype(tables, decl).unwrap_or(Value::UNKNOWN)
}

fn by_prototype(tables: Tables<'_>, decl: &KfuncDecl) -> Option<Value> {
    let btf = tables.btf?;
    let proto = match btf.get(decl.proto?).ok()? {
        Type::Func { proto, .. } => btf.get(proto).ok()?,
        other => other,
    };
    let Type::FuncProto(proto) = proto else { return None };
    Some(match btf.resolve(proto.ret).ok()?.1 {
        Type::Ptr(target) => pointer(btf, target).or_null(),
        _ => Value::SCALAR,
    })
}

fn pointer(btf: &Btf, target: TypeId) -> Value {
    match btf.resolve(target) {
        Ok((_, Type::Struct(_) | Type::Union(_) | Type::Fwd { .. } | Type::Void)) => Value::of(Kinds::BTF),
        Ok(_) => Value::of(Kinds::MEM),
        Err(_) => Value::UNKNOWN,
    }
}

/// What a helper or kernel function may write: the argument's number, and how many bytes if that is certain.
pub(super) fn writes(insn: Insn, args: &[Value]) -> Vec<(u8, Option<u64>)> {
    let all = || (1..=5).map(|n| (n, None)).collect();
    if insn.src != pseudo::CALL_HELPER {
        return all();
    }
    let Some(row) = helpers::by_id(insn.imm as u32) else { return all() };
    let written = |(i, kind): (usize, &Arg)| {
        let size = || args.get(i + 2).and_then(Value::constant);
        let len = match kind {
            Arg::MemOut | Arg::MemOutOrNull => size(),
            Arg::FixedOut(size) => Some(u64::from(*size)),
            Arg::Dynptr | Arg::DynptrOut => Some(16),
            Arg::MapValueOut => None,
            _ => return None,
        };
        Some((i as u8 + 1, len))
    };
    row.args.iter().enumerate().filter_map(written).collect()
}

/// What a callback gets in R1 to R5, for each helper or kernel function that calls one.
pub(super) fn callback(insn: Insn, args: &[Value; 11]) -> [Value; 5] {
    let none = Value::NONE;
    let typed = Value::of(Kinds::BTF);
    let mem = Value::of(Kinds::MEM);
    let value = value_of(args[1]);
    match (insn.src, insn.imm) {
        // bpf_for_each_map_elem: map, key, value, context
        (pseudo::CALL_HELPER, 164) => [args[1], mem, value, args[3], none],
        // bpf_timer_set_callback: map, key, value
        (pseudo::CALL_HELPER, 170) => [Value::of(Kinds::MAP), mem, Value::of(Kinds::MAP_VALUE), none, none],
        // bpf_find_vma: task, area, context
        (pseudo::CALL_HELPER, 180) => [typed, typed, args[4], none, none],
        // bpf_loop: index, context
        (pseudo::CALL_HELPER, 181) => [Value::SCALAR, args[3], none, none, none],
        // bpf_user_ringbuf_drain: dynptr, context
        (pseudo::CALL_HELPER, 209) => [mem, args[3], none, none, none],
        // Kernel functions: comparisons get typed nodes, work queues a map, key and value.
        _ => [Value::UNKNOWN; 5],
    }
}
