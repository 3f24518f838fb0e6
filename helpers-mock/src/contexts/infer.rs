//! What a program takes its arguments for, where no kernel's types say what they are.
//!
//! A program whose arguments have types says by its uses which: relocated accesses name the structure, and so do the
//! parameters of the functions that an argument is given to. Arguments that tell nothing are numbers.

use bpf_vm_shim::btf::{Btf, Type, TypeId};
use bpf_vm_shim::isa::{Form, Insn, Op, class, lookup};
use bpf_vm_shim::object::KfuncDecl;

use super::sizes::MAX_FUNC_ARGS;
use crate::flow::{Target, jump_target};
use crate::progs::LoadedProg;

const REGS: usize = 11;
const CTX: usize = 1;
const FP: u8 = 10;
const DOUBLE_LOAD: u8 = 0x79;
const DOUBLE_STORE: u8 = 0x7b;
const MOVE_IMM: u8 = 0xb7;
const ADD: u8 = 0x0f;

/// What a register or stack slot holds, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Other,
    Context,
    /// This argument's value.
    Arg(u8),
    /// The offset of a field of this type.
    Offset(TypeId),
}

#[derive(Clone, PartialEq, Eq)]
struct State {
    regs: [Held; REGS],
    stack: [Held; 64],
}

impl State {
    fn reg(&self, reg: u8) -> Held {
        self.regs.get(usize::from(reg)).copied().unwrap_or(Held::Other)
    }

    fn set(&mut self, reg: u8, held: Held) {
        if let Some(place) = self.regs.get_mut(usize::from(reg)) {
            *place = held;
        }
    }

    fn slot(&mut self, off: i16) -> Option<&mut Held> {
        let at = usize::try_from(i32::from(off) + 512).ok()?;
        if at % 8 == 0 { self.stack.get_mut(at / 8) } else { None }
    }

    /// What holds on either of two ways; `false` if nothing changes.
    fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        let theirs = other.regs.iter().chain(&other.stack);
        for (mine, theirs) in self.regs.iter_mut().chain(&mut self.stack).zip(theirs) {
            if *mine != *theirs && *mine != Held::Other {
                *mine = Held::Other;
                changed = true;
            }
        }
        changed
    }
}

/// The structures that a program's arguments point to, in its object's types, by number.
pub(super) fn pointees(prog: &LoadedProg) -> [Option<TypeId>; MAX_FUNC_ARGS] {
    let mut found = [None; MAX_FUNC_ARGS];
    let Some(btf) = prog.object.btf.as_ref() else { return found };
    let end = prog.linked.subprogs.first().map_or(prog.linked.insns.len(), |s| s.end);
    let insns = prog.linked.insns.get(..end).unwrap_or_default();
    let mut entry = State { regs: [Held::Other; REGS], stack: [Held::Other; 64] };
    entry.regs[CTX] = Held::Context;
    let mut before: Vec<Option<State>> = vec![None; insns.len()];
    let mut todo = vec![0];
    if let Some(first) = before.first_mut() {
        *first = Some(entry);
    }
    while let Some(at) = todo.pop() {
        let (Some(insn), Some(mut state)) = (insns.get(at), before.get(at).cloned().flatten()) else {
            continue;
        };
        step(insn, &mut state);
        if let (MOVE_IMM, Some(ty)) = (insn.opcode, field(prog, at)) {
            state.set(insn.dst, Held::Offset(ty));
        }
        let next = at + if insn.is_ld_imm64() { 2 } else { 1 };
        let (to, falls) = match jump_target(at, *insn) {
            Target::Next => (None, true),
            Target::Goto(to) => (Some(to), false),
            Target::Branch(to) => (Some(to), true),
            Target::Table | Target::Exit => (None, false),
        };
        for to in to.into_iter().chain(falls.then_some(next)) {
            let Some(place) = before.get_mut(to) else { continue };
            let changed = match place {
                Some(old) => old.join(&state),
                None => {
                    *place = Some(state.clone());
                    true
                }
            };
            if changed {
                todo.push(to);
            }
        }
    }
    for (at, insn) in insns.iter().enumerate() {
        let Some(Some(state)) = before.get(at) else { continue };
        let mut learn = |reg: u8, ty: Option<TypeId>| {
            if let (Held::Arg(arg), Some(ty)) = (state.reg(reg), ty)
                && let Some(place) = found.get_mut(usize::from(arg))
            {
                place.get_or_insert(ty);
            }
        };
        if let Some(ty) = field(prog, at) {
            learn(if insn.class() == class::LDX { insn.src } else { insn.dst }, structure(btf, ty));
        }
        if insn.opcode == ADD {
            for (pointer, offset) in [(insn.dst, insn.src), (insn.src, insn.dst)] {
                if let Held::Offset(ty) = state.reg(offset) {
                    learn(pointer, structure(btf, ty));
                }
            }
        }
        for (reg, ty) in (1..).zip(parameters(prog, btf, at, insn)) {
            learn(reg, ty);
        }
    }
    found
}

