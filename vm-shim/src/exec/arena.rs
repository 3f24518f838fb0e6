//! Which operations work on pointers into an arena: found before the run, as the kernel's verifier finds them.
//!
//! A cast to the kernel's address space makes such a pointer; moves, arithmetic, calls of the program's own functions
//! and spills to the stack carry it on. It is 32 bits wide, so arithmetic on it is; what it points to is not in the
//! guest's address space, so accesses through it take another way (`arena_access.rs`). Source: `PTR_TO_ARENA` in
//! `kernel/bpf/verifier.c`, `convert_ctx_accesses` and `do_misc_fixups` in `kernel/bpf/fixups.c`.

use std::collections::{BTreeMap, BTreeSet};

use super::code::{DecodedOp, Reg};
use super::uop::Uop;
use crate::isa::{Form, Insn, Op, Width, lookup};

/// How a program's arena looks to the instructions that name it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ArenaView {
    /// Where user space has it. The upper half is what a cast to the user's address space adds.
    pub user_start: u64,
    /// Pointers are never cast to the user's address space (`BPF_F_NO_USER_CONV`).
    pub no_user_conv: bool,
}

/// The immediate of a cast to the kernel's address space (from 1 to 0).
pub(super) const TO_KERNEL: u64 = 1;

const REGS: usize = 11;
const FP: usize = 10;
const NO_FP: i16 = i16::MIN;

/// What is known before an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    /// Registers that may hold a pointer into the arena.
    arena: u16,
    /// Stack slots of 8 bytes that may, the lowest first.
    slots: u64,
    /// Registers that point into the frame, by their distance from R10.
    fp: [i16; REGS],
}

impl State {
    fn at_entry(arena: u16) -> Self {
        let mut fp = [NO_FP; REGS];
        fp[FP] = 0;
        Self { arena, slots: 0, fp }
    }

    fn has(&self, reg: Reg) -> bool {
        self.arena & (1 << reg as u16) != 0
    }

    fn set(&mut self, reg: Reg, arena: bool, fp: i16) {
        let bit = 1 << reg as u16;
        self.arena = if arena { self.arena | bit } else { self.arena & !bit };
        if let Some(place) = self.fp.get_mut(reg as usize) {
            *place = fp;
        }
    }

    fn distance(&self, reg: Reg) -> Option<i16> {
        self.fp.get(reg as usize).copied().filter(|d| *d != NO_FP)
    }

    /// The stack slot of an access of 8 bytes.
    fn slot(&self, reg: Reg, off: i32) -> Option<u64> {
        let at = i32::from(self.distance(reg)?).checked_add(off)?;
        ((-512..0).contains(&at) && at % 8 == 0).then(|| 1 << ((at + 512) / 8))
    }

    /// What holds on either of two ways. `None` if nothing is new.
    fn join(&self, other: &Self) -> Option<Self> {
        let mut out = *self;
        out.arena |= other.arena;
        out.slots |= other.slots;
        for (mine, theirs) in out.fp.iter_mut().zip(other.fp) {
            if *mine != theirs {
                *mine = NO_FP;
            }
        }
        (out != *self).then_some(out)
    }
}

/// Functions by their first operation, and what they are known to return.
struct Walk<'a> {
    ops: &'a [DecodedOp],
    kinds: &'a [Op],
    starts: Vec<usize>,
    /// Where jumps through registers can lead.
    targets: &'a [usize],
    before: Vec<Option<State>>,
    todo: Vec<usize>,
    /// Functions that may return a pointer into the arena.
    returns: BTreeSet<usize>,
    callers: BTreeMap<usize, BTreeSet<usize>>,
}

impl Walk<'_> {
    fn func_of(&self, op: usize) -> usize {
        let after = self.starts.partition_point(|s| *s <= op);
        after.checked_sub(1).and_then(|i| self.starts.get(i)).copied().unwrap_or(0)
    }

    fn flow(&mut self, to: usize, state: &State) {
        let Some(place) = self.before.get_mut(to) else { return };
        let new = match place {
            Some(old) => match old.join(state) {
                Some(new) => new,
                None => return,
            },
            None => *state,
        };
        *place = Some(new);
        self.todo.push(to);
    }

    fn run(&mut self) {
        for start in self.starts.clone() {
            self.flow(start, &State::at_entry(0));
        }
        while let Some(at) = self.todo.pop() {
            let (Some(op), Some(kind)) = (self.ops.get(at).copied(), self.kinds.get(at).copied()) else {
                continue;
            };
            let Some(state) = self.before.get(at).copied().flatten() else { continue };
            self.step(at, &op, kind, state);
        }
    }

    fn step(&mut self, at: usize, op: &DecodedOp, kind: Op, mut state: State) {
        let Some(row) = kind.row() else { return };
        match row.form {
            Form::Exit => {
                let func = self.func_of(at);
                if state.has(Reg::R0) && self.returns.insert(func) {
                    self.todo.extend(self.callers.get(&func).into_iter().flatten());
                }
                return;
            }
            Form::Gotox => {
                let func = self.func_of(at);
                let inside = self.targets.iter().copied().filter(|t| self.func_of(*t) == func);
                for to in inside.collect::<Vec<_>>() {
                    self.flow(to, &state);
                }
                return;
            }
            Form::Goto if matches!(kind, Op::Ja | Op::Ja32) => return self.flow(op.off as usize, &state),
            Form::Goto | Form::Jump(_) => self.flow(op.off as usize, &state),
            Form::Call | Form::Callx => self.call(at, op, kind, &mut state),
            _ => transfer(op, kind, row.form, &mut state),
        }
        self.flow(at + 1, &state);
    }

    fn call(&mut self, at: usize, op: &DecodedOp, kind: Op, state: &mut State) {
        let mut result = false;
        if kind == Op::CallLocal {
            let callee = op.off as usize;
            self.callers.entry(callee).or_default().insert(at);
            self.flow(callee, &State::at_entry(state.arena & 0b11_1110));
            result = self.returns.contains(&callee);
        }
        for reg in [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            state.set(reg, result && reg == Reg::R0, NO_FP);
        }
    }
}

