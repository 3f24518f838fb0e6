//! Arithmetic and comparisons on what registers may hold (`adjust_reg_min_max_vals`, `is_branch_taken`).

use bpf_vm_shim::isa::{Insn, class};

use super::kinds::{Kinds, Value};

const ADD: u8 = 0x00;
const SUB: u8 = 0x10;
const NEG: u8 = 0x80;
const MOV: u8 = 0xb0;
const END: u8 = 0xd0;

/// The destination after an arithmetic instruction; `operand` is the source register or the constant.
pub(super) fn result(insn: Insn, dst: Value, operand: Value) -> Value {
    let wide = insn.class() == class::ALU64;
    let op = insn.opcode & 0xf0;
    if op == MOV && insn.opcode & 0x08 != 0 {
        match insn.off {
            0 if wide => return operand,
            // `addr_space_cast`
            1 if wide => return Value::of(Kinds::ARENA),
            _ => {}
        }
    }
    let number = || match operand_count(op) {
        1 if op == MOV && insn.off == 0 => compute(op, 0, operand.constant()?, wide),
        1 if op == NEG => compute(op, dst.constant()?, 0, wide),
        2 => compute(op, dst.constant()?, operand.constant()?, wide),
        _ => None,
    };
    if let Some(n) = number() {
        return Value::number(n);
    }
    if dst.kinds == Kinds::UNKNOWN && wide && op != END {
        return Value::UNKNOWN;
    }
    // Arena pointers stay such, whatever is done to them.
    if wide && dst.kinds.union(operand.kinds).intersects(Kinds::ARENA) && !matches!(op, MOV | END) {
        return Value::of(Kinds::ARENA);
    }
    match op {
        ADD if wide => add(dst, operand),
        SUB if wide => subtract(dst, operand),
        _ => Value::SCALAR,
    }
}

fn operand_count(op: u8) -> u8 {
    match op {
        MOV | NEG => 1,
        END => 0,
        _ => 2,
    }
}

fn may_be_number(v: Value) -> bool {
    v.kinds.intersects(Kinds::SCALAR.union(Kinds::ZERO).union(Kinds::UNKNOWN))
}

fn add(a: Value, b: Value) -> Value {
    if a.kinds.is_empty() || b.kinds.is_empty() {
        return Value::NONE;
    }
    let mut out = Value::NONE;
    // A null pointer that was moved is left out: the kernel refuses to move what may be null.
    if may_be_number(b) {
        out = out.join(a.moved(b.constant()));
    }
    if may_be_number(a) {
        out = out.join(b.moved(a.constant()));
    }
    let plain = |v: Value| v.kinds.intersects(Kinds::SCALAR) || v.kinds == Kinds::ZERO;
    if out.kinds.is_empty() || plain(a) && plain(b) {
        out = out.join(Value::SCALAR);
    }
    if a.kinds.union(b.kinds).intersects(Kinds::UNKNOWN) {
        out = out.join(Value::UNKNOWN);
    }
    out
}

fn subtract(a: Value, b: Value) -> Value {
    if a.kinds.is_empty() || b.kinds.is_empty() {
        return Value::NONE;
    }
    let mut out = Value::NONE;
    if may_be_number(b) {
        out = out.join(a.moved(b.constant().map(u64::wrapping_neg)));
    }
    let pointers = !a.kinds.pointers().is_empty() && !b.kinds.pointers().is_empty();
    if out.kinds.is_empty() || a.kinds.intersects(Kinds::SCALAR) || pointers {
        out = out.join(Value::SCALAR);
    }
    if a.kinds.intersects(Kinds::UNKNOWN) {
        out = out.join(Value::UNKNOWN);
    }
    out
}

fn compute(op: u8, a: u64, b: u64, wide: bool) -> Option<u64> {
    let (a, b) = if wide { (a, b) } else { (a & 0xffff_ffff, b & 0xffff_ffff) };
    let shift = (b & if wide { 63 } else { 31 }) as u32;
    let out = match op {
        ADD => a.wrapping_add(b),
        SUB => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a << shift,
        0x70 => a >> shift,
        NEG => a.wrapping_neg(),
        0xa0 => a ^ b,
        MOV => b,
        0xc0 if wide => (a as i64 >> shift) as u64,
        0xc0 => u64::from((a as u32 as i32 >> shift) as u32),
        _ => return None,
    };
    Some(if wide { out } else { out & 0xffff_ffff })
}

/// Whether a conditional jump is certainly taken, or certainly not.
pub(super) fn taken(insn: Insn, dst: Value, operand: Value) -> Option<bool> {
    let (a, b) = (dst.constant()?, operand.constant()?);
    let wide = insn.class() == class::JMP;
    let (a, b) = if wide { (a, b) } else { (a & 0xffff_ffff, b & 0xffff_ffff) };
    let signed = |v: u64| if wide { v as i64 } else { i64::from(v as u32 as i32) };
    let (sa, sb) = (signed(a), signed(b));
    Some(match insn.opcode & 0xf0 {
        0x10 => a == b,
        0x20 => a > b,
        0x30 => a >= b,
        0x40 => a & b != 0,
        0x50 => a != b,
        0x60 => sa > sb,
        0x70 => sa >= sb,
        0xa0 => a < b,
        0xb0 => a <= b,
        0xc0 => sa < sb,
        0xd0 => sa <= sb,
        _ => return None,
    })
}

/// What a register holds where it was found equal (or not) to a constant.
pub(super) fn refined(value: Value, constant: u64, equal: bool) -> Value {
    let numbers = Kinds::SCALAR.union(Kinds::ZERO);
    match (constant, equal) {
        _ if value.kinds.is_empty() => value,
        (0, true) => Value::ZERO,
        (0, false) => Value { kinds: value.kinds.without(Kinds::ZERO), ..value },
        (n, true) if value.kinds.without(numbers).is_empty() => Value::number(n),
        _ => value,
    }
}