fn step(insn: &Insn, state: &mut State) {
    let Some(row) = lookup(insn) else { return };
    match (row.form, insn.opcode) {
        (_, DOUBLE_LOAD) => {
            let held = match state.reg(insn.src) {
                Held::Context if insn.off >= 0 && insn.off % 8 == 0 => {
                    u8::try_from(insn.off / 8).map_or(Held::Other, Held::Arg)
                }
                _ if insn.src == FP => state.slot(insn.off).map_or(Held::Other, |s| *s),
                _ => Held::Other,
            };
            state.set(insn.dst, held);
        }
        (_, DOUBLE_STORE) if insn.dst == FP => {
            let held = state.reg(insn.src);
            if let Some(slot) = state.slot(insn.off) {
                *slot = held;
            }
        }
        _ if row.op == Op::Mov64X => state.set(insn.dst, state.reg(insn.src)),
        (Form::Call | Form::Callx, _) => (0..6).for_each(|reg| state.set(reg, Held::Other)),
        (Form::StoreImm | Form::StoreReg | Form::StoreRelease | Form::Lock | Form::Jump(_), _) => {}
        (Form::Fetch | Form::Xchg, _) => state.set(insn.src, Held::Other),
        (Form::Cmpxchg | Form::LdAbs | Form::LdInd, _) => state.set(0, Held::Other),
        _ => state.set(insn.dst, Held::Other),
    }
}

/// What the function that an instruction calls takes, where it takes pointers to structures.
fn parameters(prog: &LoadedProg, btf: &Btf, at: usize, insn: &Insn) -> Vec<Option<TypeId>> {
    let declared = if insn.is_local_call() {
        let start = (at as i64 + 1).checked_add(insn.imm.into()).and_then(|t| usize::try_from(t).ok());
        prog.linked.subprogs.iter().find(|s| Some(s.start) == start).and_then(|s| s.func)
    } else if insn.is_kfunc_call() {
        prog.object.kfuncs.get(insn.imm as u32 as usize).and_then(|k: &KfuncDecl| k.proto)
    } else {
        None
    };
    let params = declared.and_then(|id| super::typed::proto_params(btf, id)).unwrap_or_default();
    params.into_iter().map(|param| super::typed::pointee(btf, param)).collect()
}

/// The type whose field's offset an instruction holds.
fn field(prog: &LoadedProg, at: usize) -> Option<TypeId> {
    let fields = &prog.linked.fields;
    let i = fields.binary_search_by_key(&at, |f| f.insn).ok()?;
    fields.get(i).map(|f| f.type_id)
}

/// A structure that the kernel may have.
fn structure(btf: &Btf, id: TypeId) -> Option<TypeId> {
    let (id, ty) = btf.resolve(id).ok()?;
    matches!(ty, Type::Struct(_)).then_some(id)
}
