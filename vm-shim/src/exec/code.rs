//! Programs made ready to run: validated and decoded once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::arena::{self, ArenaView};
use super::uninit;
use super::uop::{Uop, fuse};
use crate::fault::{FaultKind, TrapKind, Unsupported};
use crate::isa::{Form, Insn, Key, Op, TABLE, Uses, class, disassemble, lookup, pseudo};

/// The kernel's limit on a program's length (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MAX_INSNS: usize = 1_000_000;
/// Function addresses start here; the code's id and the slot follow.
const FUNC_BASE: u64 = 0xffff_a000_0000_0000;

/// A program that is not valid, found before it runs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("instruction {insn} ({text}): {problem}")]
pub struct InvalidCode {
    /// The instruction's slot.
    pub insn: usize,
    /// The instruction, disassembled.
    pub text: String,
    /// What is wrong with it.
    pub problem: InvalidKind,
}

/// Why an instruction is not valid. The wording follows the kernel's verifier.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKind {
    /// There are no instructions.
    #[error("the program is empty")]
    Empty,
    /// Too many instructions.
    #[error("the program has {0} instructions, over the limit of {MAX_INSNS}")]
    TooLong(usize),
    /// No such operation code.
    #[error("unknown opcode {0:02x}")]
    UnknownOpcode(u8),
    /// The opcode exists, but not with this offset, immediate or source.
    #[error("unknown variant of opcode {0:02x} (offset, immediate or source field)")]
    UnknownVariant(u8),
    /// The second half of `ld_imm64` is missing or not zero where it must be.
    #[error("invalid bpf_ld_imm64 insn")]
    BadImm64,
    /// A map or BTF reference that nothing has resolved.
    #[error("unresolved reference (pseudo source {0}) in ld_imm64")]
    Unresolved(u8),
    /// A register number above 10.
    #[error("R{0} is invalid")]
    BadRegister(u8),
    /// A write to R10.
    #[error("frame pointer is read only")]
    WritesFramePointer,
    /// A field that the operation does not use is not zero.
    #[error("uses reserved fields")]
    ReservedFields,
    /// A jump or call target outside the program or its function.
    #[error("jump out of range from insn {from} to {to}")]
    JumpOutOfRange {
        /// The jump.
        from: usize,
        /// Its target.
        to: i64,
    },
    /// A jump to the second half of `ld_imm64`.
    #[error("jump into the middle of ldimm64 insn {0}")]
    JumpIntoImm64(usize),
    /// The end of a function can be passed.
    #[error("last insn is not an exit or jmp")]
    FallsOff,
    /// A constant divisor of zero.
    #[error("div by zero")]
    DivByZero,
    /// An address space cast of another kind than between the user's and the kernel's.
    #[error("addr_space_cast insn can only convert between user and kernel (immediate {0:#x})")]
    BadCast(i32),
    /// A constant shift by the operand's width or more.
    #[error("invalid shift {0}")]
    BadShift(i32),
}

/// A register number that is known to be one: indexing sixteen registers with it needs no bounds check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[rustfmt::skip]
pub(crate) enum Reg { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, R13, R14, R15 }

impl Reg {
    fn new(number: u8) -> Self {
        use Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, R13, R14, R15};
        [R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, R13, R14, R15][usize::from(number & 15)]
    }
}

impl InvalidKind {
    /// Whether the kernel looks for this only on paths that can be taken, which is more than the control flow tells:
    /// such an instruction is a fault when it is reached, no reason to refuse the program.
    const fn path_sensitive(&self) -> bool {
        matches!(self, Self::WritesFramePointer | Self::DivByZero | Self::BadShift(_))
    }
}

/// An instruction as the interpreter wants it: 16 bytes, everything resolved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecodedOp {
    pub(crate) uop: Uop,
    pub(crate) dst: Reg,
    pub(crate) src: Reg,
    /// A displacement in bytes, or the target of a jump or call as an index into the decoded operations.
    pub(crate) off: i32,
    /// The immediate, sign-extended; or an index (helper, kernel function, trap).
    pub(crate) imm: u64,
}

/// An operation and those behind it, which may go as one with it: one cache line.
pub(crate) type Cell = [DecodedOp; 4];

