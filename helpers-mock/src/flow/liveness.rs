//! Which of R0 to R5 are read again before they are written: backward over the instructions (`compute_live_registers`
//! in `kernel/bpf/verifier.c`).

use std::collections::BTreeSet;

use bpf_vm_shim::isa::{Form, Insn, Op, lookup, pseudo};

use super::cfg::{Target, jump_target};
use crate::helpers;

const ARGS: u16 = 0b11_1110;

/// Registers by instruction: bit 0 for R0; in the upper half also those that are only passed on to a helper with a
/// variable number of arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Liveness {
    after: Vec<u32>,
}

impl Liveness {
    /// Computes it for a whole program. `table` has the slots to which `gotox` may lead.
    #[must_use]
    pub fn of(insns: &[Insn], table: &[usize]) -> Self {
        let mut preds = vec![Vec::new(); insns.len()];
        let mut starts = Vec::new();
        let mut slot = 0;
        while let Some(insn) = insns.get(slot) {
            starts.push(slot);
            for to in successors(insns, slot, table) {
                if let Some(p) = preds.get_mut(to) {
                    p.push(slot);
                }
            }
            slot += if insn.is_ld_imm64() { 2 } else { 1 };
        }
        let mut before = vec![0u32; insns.len()];
        let mut after = vec![0u32; insns.len()];
        let mut work: BTreeSet<usize> = starts.into_iter().collect();
        while let Some(slot) = work.pop_last() {
            let Some(insn) = insns.get(slot) else { continue };
            let live = successors(insns, slot, table).into_iter().filter_map(|s| before.get(s));
            let live = live.fold(0, |all, b| all | b);
            let (reads, writes) = uses(*insn);
            let new = (live & !writes) | reads;
            if let Some(a) = after.get_mut(slot) {
                *a = live;
            }
            if let Some(b) = before.get_mut(slot)
                && *b != new
            {
                *b = new;
                work.extend(preds.get(slot).into_iter().flatten());
            }
        }
        Self { after }
    }

    /// The registers that are read after an instruction, before anything writes them.
    #[must_use]
    pub fn after(&self, slot: usize) -> u16 {
        self.after.get(slot).map_or(0x7ff, |a| *a as u16)
    }

    /// As [`Liveness::after`], with what a call of a helper with a variable number of arguments may look at.
    #[must_use]
    pub fn perhaps_after(&self, slot: usize) -> u16 {
        self.after.get(slot).map_or(0x7ff, |a| (*a >> 16) as u16)
    }
}

fn successors(insns: &[Insn], slot: usize, table: &[usize]) -> Vec<usize> {
    let Some(insn) = insns.get(slot) else { return Vec::new() };
    let next = slot + if insn.is_ld_imm64() { 2 } else { 1 };
    match jump_target(slot, *insn) {
        Target::Next => vec![next],
        Target::Goto(to) => vec![to],
        Target::Branch(to) => vec![next, to],
        Target::Table => table.to_vec(),
        Target::Exit => Vec::new(),
    }
}

/// The registers that an instruction reads and those that it writes, in both halves.
fn uses(insn: Insn) -> (u32, u32) {
    let both = |bits: u16| u32::from(bits) | u32::from(bits) << 16;
    let (reads, writes) = registers(insn);
    // `bpf_trace_printk` has a row for the format only.
    let variable = if insn.is_helper_call() && insn.imm == 6 { u32::from(ARGS) << 16 } else { 0 };
    (both(reads) | variable, both(writes))
}

fn registers(insn: Insn) -> (u16, u16) {
    let bit = |r: u8| 1u16 << (r & 15);
    let Some(row) = lookup(&insn) else { return (0x7ff, 0) };
    let src = if row.uses.src() { bit(insn.src) } else { 0 };
    let dst = if row.uses.dst() { bit(insn.dst) } else { 0 };
    match row.form {
        Form::Alu(_) if matches!(row.op, Op::Mov64K | Op::Mov64X | Op::Mov32K | Op::Mov32X) => (src, dst),
        Form::Alu(_) | Form::Neg(_) | Form::End => (src | dst, dst),
        Form::Movsx(_) | Form::Cast | Form::Load | Form::LoadAcquire => (src, dst),
        Form::LdImm64 => (0, dst),
        Form::Fetch | Form::Xchg => (src | dst, src),
        Form::Cmpxchg => (src | dst | 1, 1),
        Form::LdAbs | Form::LdInd => (src | bit(6), ARGS | 1),
        Form::Call => (arguments(insn), ARGS | 1),
        Form::Callx => (dst | ARGS, ARGS | 1),
        Form::Exit => (1, 0),
        _ => (src | dst, 0),
    }
}

/// The registers that a call looks at: those of its row, or all five.
fn arguments(insn: Insn) -> u16 {
    let row = if insn.src == pseudo::CALL_HELPER { helpers::by_id(insn.imm as u32) } else { None };
    row.map_or(ARGS, |row| (((1u16 << row.args.len()) - 1) << 1) & ARGS)
}
