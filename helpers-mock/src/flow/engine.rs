//! The fixpoint: states at the heads of straight stretches, joined until nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use bpf_vm_shim::isa::{Insn, class, pseudo};
use bpf_vm_shim::object::MapType;

use super::cfg::{Shape, Target, callee, jump_target};
use super::kinds::{Detail, Kinds, Value};
use super::state::State;
use super::{Facts, LoadFact, Subject, alu, call, memory};
use crate::maps::Fields;

/// Instructions looked at before the analysis gives up: enough for the largest real programs several times over.
const BUDGET: usize = 4_000_000;
/// Registers and slots remembered at all, which bounds memory for hostile programs.
const REMEMBERED: usize = 4_000_000;

/// What is stored to a frame from anywhere, for those who load from it through pointers.
#[derive(Default, Debug)]
struct Frame {
    /// By slot, whoever stored.
    slots: BTreeMap<i32, Value>,
    /// By slot, what other functions stored.
    foreign: BTreeMap<i32, Value>,
    /// Stretches that depend on it.
    readers: BTreeSet<usize>,
}

pub(super) struct Engine<'a> {
    subject: &'a Subject<'a>,
    insns: &'a [Insn],
    shape: Shape,
    fields: Vec<Fields>,
    /// Where `gotox` may lead.
    table: Vec<usize>,
    states: BTreeMap<usize, State>,
    work: BTreeSet<usize>,
    /// What functions return, and the stretches that call them.
    returns: BTreeMap<usize, Value>,
    callers: BTreeMap<usize, BTreeSet<usize>>,
    frames: BTreeMap<u32, Frame>,
    /// What is stored to stacks at all.
    stored: Value,
    stored_readers: BTreeSet<usize>,
    facts: Facts,
    budget: usize,
    remembered: usize,
}

/// Where a stretch goes on.
enum Next {
    On,
    End,
}

impl<'a> Engine<'a> {
    pub(super) fn new(subject: &'a Subject<'a>) -> Self {
        let tables = &subject.tables;
        let table: Vec<usize> = tables
            .maps
            .iter()
            .filter(|m| m.map_type == MapType::InsnArray)
            .flat_map(|m| m.data.iter().flat_map(|d| d.bytes().as_chunks::<8>().0))
            .filter_map(|b| usize::try_from(u64::from_le_bytes(*b)).ok())
            .filter(|t| *t < subject.insns.len())
            .collect();
        let fields =
            tables.maps.iter().map(|m| tables.btf.map_or_else(Fields::default, |b| Fields::of_map(b, m)));
        Self {
            subject,
            insns: subject.insns,
            shape: Shape::of(subject.insns, subject.functions, &table),
            fields: fields.collect(),
            table,
            states: BTreeMap::new(),
            work: BTreeSet::new(),
            returns: BTreeMap::new(),
            callers: BTreeMap::new(),
            frames: BTreeMap::new(),
            stored: Value::NONE,
            stored_readers: BTreeSet::new(),
            facts: Facts::default(),
            budget: BUDGET,
            remembered: 0,
        }
    }

    pub(super) fn run(mut self) -> Facts {
        let mut main = State::entry(0);
        main.set(1, Value::of(Kinds::CTX));
        // Arguments that a pass has yet to load.
        (2..=5).for_each(|n| main.set(n, Value::SCALAR));
        if matches!(self.subject.prog_type, bpf_vm_shim::object::ProgType::Ext) {
            (1..=5).for_each(|n| main.set(n, Value::UNKNOWN));
        }
        self.merge(0, &main);
        self.drain();
        // Functions that nothing refers to are entered by the kernel (exception callbacks).
        for function in self.shape.functions.clone() {
            if !self.shape.referred.contains(&function) && !self.states.contains_key(&function) {
                let mut state = State::entry(function);
                (1..=5).for_each(|n| state.set(n, Value::UNKNOWN));
                self.merge(function, &state);
            }
        }
        self.drain();
        self.facts
    }

    fn drain(&mut self) {
        while let Some(head) = self.work.pop_first() {
            if self.facts.gave_up {
                return;
            }
            if let Some(state) = self.states.get(&head).cloned() {
                self.stretch(head, state);
            }
        }
    }

    /// Adds a state to those at the head of a stretch.
    fn merge(&mut self, head: usize, state: &State) {
        if head >= self.insns.len() {
            return;
        }
        let changed = match self.states.get_mut(&head) {
            Some(known) => {
                let before = known.stack.len();
                let changed = known.join(state);
                self.remembered += known.stack.len() - before;
                changed
            }
            None => {
                self.remembered += 11 + state.stack.len();
                self.states.insert(head, state.clone());
                true
            }
        };
        self.facts.gave_up |= self.remembered > REMEMBERED;
        if changed {
            self.work.insert(head);
        }
    }