/// A function of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its name, empty if unknown.
    pub name: Arc<str>,
    /// Its first instruction's slot.
    pub insn: usize,
    /// Whether it is global: the kernel verifies such a function by itself, so call depth is counted anew in it.
    pub global: bool,
}

/// What a [`Code`] is made from.
#[derive(Clone, Default, Debug)]
pub struct CodeSpec<'a> {
    /// A number that is unique among the programs of one machine; part of its function addresses.
    pub id: u32,
    /// The program's name.
    pub name: &'a str,
    /// Its instructions, linked: no map reference is left, functions are relative.
    pub insns: &'a [Insn],
    /// Its named functions.
    pub funcs: Vec<Function>,
    /// Instructions that must not run, and why.
    pub poisoned: BTreeMap<usize, String>,
    /// Instructions that need what is not simulated.
    pub unsupported: BTreeMap<usize, Unsupported>,
    /// The arena that it works on, if any.
    pub arena: Option<ArenaView>,
    /// Slots that its jump tables name, in any order.
    pub jump_targets: Vec<usize>,
    /// The slot of the function that `bpf_throw` ends in.
    pub exception_cb: Option<usize>,
    /// Accept what the kernel refuses but the RFC defines: constant shifts by the width or more, division by a constant
    /// zero, registers that nothing has written.
    pub lenient: bool,
}

/// A validated program.
#[derive(Debug)]
pub struct Code {
    id: u32,
    name: Arc<str>,
    /// Each operation with the one after it, which the interpreter wants at hand.
    cells: Vec<Cell>,
    slots: Vec<u32>,
    index: Vec<u32>,
    funcs: Vec<Function>,
    traps: Vec<TrapKind>,
    /// What the operations marked as [`Op::Arena`] are.
    arena_ops: BTreeMap<u32, Op>,
    exception_cb: Option<u32>,
    insns: Vec<Insn>,
}

/// Marks the second slot of `ld_imm64` in `Code::index`.
const NO_OP: u32 = u32::MAX;

impl Code {
    /// Validates and decodes a program.
    ///
    /// Source of the rules: `kernel/bpf/verifier.c`, `check_subprogs`, `check_cfg`, `resolve_pseudo_ldimm64` and the
    /// field checks of `do_check`. What nothing can reach may have bad fields, but not unknown opcodes, as there.
    ///
    /// # Errors
    /// The first invalid instruction.
    pub fn new(spec: CodeSpec<'_>) -> Result<Self, InvalidCode> {
        // R1, the context.
        Self::with_entry(spec, 0b10)
    }

    /// As [`Code::new`], with the registers in `entry` (bit 1 for R1) holding values when the program starts. Bit 0 is
    /// for programs whose result nobody uses: they need not set R0.
    ///
    /// # Errors
    /// The first invalid instruction.
    pub fn with_entry(spec: CodeSpec<'_>, entry: u16) -> Result<Self, InvalidCode> {
        Builder { spec: &spec, insns: spec.insns, entry }.build()
    }

    /// The number given to it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The program's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its instructions.
    #[must_use]
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// Its functions, by slot; the first is the main function.
    #[must_use]
    pub fn funcs(&self) -> &[Function] {
        &self.funcs
    }

    /// The function that an instruction belongs to.
    #[must_use]
    pub fn func_of(&self, insn: u32) -> Option<&Function> {
        let after = self.funcs.partition_point(|f| f.insn <= insn as usize);
        self.funcs.get(after.checked_sub(1)?)
    }

    /// The guest address of a function by its slot.
    #[must_use]
    pub fn func_addr(&self, insn: usize) -> u64 {
        func_addr(self.id, insn)
    }

    /// The id of the code that a function address belongs to.
    #[must_use]
    pub fn id_of_addr(addr: u64) -> Option<u32> {
        (addr & 0xffff_f000_0000_0000 == FUNC_BASE & 0xffff_f000_0000_0000)
            .then_some((addr >> 24) as u32 & 0xf_ffff)
    }

    /// The operation index of the function at an address, if one starts there.
    pub(crate) fn func_at(&self, addr: u64) -> Option<usize> {
        let slot = addr.checked_sub(self.func_addr(0))? / 8;
        let known = self.funcs.binary_search_by_key(&(slot as usize), |f| f.insn).is_ok();
        (known && addr == self.func_addr(slot as usize)).then(|| self.index[slot as usize] as usize)
    }

