//! Reads of registers that nothing can have written: found before the run, so that the run needs no tracking.
//!
//! A register counts as written if some path writes it. The verifier wants every path to, but it also leaves out paths
//! that cannot be taken, which only a path-sensitive analysis knows. So this finds what no path can make right, and
//! never blames a program that the verifier accepts. Source: `check_reg_arg` ("R%d !read_ok") in
//! `kernel/bpf/verifier.c`.

use super::code::DecodedOp;
use crate::isa::{Form, Op, Row, Uses};

const ARGS: u16 = 0b11_1110;
const FP: u16 = 1 << 10;

/// The first register that an operation reads and that is not in `written`.
fn first_missing(op: &DecodedOp, kind: Op, row: &Row, written: u16, main: bool) -> Option<u8> {
    let mut reads = 0u16;
    if row.uses.src() {
        reads |= 1 << op.src as u8;
    }
    let reads_dst = match row.form {
        // Both subtraction from itself and a move overwrite without looking.
        Form::Alu(_) => !matches!(kind, Op::Mov64K | Op::Mov64X | Op::Mov32K | Op::Mov32X),
        Form::Movsx(_) | Form::LdImm64 | Form::Load | Form::LoadAcquire | Form::Cast => false,
        _ => row.uses.dst(),
    };
    if reads_dst {
        reads |= 1 << op.dst as u8;
    }
    match row.form {
        Form::Cmpxchg => reads |= 1,
        // Functions other than the main one may return nothing.
        Form::Exit if main => reads |= 1,
        _ => {}
    }
    let missing = reads & !written & 0x7ff;
    (missing != 0).then(|| missing.trailing_zeros() as u8)
}

/// The registers that are written after an operation.
fn after(op: &DecodedOp, row: &Row, written: u16) -> u16 {
    match row.form {
        Form::Call | Form::Callx | Form::LdAbs | Form::LdInd => (written & !ARGS) | 1,
        Form::Alu(_) | Form::Neg(_) | Form::Movsx(_) | Form::End | Form::Cast => written | 1 << op.dst as u8,
        Form::LdImm64 | Form::Load | Form::LoadAcquire => written | 1 << op.dst as u8,
        Form::Fetch | Form::Xchg => written | 1 << op.src as u8,
        Form::Cmpxchg => written | 1,
        _ => written,
    }
}

/// Finds operations that read a register that nothing on any path has written: index and register.
///
/// `main` is where the program starts, with the registers in `entry` written; other functions get R1 to R5.
pub(super) fn find(ops: &[DecodedOp], kinds: &[Op], funcs: &[usize], entry: u16) -> Vec<(usize, u8)> {
    let mut written = vec![0u16; ops.len()];
    let mut seen = vec![false; ops.len()];
    let mut todo: Vec<(usize, u16)> = Vec::new();
    for (i, start) in funcs.iter().enumerate() {
        todo.push((*start, FP | if i == 0 { entry } else { ARGS }));
    }
    while let Some((at, new)) = todo.pop() {
        let (Some(op), Some(kind), Some(state)) = (ops.get(at), kinds.get(at), written.get_mut(at)) else {
            continue;
        };
        if seen[at] && *state | new == *state {
            continue;
        }
        seen[at] = true;
        *state |= new;
        let state = *state;
        let Some(row) = kind.row() else { continue };
        let next = after(op, row, state);
        match (row.form, *kind) {
            (Form::Exit | Form::Gotox, _) | (_, Op::Trap) => {}
            (Form::Goto, Op::Ja | Op::Ja32) => todo.push((op.off as usize, next)),
            (Form::Jump(_) | Form::Goto, _) => todo.extend([(at + 1, next), (op.off as usize, next)]),
            _ => todo.push((at + 1, next)),
        }
    }
    let main_end = funcs.iter().copied().filter(|f| *f > funcs[0]).min().unwrap_or(ops.len());
    let bad = |(i, op): (usize, &DecodedOp)| {
        let row = kinds[i].row().filter(|r| seen[i] && (r.uses != Uses::None || r.form == Form::Exit))?;
        first_missing(op, kinds[i], row, written[i], i < main_end).map(|reg| (i, reg))
    };
    ops.iter().enumerate().filter_map(bad).collect()
}