    /// Follows a straight stretch to its end.
    fn stretch(&mut self, head: usize, mut state: State) {
        let function = self.shape.function(head);
        let mut slot = head;
        loop {
            let Some(insn) = self.insns.get(slot).copied() else { return };
            if self.budget == 0 {
                self.facts.gave_up = true;
                return;
            }
            self.budget -= 1;
            if self.subject.poisoned.is_some_and(|p| p.contains_key(&slot)) {
                return;
            }
            match self.step(slot, insn, &mut state, function, head) {
                Next::End => return,
                Next::On => {}
            }
            slot += if insn.is_ld_imm64() { 2 } else { 1 };
            if self.shape.leaders.get(slot).copied().unwrap_or(true) {
                if self.shape.function(slot) == function {
                    self.merge(slot, &state);
                }
                return;
            }
        }
    }

    fn step(&mut self, slot: usize, insn: Insn, state: &mut State, function: usize, head: usize) -> Next {
        match insn.class() {
            class::ALU | class::ALU64 => {
                let operand = match insn.opcode & 0x08 {
                    0 => Value::number(i64::from(insn.imm) as u64),
                    _ => state.reg(insn.src),
                };
                let value = alu::result(insn, state.reg(insn.dst), operand);
                self.deepen(function, value, 0);
                state.set(insn.dst, value);
            }
            class::LD if insn.is_ld_imm64() => {
                let value = self.wide(slot, insn);
                state.set(insn.dst, value);
            }
            class::LD => {
                (1..=5).for_each(|n| state.set(n, Value::NONE));
                state.set(0, Value::SCALAR);
            }
            class::LDX => {
                let value = self.load(slot, insn, insn.src, state, function, head);
                let signed = insn.opcode & 0xe0 == 0x80;
                state.set(insn.dst, if signed { Value::SCALAR } else { value });
            }
            class::ST => {
                let value = Value::number(i64::from(insn.imm) as u64);
                self.store(insn, value, state, function);
            }
            class::STX => self.stx(slot, insn, state, function, head),
            _ => return self.jump(slot, insn, state, function, head),
        }
        Next::On
    }

    fn wide(&self, slot: usize, insn: Insn) -> Value {
        let high = self.insns.get(slot + 1).map_or(0, |i| i.imm);
        let index = insn.imm as u32;
        let def = self.subject.tables.maps.get(index as usize);
        match insn.src {
            pseudo::IMM64 => Value::number(u64::from(index) | u64::from(high as u32) << 32),
            pseudo::MAP_FD => Value::of(Kinds::MAP),
            pseudo::MAP_VALUE => Value::of(Kinds::MAP_VALUE),
            pseudo::MAP_IDX => Value { kinds: Kinds::MAP, detail: Detail::Map(index) },
            pseudo::MAP_IDX_VALUE if def.is_some_and(|d| d.map_type == MapType::Arena) => {
                Value::of(Kinds::ARENA)
            }
            pseudo::MAP_IDX_VALUE => {
                let detail = Detail::MapValue { map: index, off: Some(i64::from(high as u32)) };
                Value { kinds: Kinds::MAP_VALUE, detail }
            }
            pseudo::BTF_ID => match self.subject.tables.ksyms.get(index as usize) {
                Some(k) if k.type_id.is_none() || k.is_func => Value::SCALAR,
                Some(_) => Value::of(Kinds::BTF),
                None => Value::of(Kinds::BTF),
            },
            pseudo::FUNC => match callee(slot, insn) {
                Some(at) => Value { kinds: Kinds::FUNC, detail: Detail::Func(at as u32) },
                None => Value::of(Kinds::FUNC),
            },
            _ => Value::UNKNOWN,
        }
    }

    /// Notes how deep a function's stack is used.
    fn deepen(&mut self, function: usize, value: Value, at: i32) {
        if let Detail::Stack { owner, off, .. } = value.detail
            && owner as usize == function
        {
            let depth = self.facts.stack.entry(function).or_insert(0);
            *depth = (*depth).min(off.saturating_add(at));
        }
    }

    fn load(
        &mut self,
        slot: usize,
        insn: Insn,
        reg: u8,
        state: &State,
        function: usize,
        head: usize,
    ) -> Value {
        let base = state.reg(reg);
        let size = size_of(insn);
        let fact = self.facts.loads.entry(slot).or_insert(LoadFact {
            base: Kinds::NONE,
            written: 0,
            definite: u16::MAX,
        });
        fact.base = fact.base.union(base.kinds);
        fact.written |= state.written();
        fact.definite &= state.definite;
        self.deepen(function, base, insn.off.into());
        let mut out = memory::load(self.subject, base, insn.off.into(), size, &self.fields);
        if base.kinds.intersects(Kinds::STACK) {
            out = out.join(self.load_stack(base.detail, insn.off.into(), size, state, function, head));
        }
        out
    }