    /// The guest address of an instruction, as a jump table holds it.
    #[must_use]
    pub fn insn_addr(id: u32, slot: usize) -> u64 {
        func_addr(id, slot)
    }

    /// The operation that an address in a jump table means, for a jump by the operation `from` of the same function.
    #[inline(never)]
    pub(crate) fn jump_target(&self, from: usize, addr: u64) -> Option<usize> {
        let slot = addr.checked_sub(self.func_addr(0)).filter(|d| d.is_multiple_of(8))? / 8;
        let to = *self.index.get(usize::try_from(slot).ok()?).filter(|i| **i != NO_OP)?;
        let func = |slot| self.func_of(slot).map(|f| f.insn);
        (func(slot as u32) == func(self.slot(from))).then_some(to as usize)
    }

    /// What an operation marked as [`Op::Arena`] is.
    pub(crate) fn arena_op(&self, op: usize) -> Op {
        self.arena_ops.get(&(op as u32)).copied().unwrap_or(Op::Trap)
    }

    /// Whether a function of this program starts at an address.
    #[must_use]
    pub fn has_func_at(&self, addr: u64) -> bool {
        self.func_at(addr).is_some()
    }

    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    pub(crate) fn slot(&self, op: usize) -> u32 {
        self.slots.get(op).copied().unwrap_or(self.insns.len() as u32)
    }

    pub(crate) fn trap(&self, index: u64) -> TrapKind {
        let end = FaultKind::InvalidInstruction { why: "the end of the program".to_owned() };
        self.traps.get(index as usize).cloned().unwrap_or(TrapKind::Fault(end))
    }

    pub(crate) fn exception_cb(&self) -> Option<usize> {
        self.exception_cb.map(|op| op as usize)
    }
}

fn func_addr(id: u32, insn: usize) -> u64 {
    FUNC_BASE + ((u64::from(id) & 0xf_ffff) << 24) + insn as u64 * 8
}

fn trap_op(index: usize) -> DecodedOp {
    DecodedOp { uop: Uop::Trap, dst: Reg::R0, src: Reg::R0, off: 0, imm: index as u64 }
}

struct Builder<'a> {
    spec: &'a CodeSpec<'a>,
    insns: &'a [Insn],
    entry: u16,
}

