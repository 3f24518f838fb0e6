//! Putting instructions in, and moving along whatever refers to those behind them.

use std::collections::{BTreeMap, BTreeSet};

use bpf_vm_shim::isa::{Insn, pseudo};
use bpf_vm_shim::object::Poison;

use super::PassError;
use crate::flow::{Target, jump_target};

/// What becomes of one instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Edit {
    /// Other instructions stand in its place; jumps to it lead to the first of them.
    Replace(Vec<Insn>),
    /// Others run before it when the function is entered; jumps to it pass them by.
    Enter(Vec<Insn>),
}

/// Changes by slot.
pub(super) type Edits = BTreeMap<usize, Edit>;

/// The outcome: instructions, and the place of each old one. A function begins where code that is run on entering it
/// begins.
#[derive(Debug)]
pub(super) struct Patch {
    pub(super) insns: Vec<Insn>,
    pub(super) places: Vec<usize>,
}

/// Applies changes. Jumps that become too long take another form if the kernel has it.
pub(super) fn splice(
    program: &str,
    insns: &[Insn],
    edits: &Edits,
    long_jumps: bool,
    poisoned: Option<&BTreeMap<usize, Poison>>,
) -> Result<Patch, PassError> {
    let poisoned = |slot: usize| poisoned.is_some_and(|p| p.contains_key(&slot));
    let mut long = BTreeSet::new();
    loop {
        let layout = Layout::of(insns, edits, &long);
        let mut out = Vec::with_capacity(layout.end);
        let mut grown = false;
        let mut slot = 0;
        while let Some(insn) = insns.get(slot) {
            match edits.get(&slot) {
                Some(Edit::Replace(code)) => {
                    out.extend_from_slice(code);
                    slot += 1;
                    continue;
                }
                Some(Edit::Enter(code)) => out.extend_from_slice(code),
                None => {}
            }
            if insn.is_ld_imm64() && !poisoned(slot) {
                let mut first = *insn;
                if insn.src == pseudo::FUNC {
                    first.imm = layout.function(slot, insn.imm.into(), out.len()) as i32;
                }
                out.push(first);
                out.extend(insns.get(slot + 1));
                slot += 2;
                continue;
            }
            let mut insn = *insn;
            match jump_target(slot, insn) {
                _ if poisoned(slot) => out.push(insn),
                Target::Goto(to) | Target::Branch(to) => {
                    let distance = |from: usize| layout.jump(to) - from as i64 - 1;
                    if insn.opcode == 0x06 {
                        insn.imm = distance(out.len()) as i32;
                        out.push(insn);
                    } else if !long.contains(&slot) {
                        let d = distance(out.len());
                        match i16::try_from(d) {
                            Ok(off) => insn.off = off,
                            Err(_) if long_jumps => grown |= long.insert(slot),
                            Err(_) => {
                                let program = program.to_owned();
                                return Err(PassError::JumpTooLong { program, insn: slot, distance: d });
                            }
                        }
                        out.push(insn);
                    } else {
                        let gotol = |d: i64| Insn { opcode: 0x06, imm: d as i32, ..Insn::default() };
                        if matches!(jump_target(slot, insn), Target::Branch(_)) {
                            insn.off = 1;
                            out.push(insn);
                            out.push(Insn { opcode: 0x05, off: 1, ..Insn::default() });
                        }
                        let d = distance(out.len());
                        out.push(gotol(d));
                    }
                }
                Target::Table => {
                    return Err(PassError::JumpTable { program: program.to_owned(), insn: slot });
                }
                Target::Next | Target::Exit => {
                    if insn.is_local_call() {
                        insn.imm = layout.function(slot, insn.imm.into(), out.len()) as i32;
                    }
                    out.push(insn);
                }
            }
            slot += 1;
        }
        if !grown {
            return Ok(Patch { insns: out, places: layout.starts });
        }
    }
}

/// Where everything goes.
struct Layout {
    /// By old slot: the first instruction that belongs to it.
    starts: Vec<usize>,
    /// By old slot: where jumps to it lead.
    targets: Vec<usize>,
    end: usize,
}

impl Layout {
    fn of(insns: &[Insn], edits: &Edits, long: &BTreeSet<usize>) -> Self {
        let (mut starts, mut targets) = (Vec::new(), Vec::new());
        let mut at = 0;
        for (slot, insn) in insns.iter().enumerate() {
            starts.push(at);
            let (before, own) = match edits.get(&slot) {
                Some(Edit::Replace(code)) => (0, code.len()),
                Some(Edit::Enter(code)) => (code.len(), 1),
                None => (0, 1),
            };
            let own = match jump_target(slot, *insn) {
                Target::Branch(_) if long.contains(&slot) => own + 2,
                _ => own,
            };
            targets.push(at + before);
            at += before + own;
        }
        starts.push(at);
        targets.push(at);
        Self { starts, targets, end: at }
    }

    /// Where a jump to an old slot leads.
    fn jump(&self, to: usize) -> i64 {
        self.targets.get(to).copied().unwrap_or(self.end) as i64
    }

    /// The distance from `from` to the function that was `distance` away from an old slot.
    fn function(&self, slot: usize, distance: i64, from: usize) -> i64 {
        let to = usize::try_from(slot as i64 + 1 + distance).unwrap_or(usize::MAX);
        self.starts.get(to).copied().unwrap_or(self.end) as i64 - from as i64 - 1
    }
}