    fn load_stack(
        &mut self,
        detail: Detail,
        at: i32,
        size: u8,
        state: &State,
        function: usize,
        head: usize,
    ) -> Value {
        if size != 8 {
            return Value::SCALAR;
        }
        let Detail::Stack { owner, off, exact } = detail else {
            self.stored_readers.insert(head);
            return Value::of(self.stored.kinds);
        };
        let off = off.saturating_add(at);
        let own = owner as usize == function;
        let frame = self.frames.entry(owner).or_default();
        if !own {
            frame.readers.insert(head);
        }
        let slots = if own { &state.stack } else { &frame.slots };
        if !exact {
            let from = super::state::slots(off, 512);
            let values = from.filter_map(|s| slots.get(&s)).fold(Value::NONE, |all, v| all.join(*v));
            return Value::of(values.kinds);
        }
        if off % 8 != 0 {
            return Value::SCALAR;
        }
        slots.get(&(-off / 8)).copied().unwrap_or(Value::NONE)
    }

    fn store(&mut self, insn: Insn, value: Value, state: &mut State, function: usize) {
        let base = state.reg(insn.dst);
        if !base.kinds.intersects(Kinds::STACK) {
            return;
        }
        self.deepen(function, base, insn.off.into());
        let whole = size_of(insn) == 8;
        let value = if whole { value } else { Value::SCALAR };
        let Detail::Stack { owner, off, exact } = base.detail else {
            // Some frame: as if every one that is pointed to.
            self.remember(None, 1, value, true);
            return;
        };
        let off = off.saturating_add(insn.off.into());
        let own = owner as usize == function;
        let slots: Vec<i32> =
            super::state::slots(off, if exact { size_of(insn).into() } else { 512 }).collect();
        let value = if exact && off % 8 == 0 { value } else { Value::of(value.kinds) };
        for slot in slots {
            if own {
                let old = state.stack.entry(slot).or_insert(Value::NONE);
                *old = if exact { value } else { old.join(value) };
            }
            self.remember(Some(owner), slot, value, !own);
        }
    }

    /// Notes a store for those who load through pointers.
    fn remember(&mut self, owner: Option<u32>, slot: i32, value: Value, foreign: bool) {
        let joined = self.stored.join(value);
        if joined.kinds != self.stored.kinds {
            self.work.extend(&self.stored_readers);
        }
        self.stored = Value::of(joined.kinds);
        let Some(owner) = owner else { return };
        let frame = self.frames.entry(owner).or_default();
        let mut changed = false;
        let mut add = |map: &mut BTreeMap<i32, Value>| {
            let old = map.entry(slot).or_insert(Value::NONE);
            let joined = old.join(value);
            changed |= joined != *old;
            *old = joined;
        };
        add(&mut frame.slots);
        if foreign {
            add(&mut frame.foreign);
        }
        if changed {
            self.work.extend(&frame.readers);
        }
    }

    fn stx(&mut self, slot: usize, insn: Insn, state: &mut State, function: usize, head: usize) {
        if insn.opcode & 0xe0 != 0xc0 {
            let value = state.reg(insn.src);
            self.store(insn, value, state, function);
            return;
        }
        match insn.imm {
            // load_acquire
            0x100 => {
                let value = self.load(slot, insn, insn.src, state, function, head);
                state.set(insn.dst, value);
            }
            // store_release
            0x110 => {
                let value = state.reg(insn.src);
                self.store(insn, value, state, function);
            }
            op => {
                self.store(insn, Value::SCALAR, state, function);
                match op {
                    0xf1 => state.set(0, Value::SCALAR),
                    _ if op & 1 != 0 => state.set(insn.src, Value::SCALAR),
                    _ => {}
                }
            }
        }
    }

    fn jump(&mut self, slot: usize, insn: Insn, state: &mut State, function: usize, head: usize) -> Next {
        match jump_target(slot, insn) {
            Target::Next => self.call(slot, insn, state, function, head),
            Target::Exit => {
                let old = self.returns.get(&function).copied();
                let joined = old.unwrap_or(Value::NONE).join(state.reg(0));
                if old != Some(joined) {
                    self.returns.insert(function, joined);
                    self.work.extend(self.callers.get(&function).into_iter().flatten());
                }
                Next::End
            }
            Target::Goto(to) => {
                self.go(to, state, function);
                Next::End
            }
            Target::Table => {
                self.facts.gave_up |= self.table.is_empty();
                for to in self.table.clone() {
                    self.go(to, state, function);
                }
                Next::End
            }
            Target::Branch(to) => self.branch(to, insn, state, function),
        }
    }

