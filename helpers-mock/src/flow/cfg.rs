//! Where control goes: jump targets and function borders.

use std::collections::BTreeSet;

use bpf_vm_shim::isa::{Insn, class, pseudo};

/// Where an instruction may go besides the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// Nowhere: it goes on.
    Next,
    /// There, always.
    Goto(usize),
    /// There, or on.
    Branch(usize),
    /// To one of a table's entries.
    Table,
    /// Out of the function.
    Exit,
}

/// Where an instruction goes. A target before the program is `usize::MAX`.
pub(crate) fn jump_target(slot: usize, insn: Insn) -> Target {
    let to = |distance: i64| {
        let to = (slot as i64).checked_add(1).and_then(|s| s.checked_add(distance));
        to.and_then(|t| usize::try_from(t).ok()).unwrap_or(usize::MAX)
    };
    if !matches!(insn.class(), class::JMP | class::JMP32) {
        return Target::Next;
    }
    match insn.opcode {
        0x85 | 0x8d => Target::Next,
        0x95 => Target::Exit,
        0x0d => Target::Table,
        0x05 => Target::Goto(to(insn.off.into())),
        0x06 => Target::Goto(to(insn.imm.into())),
        _ => Target::Branch(to(insn.off.into())),
    }
}

/// The function that a call or a function reference names.
pub(super) fn callee(slot: usize, insn: Insn) -> Option<usize> {
    let refers = insn.is_local_call() || (insn.is_ld_imm64() && insn.src == pseudo::FUNC);
    let to = (slot as i64 + 1).checked_add(insn.imm.into())?;
    refers.then_some(to).and_then(|t| usize::try_from(t).ok())
}

/// The shape of a program.
#[derive(Debug)]
pub(super) struct Shape {
    /// Where functions start, ascending.
    pub(super) functions: Vec<usize>,
    /// Functions that something refers to.
    pub(super) referred: BTreeSet<usize>,
    /// Where straight stretches start.
    pub(super) leaders: Vec<bool>,
}

impl Shape {
    pub(super) fn of(insns: &[Insn], functions: &[usize], table: &[usize]) -> Self {
        let mut leaders = vec![false; insns.len()];
        let mut starts: BTreeSet<usize> = functions.iter().copied().filter(|s| *s < insns.len()).collect();
        starts.insert(0);
        let mut referred = BTreeSet::new();
        let mut lead = |at: usize| {
            if let Some(l) = leaders.get_mut(at) {
                *l = true;
            }
        };
        let mut slot = 0;
        while let Some(insn) = insns.get(slot) {
            match jump_target(slot, *insn) {
                Target::Next => {}
                Target::Goto(to) | Target::Branch(to) => {
                    lead(to);
                    lead(slot + 1);
                }
                Target::Table | Target::Exit => lead(slot + 1),
            }
            if let Some(to) = callee(slot, *insn).filter(|t| *t < insns.len()) {
                starts.insert(to);
                referred.insert(to);
            }
            slot += if insn.is_ld_imm64() { 2 } else { 1 };
        }
        starts.iter().chain(table).for_each(|s| lead(*s));
        Self { functions: starts.into_iter().collect(), referred, leaders }
    }

    /// The function around an instruction.
    pub(super) fn function(&self, slot: usize) -> usize {
        let after = self.functions.partition_point(|f| *f <= slot);
        after.checked_sub(1).and_then(|i| self.functions.get(i)).copied().unwrap_or(0)
    }
}
