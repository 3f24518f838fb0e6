//! Automatic reads: each load whose base may be an untyped pointer becomes a `bpf_probe_read` to scratch stack and a
//! load from there.
//!
//! That changes no program for the worse: a kernel refuses the load, and the helper takes any address, that of a map's
//! value or of the stack too. Where nothing is mapped it fills with zeros, as bcc's rewriter has it.

use std::collections::BTreeMap;

use bpf_vm_shim::isa::{Insn, class};

use super::splice::{Edit, Edits};
use super::{Options, PassError};
use crate::flow::{self, Facts, Liveness, Subject};

/// `MAX_BPF_STACK`.
const STACK: i32 = 512;
/// Calls nest this deep at most (`MAX_CALL_FRAMES`).
const FRAMES: usize = 8;

/// The changes to be made.
pub(super) fn edits(program: &str, subject: &Subject<'_>, options: &Options) -> Result<Edits, PassError> {
    let facts = flow::analyze(subject);
    if facts.gave_up {
        return Err(PassError::TooComplex { program: program.to_owned() });
    }
    let wanted = |slot: &usize| {
        subject.insns.get(*slot).is_some_and(|i| i.class() == class::LDX)
            && facts.loads.get(slot).is_some_and(|f| !f.base.is_empty() && !f.base.is_readable())
    };
    let loads: Vec<usize> = facts.loads.keys().copied().filter(wanted).collect();
    if loads.is_empty() {
        return Ok(Edits::new());
    }
    let live = Liveness::of(subject.insns, &[]);
    let mut edits = Edits::new();
    let mut depths: BTreeMap<usize, i32> = facts.stack.clone();
    for slot in loads {
        let function = function_of(subject, slot);
        let used = facts.stack.get(&function).copied().unwrap_or(0);
        let (Some(load), Some(fact)) = (subject.insns.get(slot), facts.loads.get(&slot)) else { continue };
        let saved = live.after(slot) & fact.written | live.perhaps_after(slot) & fact.definite;
        let saved = saved & 0b11_1111 & !(1 << load.dst);
        let saved: Vec<u8> = (0..6).filter(|r| saved >> r & 1 != 0).collect();
        // The bytes that are read, then the registers, below everything.
        let data = used.div_euclid(8) * 8 - 8;
        let bottom = data - 8 * saved.len() as i32;
        if bottom < -STACK {
            return Err(PassError::NoStack {
                program: program.to_owned(),
                insn: slot,
                used: used.unsigned_abs(),
                needed: (used - bottom).unsigned_abs(),
            });
        }
        let depth = depths.entry(function).or_insert(0);
        *depth = (*depth).min(bottom);
        edits.insert(slot, Edit::Replace(read(*load, data as i16, &saved, options.helper())));
    }
    check_depth(program, &facts, &depths)?;
    Ok(edits)
}

fn function_of(subject: &Subject<'_>, slot: usize) -> usize {
    let after = subject.functions.partition_point(|f| *f <= slot);
    after.checked_sub(1).and_then(|i| subject.functions.get(i)).copied().unwrap_or(0)
}

/// The instructions that stand for a load.
fn read(load: Insn, data: i16, saved: &[u8], helper: i32) -> Vec<Insn> {
    let fp = 10;
    let size = match load.opcode & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    };
    let place = |i: usize| data - 8 * (i as i16 + 1);
    let mut out = Vec::new();
    for (i, reg) in saved.iter().enumerate() {
        out.push(Insn { opcode: 0x7b, dst: fp, src: *reg, off: place(i), imm: 0 });
    }
    if load.src != 3 {
        out.push(Insn { opcode: 0xbf, dst: 3, src: load.src, ..Insn::default() });
    }
    if load.off != 0 {
        out.push(Insn { opcode: 0x07, dst: 3, imm: load.off.into(), ..Insn::default() });
    }
    out.push(Insn { opcode: 0xbf, dst: 1, src: fp, ..Insn::default() });
    out.push(Insn { opcode: 0x07, dst: 1, imm: data.into(), ..Insn::default() });
    out.push(Insn { opcode: 0xb7, dst: 2, imm: size, ..Insn::default() });
    out.push(Insn { opcode: 0x85, imm: helper, ..Insn::default() });
    for (i, reg) in saved.iter().enumerate() {
        out.push(Insn { opcode: 0x79, dst: *reg, src: fp, off: place(i), imm: 0 });
    }
    out.push(Insn { src: fp, off: data, ..load });
    out
}

/// Functions that call one another share 512 bytes (`check_max_stack_depth`).
fn check_depth(program: &str, facts: &Facts, depths: &BTreeMap<usize, i32>) -> Result<(), PassError> {
    let own = |f: usize| (-depths.get(&f).copied().unwrap_or(0)).max(1).div_euclid(32) * 32;
    let rounded = |f: usize| {
        let exact = (-depths.get(&f).copied().unwrap_or(0)).max(1);
        if exact % 32 == 0 { exact } else { own(f) + 32 }
    };
    let mut todo = vec![(0usize, rounded(0), 1usize)];
    let mut steps = 0;
    while let Some((function, used, frames)) = todo.pop() {
        steps += 1;
        // A single function has its own limit; more than this many ways are no real program's.
        if frames > 1 && used > STACK {
            return Err(PassError::CallStack { program: program.to_owned(), used: used.unsigned_abs() });
        }
        if frames < FRAMES && steps < 10_000 {
            let callees = facts.calls.get(&function).into_iter().flatten();
            todo.extend(callees.map(|c| (*c, used + rounded(*c), frames + 1)));
        }
    }
    Ok(())
}