    fn go(&mut self, to: usize, state: &State, function: usize) {
        if self.shape.function(to) == function {
            self.merge(to, state);
        }
    }

    fn branch(&mut self, to: usize, insn: Insn, state: &mut State, function: usize) -> Next {
        // may_goto
        if insn.opcode == 0xe5 {
            self.go(to, state, function);
            return Next::On;
        }
        let constant = insn.opcode & 0x08 == 0;
        let operand = if constant { Value::number(i64::from(insn.imm) as u64) } else { state.reg(insn.src) };
        let dst = state.reg(insn.dst);
        let taken = alu::taken(insn, dst, operand);
        let op = insn.opcode & 0xf0;
        // Whether equality decides, and on which side it holds.
        let equality = match op {
            0x10 => Some(true),
            0x50 => Some(false),
            _ => None,
        };
        let refine = equality.filter(|_| insn.class() == class::JMP).zip(operand.constant());
        let mut there = state.clone();
        if let Some((equal_there, n)) = refine {
            there.set(insn.dst, alu::refined(dst, n, equal_there));
            state.set(insn.dst, alu::refined(dst, n, !equal_there));
        }
        if taken != Some(false) {
            self.go(to, &there, function);
        }
        if taken == Some(true) { Next::End } else { Next::On }
    }

    fn call(&mut self, slot: usize, insn: Insn, state: &mut State, function: usize, head: usize) -> Next {
        let args = state.regs;
        let result = if let Some(to) = callee(slot, insn) {
            self.note_call(function, to);
            self.callers.entry(to).or_default().insert(head);
            let mut entry = State::entry(to);
            (1..=5).for_each(|n| entry.set(n, state.reg(n)));
            self.merge(to, &entry);
            match self.returns.get(&to) {
                Some(value) => *value,
                None => return Next::End,
            }
        } else {
            self.called_back(insn, &args, function);
            self.written(insn, &args, state, function);
            match insn.src {
                _ if insn.opcode & 0x08 != 0 => Value::UNKNOWN,
                pseudo::CALL_HELPER => call::helper(self.subject, insn.imm as u32, args[1]),
                pseudo::CALL_KFUNC => call::kfunc(self.subject.tables, insn.imm),
                _ => Value::UNKNOWN,
            }
        };
        // What others wrote to this function's frame.
        let frame = self.frames.entry(function as u32).or_default();
        frame.readers.insert(head);
        for (slot, value) in &frame.foreign {
            let old = state.stack.entry(*slot).or_insert(Value::NONE);
            *old = old.join(*value);
        }
        (1..=5).for_each(|n| state.set(n, Value::NONE));
        state.set(0, result);
        Next::On
    }

    fn note_call(&mut self, function: usize, to: usize) {
        let calls = self.facts.calls.entry(function).or_default();
        if !calls.contains(&to) {
            calls.push(to);
        }
    }

    /// Functions of the program that a helper or kernel function calls.
    fn called_back(&mut self, insn: Insn, args: &[Value; 11], function: usize) {
        for arg in &args[1..6] {
            if let Detail::Func(to) = arg.detail {
                self.note_call(function, to as usize);
                let mut entry = State::entry(to as usize);
                for (n, value) in call::callback(insn, args).into_iter().enumerate() {
                    entry.set(n as u8 + 1, value);
                }
                self.merge(to as usize, &entry);
            }
        }
    }

    /// What a helper or kernel function writes to stacks.
    fn written(&mut self, insn: Insn, args: &[Value; 11], state: &mut State, function: usize) {
        for (n, len) in call::writes(insn, args) {
            let Some(arg) = args.get(n as usize).filter(|a| a.kinds.intersects(Kinds::STACK)) else {
                continue;
            };
            let Detail::Stack { owner, off, exact } = arg.detail else {
                self.remember(None, 1, Value::SCALAR, true);
                continue;
            };
            if owner as usize == function {
                state.overwrite(off, len.filter(|_| exact));
            }
            for slot in super::state::slots(off, len.filter(|_| exact).unwrap_or(512)) {
                self.remember(Some(owner), slot, Value::SCALAR, owner as usize != function);
            }
        }
    }
}

/// Bytes of a load or store.
fn size_of(insn: Insn) -> u8 {
    match insn.opcode & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}