impl Builder<'_> {
    fn error(&self, insn: usize, problem: InvalidKind) -> InvalidCode {
        let text = self.insns.get(insn).map(|i| disassemble(i, self.insns.get(insn + 1)));
        InvalidCode { insn, text: text.unwrap_or_default(), problem }
    }

    fn poisoned(&self, slot: usize) -> bool {
        self.spec.poisoned.contains_key(&slot)
    }

    fn build(&self) -> Result<Code, InvalidCode> {
        let len = self.insns.len();
        if len == 0 {
            return Err(self.error(0, InvalidKind::Empty));
        }
        if len > MAX_INSNS {
            return Err(self.error(0, InvalidKind::TooLong(len)));
        }
        let (slots, index) = self.number()?;
        let funcs = self.functions(&index)?;
        self.check_borders(&funcs, &index)?;
        let reachable = self.reachable(&funcs);
        let mut traps = Vec::new();
        let mut ops = Vec::with_capacity(slots.len());
        for &slot in &slots {
            ops.push(self.decode(slot as usize, &index, &reachable, &mut traps)?);
        }
        // No pairs yet: each micro-operation is a single one.
        let mut kinds: Vec<Op> = ops.iter().map(|o| o.uop.first()).collect();
        if !self.spec.lenient {
            let starts: Vec<usize> = funcs.iter().map(|f| index[f.insn] as usize).collect();
            for (at, reg) in uninit::find(&ops, &kinds, &starts, self.entry) {
                traps.push(TrapKind::Fault(FaultKind::UninitRegister { reg }));
                ops[at] = trap_op(traps.len() - 1);
                kinds[at] = Op::Trap;
            }
        }
        let arena_ops = self.arena(&mut ops, &mut kinds, &funcs, &index, &mut traps);
        fuse(&mut ops, &kinds);
        let end = trap_op(usize::MAX);
        let at = |i: usize| ops.get(i).copied().unwrap_or(end);
        // What would run past the end runs into the last.
        let cells = (0..=ops.len()).map(|i| [at(i), at(i + 1), at(i + 2), at(i + 3)]).collect();
        Ok(Code {
            id: self.spec.id,
            name: self.spec.name.into(),
            cells,
            slots,
            exception_cb: self.spec.exception_cb.and_then(|s| index.get(s).copied()).filter(|i| *i != NO_OP),
            index,
            funcs,
            traps,
            arena_ops,
            insns: self.insns.to_vec(),
        })
    }

    /// Prepares what works on the arena; without one, casts may not be reached.
    fn arena(
        &self,
        ops: &mut [DecodedOp],
        kinds: &mut [Op],
        funcs: &[Function],
        index: &[u32],
        traps: &mut Vec<TrapKind>,
    ) -> BTreeMap<u32, Op> {
        if !kinds.contains(&Op::AddrSpaceCast) {
            return BTreeMap::new();
        }
        let op_at = |slot: &usize| index.get(*slot).filter(|i| **i != NO_OP).map(|i| *i as usize);
        if let Some(view) = self.spec.arena {
            let starts: Vec<usize> = funcs.iter().filter_map(|f| op_at(&f.insn)).collect();
            let targets: Vec<usize> = self.spec.jump_targets.iter().filter_map(op_at).collect();
            return arena::rewrite(ops, kinds, &starts, &targets, view);
        }
        for (op, kind) in ops.iter_mut().zip(kinds).filter(|(_, k)| **k == Op::AddrSpaceCast) {
            let why = "addr_space_cast insn can only be used in a program that has an associated arena";
            traps.push(TrapKind::Fault(FaultKind::InvalidInstruction { why: why.to_owned() }));
            *op = trap_op(traps.len() - 1);
            *kind = Op::Trap;
        }
        BTreeMap::new()
    }

    /// Numbers the operations: `ld_imm64` takes two slots. Unknown opcodes are refused wherever they stand.
    fn number(&self) -> Result<(Vec<u32>, Vec<u32>), InvalidCode> {
        let mut slots = Vec::with_capacity(self.insns.len());
        let mut index = vec![NO_OP; self.insns.len()];
        let mut slot = 0;
        while let Some(insn) = self.insns.get(slot) {
            index[slot] = slots.len() as u32;
            slots.push(slot as u32);
            if insn.is_ld_imm64() {
                let second = self.insns.get(slot + 1);
                if !second.is_some_and(|s| s.opcode == 0 && s.dst == 0 && s.src == 0 && s.off == 0) {
                    return Err(self.error(slot, InvalidKind::BadImm64));
                }
                slot += 2;
                continue;
            }
            if !self.poisoned(slot) && !TABLE.iter().any(|r| r.opcode == insn.opcode) {
                return Err(self.error(slot, InvalidKind::UnknownOpcode(insn.opcode)));
            }
            slot += 1;
        }
        Ok((slots, index))
    }

    /// A relative target, checked to be an instruction of the program.
    fn target(&self, slot: usize, distance: i64, index: &[u32]) -> Result<usize, InvalidCode> {
        let to = slot as i64 + 1 + distance;
        match usize::try_from(to).ok().and_then(|t| index.get(t).map(|i| (t, *i))) {
            None => Err(self.error(slot, InvalidKind::JumpOutOfRange { from: slot, to })),
            Some((t, NO_OP)) => Err(self.error(slot, InvalidKind::JumpIntoImm64(t - 1))),
            Some((t, _)) => Ok(t),
        }
    }

    /// The distance of a jump, if the instruction is one.
    fn jump(&self, slot: usize) -> Option<i64> {
        let insn = &self.insns[slot];
        if !matches!(insn.class(), class::JMP | class::JMP32) || self.poisoned(slot) {
            return None;
        }
        match insn.opcode {
            0x85 | 0x95 | 0x8d | 0x0d => None,
            0x06 => Some(insn.imm.into()),
            _ => Some(insn.off.into()),
        }
    }

    /// All functions: the main one, those that are named, called or referred to.
    fn functions(&self, index: &[u32]) -> Result<Vec<Function>, InvalidCode> {
        let mut starts = BTreeSet::from([0]);
        for (slot, insn) in self.insns.iter().enumerate().filter(|(s, _)| index[*s] != NO_OP) {
            let refers = insn.is_local_call() || (insn.is_ld_imm64() && insn.src == pseudo::FUNC);
            if refers && !self.poisoned(slot) {
                starts.insert(self.target(slot, insn.imm.into(), index)?);
            }
        }
        let named: BTreeMap<usize, &Function> = self.spec.funcs.iter().map(|f| (f.insn, f)).collect();
        starts.extend(named.keys().copied().filter(|s| index.get(*s).is_some_and(|i| *i != NO_OP)));
        let name = |s: &usize| match named.get(s) {
            Some(f) => Arc::clone(&f.name),
            None if *s == 0 => self.spec.name.into(),
            None => "".into(),
        };
        let global = |s: &usize| named.get(s).is_some_and(|f| f.global);
        Ok(starts.iter().map(|s| Function { name: name(s), insn: *s, global: global(s) }).collect())
    }

    /// No jump leaves its function and no function runs into the next.
    fn check_borders(&self, funcs: &[Function], index: &[u32]) -> Result<(), InvalidCode> {
        for (i, func) in funcs.iter().enumerate() {
            let end = funcs.get(i + 1).map_or(self.insns.len(), |f| f.insn);
            let mut last = func.insn;
            for slot in (func.insn..end).filter(|s| index[*s] != NO_OP) {
                last = slot;
                let Some(distance) = self.jump(slot) else { continue };
                let to = self.target(slot, distance, index)?;
                if to < func.insn || to >= end {
                    return Err(self.error(slot, InvalidKind::JumpOutOfRange { from: slot, to: to as i64 }));
                }
            }
            if !matches!(self.insns[last].opcode, 0x95 | 0x05 | 0x06 | 0x0d) && !self.poisoned(last) {
                return Err(self.error(last, InvalidKind::FallsOff));
            }
        }
        Ok(())
    }

    /// Which slots some path from a function's start reaches.
    fn reachable(&self, funcs: &[Function]) -> Vec<bool> {
        let mut seen = vec![false; self.insns.len()];
        let mut todo: Vec<usize> = funcs.iter().map(|f| f.insn).collect();
        while let Some(slot) = todo.pop() {
            if seen.get(slot).is_none_or(|s| *s) {
                continue;
            }
            seen[slot] = true;
            let insn = &self.insns[slot];
            let next = slot + if insn.is_ld_imm64() { 2 } else { 1 };
            match (insn.opcode, self.jump(slot)) {
                (0x95 | 0x0d, _) => {}
                (0x05 | 0x06, Some(d)) => todo.push((slot as i64 + 1 + d) as usize),
                (_, Some(d)) => todo.extend([next, (slot as i64 + 1 + d) as usize]),
                (_, None) => todo.push(next),
            }
        }
        seen
    }

    fn decode(
        &self,
        slot: usize,
        index: &[u32],
        reachable: &[bool],
        traps: &mut Vec<TrapKind>,
    ) -> Result<DecodedOp, InvalidCode> {
        let mut trap = |kind| {
            traps.push(kind);
            trap_op(traps.len() - 1)
        };
        if let Some(what) = self.spec.poisoned.get(&slot) {
            return Ok(trap(TrapKind::Fault(FaultKind::Poisoned { what: what.clone() })));
        }
        if let Some(gap) = self.spec.unsupported.get(&slot) {
            return Ok(trap(TrapKind::Unsupported(gap.clone())));
        }
        match self.decode_valid(slot, index) {
            Ok(op) => Ok(op),
            Err(error) if reachable[slot] && !error.problem.path_sensitive() => Err(error),
            Err(error) => {
                let why = error.problem.to_string();
                Ok(trap(TrapKind::Fault(FaultKind::InvalidInstruction { why })))
            }
        }
    }

    fn decode_valid(&self, slot: usize, index: &[u32]) -> Result<DecodedOp, InvalidCode> {
        let insn = &self.insns[slot];
        let err = |problem| self.error(slot, problem);
        let row = lookup(insn).ok_or_else(|| err(InvalidKind::UnknownVariant(insn.opcode)))?;
        let uses = row.uses;
        for (used, reg) in [(uses.dst(), insn.dst), (uses.src(), insn.src)] {
            if used && reg > 10 {
                return Err(err(InvalidKind::BadRegister(reg)));
            }
        }
        let callx = row.op == Op::Callx;
        let reserved = (!uses.dst() && insn.dst != 0)
            || (!uses.src()
                && insn.src != 0
                && !matches!(row.key, Key::Src(_))
                && uses != Uses::DstPseudoImm
                && !callx)
            || (!uses.off() && insn.off != 0 && !matches!(row.key, Key::Off(_)))
            || (!uses.imm() && insn.imm != 0 && !matches!(row.key, Key::Imm(_)));
        if reserved {
            return Err(err(InvalidKind::ReservedFields));
        }
        let writes_dst = match row.form {
            Form::Alu(_) | Form::Neg(_) | Form::Movsx(_) | Form::End | Form::LdImm64 => Some(insn.dst),
            Form::Load | Form::LoadAcquire => Some(insn.dst),
            Form::Fetch | Form::Xchg => Some(insn.src),
            _ => None,
        };
        if writes_dst == Some(10) {
            return Err(err(InvalidKind::WritesFramePointer));
        }
        self.check_constant(slot, row.op).map_err(err)?;
        let mut op = DecodedOp {
            uop: Uop::single(row.op),
            dst: Reg::new(insn.dst),
            src: Reg::new(insn.src),
            off: insn.off.into(),
            imm: i64::from(insn.imm) as u64,
        };
        match row.form {
            Form::Jump(_) | Form::Goto => {
                let distance = self.jump(slot).unwrap_or_default();
                op.off = index[self.target(slot, distance, index)?] as i32;
            }
            Form::Call => match row.op {
                Op::CallLocal => {
                    let target = self.target(slot, insn.imm.into(), index)?;
                    op.off = index[target] as i32;
                    let global = self.spec.funcs.iter().any(|f| f.insn == target && f.global);
                    op.src = if global { Reg::R1 } else { Reg::R0 };
                }
                _ => op.imm = u64::from(insn.imm as u32),
            },
            Form::LdImm64 => op.imm = self.imm64(slot, index)?,
            _ => {}
        }
        // Narrow operations compare and compute on the lower half; the sign extension of their constant is noise.
        if matches!(row.form, Form::Alu(crate::isa::Width::W32) | Form::Jump(crate::isa::Width::W32)) {
            op.imm &= 0xffff_ffff;
        }
        Ok(op)
    }

    /// Constant operands that no verifier accepts: shifts by the width or more, division by a constant zero.
    fn check_constant(&self, slot: usize, op: Op) -> Result<(), InvalidKind> {
        let imm = self.insns[slot].imm;
        match op {
            Op::AddrSpaceCast if imm != 1 && imm != 1 << 16 => Err(InvalidKind::BadCast(imm)),
            _ if self.spec.lenient => Ok(()),
            Op::Lsh64K | Op::Rsh64K | Op::Arsh64K if !(0..64).contains(&imm) => {
                Err(InvalidKind::BadShift(imm))
            }
            Op::Lsh32K | Op::Rsh32K | Op::Arsh32K if !(0..32).contains(&imm) => {
                Err(InvalidKind::BadShift(imm))
            }
            Op::Div64K | Op::Div32K | Op::Mod64K | Op::Mod32K if imm == 0 => Err(InvalidKind::DivByZero),
            Op::Sdiv64K | Op::Sdiv32K | Op::Smod64K | Op::Smod32K if imm == 0 => Err(InvalidKind::DivByZero),
            _ => Ok(()),
        }
    }

    fn imm64(&self, slot: usize, index: &[u32]) -> Result<u64, InvalidCode> {
        let insn = &self.insns[slot];
        let high = self.insns[slot + 1].imm as u32;
        match insn.src {
            pseudo::IMM64 => Ok((u64::from(high) << 32) | u64::from(insn.imm as u32)),
            pseudo::FUNC => Ok(func_addr(self.spec.id, self.target(slot, insn.imm.into(), index)?)),
            other => Err(self.error(slot, InvalidKind::Unresolved(other))),
        }
    }
}