/// The effect of an operation that goes on to the next.
fn transfer(op: &DecodedOp, kind: Op, form: Form, state: &mut State) {
    match (form, kind) {
        (_, Op::Mov64X) => state.set(op.dst, state.has(op.src), state.distance(op.src).unwrap_or(NO_FP)),
        (Form::Alu(_), Op::Mov64K | Op::Mov32K | Op::Mov32X) => state.set(op.dst, false, NO_FP),
        (Form::Alu(_), _) => {
            let arena = is_arena_alu(op, kind, state);
            let moved = state.distance(op.dst).filter(|_| kind == Op::Add64K);
            let moved = moved.and_then(|d| i16::try_from(i64::from(d).checked_add(op.imm as i64)?).ok());
            state.set(op.dst, arena, moved.unwrap_or(NO_FP));
        }
        (Form::Neg(_) | Form::End, _) => state.set(op.dst, state.has(op.dst), NO_FP),
        (Form::Cast, _) => state.set(op.dst, op.imm == TO_KERNEL, NO_FP),
        (Form::Load, Op::LdxDw) => {
            let spilled = state.slot(op.src, op.off).is_some_and(|slot| state.slots & slot != 0);
            state.set(op.dst, spilled, NO_FP);
        }
        (Form::Load | Form::LoadAcquire | Form::LdImm64 | Form::Movsx(_), _) => {
            state.set(op.dst, false, NO_FP)
        }
        (Form::StoreReg | Form::StoreImm, Op::StxDw | Op::StDw) => {
            if let Some(slot) = state.slot(op.dst, op.off) {
                let arena = kind == Op::StxDw && state.has(op.src);
                state.slots = if arena { state.slots | slot } else { state.slots & !slot };
            }
        }
        (Form::Fetch | Form::Xchg, _) => state.set(op.src, false, NO_FP),
        (Form::Cmpxchg | Form::LdAbs | Form::LdInd, _) => state.set(Reg::R0, false, NO_FP),
        _ => {}
    }
}

/// Whether arithmetic has a pointer into the arena as an operand: its result is one, too.
fn is_arena_alu(op: &DecodedOp, kind: Op, state: &State) -> bool {
    let by_register = kind.row().is_some_and(|r| r.uses.src());
    state.has(op.dst) || by_register && state.has(op.src)
}

/// The register that an access goes through.
fn base(op: &DecodedOp, form: Form) -> Option<Reg> {
    match form {
        Form::Load | Form::LoadAcquire => Some(op.src),
        Form::StoreImm | Form::StoreReg | Form::StoreRelease => Some(op.dst),
        Form::Lock | Form::Fetch | Form::Xchg | Form::Cmpxchg => Some(op.dst),
        _ => None,
    }
}

/// The same arithmetic on the lower halves.
fn narrow(kind: Op) -> Option<Op> {
    const CLASS: u8 = 0x07;
    const ALU: u8 = 0x04;
    let row = kind.row()?;
    let off = match row.key {
        crate::isa::Key::Off(off) => off,
        _ => 0,
    };
    let insn = Insn { opcode: row.opcode & !CLASS | ALU, dst: 0, src: 0, off, imm: 0 };
    Some(lookup(&insn)?.op)
}

/// Rewrites what works on pointers into the arena: arithmetic becomes 32 bits wide, accesses become [`Op::Arena`]. Gives
/// the accesses with what each was.
pub(super) fn rewrite(
    ops: &mut [DecodedOp],
    kinds: &mut [Op],
    starts: &[usize],
    targets: &[usize],
    view: ArenaView,
) -> BTreeMap<u32, Op> {
    let mut starts = starts.to_vec();
    starts.sort_unstable();
    let before = vec![None; ops.len()];
    let (todo, returns, callers) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
    let mut walk = Walk { ops, kinds, starts, targets, before, todo, returns, callers };
    walk.run();
    let before = walk.before;
    let mut accesses = BTreeMap::new();
    for (at, state) in before.into_iter().enumerate() {
        let (Some(op), Some(kind)) = (ops.get_mut(at), kinds.get_mut(at)) else { continue };
        if *kind == Op::AddrSpaceCast {
            *kind = cast(op, view);
            op.uop = Uop::single(*kind);
            continue;
        }
        let (Some(state), Some(row)) = (state, kind.row()) else { continue };
        if base(op, row.form).is_some_and(|reg| state.has(reg)) {
            accesses.insert(at as u32, *kind);
            *kind = Op::Arena;
        } else if matches!(row.form, Form::Alu(Width::W64))
            && !matches!(kind, Op::Mov64K | Op::Mov64X)
            && is_arena_alu(op, *kind, &state)
            && let Some(narrow) = narrow(*kind)
        {
            *kind = narrow;
            op.imm &= 0xffff_ffff;
        }
        op.uop = Uop::single(*kind);
    }
    accesses
}

/// A cast with what it needs at hand.
fn cast(op: &mut DecodedOp, view: ArenaView) -> Op {
    if op.imm == TO_KERNEL || view.no_user_conv {
        return Op::Mov32X;
    }
    op.imm = view.user_start & !0xffff_ffff;
    Op::AddrSpaceCast
}
