//! Following all paths of a program (`do_check` in `kernel/bpf/verifier.c`).

use std::collections::{BTreeMap, BTreeSet};

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::isa::{Insn, class, pseudo};
use bpf_vm_shim::object::{AttachTarget, KfuncDecl, Poison, ProgType, SubprogDef};

use super::call::forget_packets;
use super::mem::Access;
use super::state::{Circle, Frame, Ptr, Reg, State, Step, Stop, Target, Ty, refuse};
use super::structure::Facts;
use super::why::Why;
use crate::kernel::Kernel;
use crate::maps::MapId;
use crate::progs::LoadedProg;

/// Instructions followed before the rest is accepted.
const BUDGET: u32 = 60_000;
/// States remembered at one jump target.
const REMEMBERED: usize = 24;
/// States remembered at all, and paths waiting: what a hostile program may cost in memory.
const REMEMBERED_IN_ALL: usize = 10_000;
const PENDING: usize = 5_000;
/// `MAX_CALL_FRAMES`.
const MAX_FRAMES: usize = 8;

/// What is looked at of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program<'a> {
    pub(super) prog_type: ProgType,
    pub(super) attach: &'a AttachTarget,
    pub(super) insns: &'a [Insn],
    pub(super) subprogs: &'a [SubprogDef],
    pub(super) poisoned: &'a BTreeMap<usize, Poison>,
    pub(super) maps: &'a [MapId],
    pub(super) kfuncs: &'a [KfuncDecl],
    pub(super) btf: Option<&'a Btf>,
}

impl<'a> Program<'a> {
    pub(super) fn of(prog: &'a LoadedProg) -> Self {
        let (linked, object) = (&prog.linked, &prog.object);
        Self {
            prog_type: prog.prog_type,
            attach: &linked.attach,
            insns: &linked.insns,
            subprogs: &linked.subprogs,
            poisoned: &linked.poisoned,
            maps: &object.maps,
            kfuncs: &object.kfuncs,
            btf: object.btf.as_ref(),
        }
    }
}

/// A walk over one program.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) prog: Program<'a>,
    pub(super) insns: &'a [Insn],
    pub(super) todo: Vec<State>,
    pub(super) globals: BTreeSet<usize>,
    seen: BTreeMap<usize, Vec<State>>,
    targets: BTreeSet<usize>,
    remembered: usize,
    budget: u32,
    /// The deepest stack slot of each function, in bytes.
    pub(super) depths: BTreeMap<usize, u32>,
    /// What functions may do.
    pub(super) facts: BTreeMap<usize, Facts>,
    /// Exception callbacks.
    pub(super) exceptions: Vec<usize>,
    /// Which instructions reach the context or a socket.
    kinds: BTreeMap<usize, u8>,
    /// Callbacks that run later.
    pub(super) later: BTreeSet<usize>,
    /// Names of types.
    names: Vec<String>,
    ids: u32,
}

/// Where a refusal was found, and why.
pub(super) type Found = (usize, Why, String);

impl<'a> Walk<'a> {
    pub(super) fn new(kernel: &'a Kernel, prog: Program<'a>) -> Self {
        let insns = prog.insns;
        let jump = |(i, insn): (usize, &Insn)| {
            let jumps = matches!(insn.class(), class::JMP | class::JMP32)
                && !matches!(insn.opcode & 0xf0, 0x80 | 0x90);
            jumps.then(|| target(i, *insn))
        };
        let targets = insns.iter().enumerate().filter_map(jump).collect();
        Self {
            kernel,
            prog,
            insns,
            todo: Vec::new(),
            globals: BTreeSet::new(),
            seen: BTreeMap::new(),
            targets,
            remembered: 0,
            budget: BUDGET,
            depths: BTreeMap::new(),
            facts: BTreeMap::new(),
            exceptions: Vec::new(),
            kinds: BTreeMap::new(),
            later: BTreeSet::new(),
            names: Vec::new(),
            ids: 0,
        }
    }

    pub(super) fn new_id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    /// The number of a type's name.
    pub(super) fn ty(&mut self, name: &str) -> Ty {
        let at = self.names.iter().position(|n| n == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        Ty(at as u32)
    }

    pub(super) fn ty_name(&self, ty: Ty) -> &str {
        self.names.get(ty.0 as usize).map_or("?", String::as_str)
    }

    /// Whether the walk ended before it had followed everything.
    pub(super) const fn gave_up(&self) -> bool {
        self.budget == 0
    }

    /// Follows all paths of the program, then of the global functions that it calls.
    pub(super) fn run(&mut self) -> Option<Found> {
        self.exceptions = self.exception_callbacks();
        if let Some(found) = self.hook().or_else(|| self.structure()) {
            return Some(found);
        }
        self.globals.extend(self.exceptions.iter().copied());
        self.walk().or_else(|| self.deep_stack())
    }

    fn walk(&mut self) -> Option<Found> {
        let mut frame = Frame::new(0, 0, 0);
        frame.regs[1] = Reg::Ptr(Ptr::to(Target::Ctx));
        let start = State::at(0, vec![frame], None);
        self.todo.push(start);
        let mut done = BTreeSet::new();
        loop {
            if let Some(found) = self.drain() {
                return Some(found);
            }
            let next = self.globals.iter().find(|g| !done.contains(*g)).copied()?;
            done.insert(next);
            if let Some(found) = self.bad_parameters(next) {
                return Some(found);
            }
            if let Some(state) = self.global_entry(next) {
                self.todo.push(state);
            }
        }
    }

    fn drain(&mut self) -> Option<Found> {
        while let Some(mut state) = self.todo.pop() {
            loop {
                if self.budget == 0 || self.todo.len() > PENDING {
                    self.todo.clear();
                    return None;
                }
                self.budget -= 1;
                let pc = state.pc;
                if self.targets.contains(&pc) {
                    match state.goes_in_circles() {
                        Circle::Yes => {
                            let m = format!("infinite loop detected at insn {pc}");
                            return Some((pc, Why::InfiniteLoop, m));
                        }
                        Circle::Perhaps => {}
                        Circle::No if self.visited(&state) => break,
                        Circle::No => {}
                    }
                }
                match self.step(state) {
                    Ok(Some(next)) => state = next,
                    Ok(None) | Err(Stop::Unsure) => break,
                    Err(Stop::Refused { id, message }) => return Some((pc, id, message)),
                }
            }
        }
        None
    }

    pub(super) fn visited(&mut self, state: &State) -> bool {
        let known = self.seen.entry(state.pc).or_default();
        if known.iter().any(|old| old.covers(state)) {
            return true;
        }
        if known.len() >= REMEMBERED {
            known.remove(0);
        } else if self.remembered >= REMEMBERED_IN_ALL {
            return false;
        } else {
            self.remembered += 1;
        }
        known.push(state.clone());
        false
    }

    /// One instruction; the state behind it, or none at the path's end.
    fn step(&mut self, mut state: State) -> Step<Option<State>> {
        let pc = state.pc;
        let insn = *self.insns.get(pc).ok_or(Stop::Unsure)?;
        if self.prog.poisoned.contains_key(&pc) {
            return Err(Stop::Unsure);
        }
        match insn.class() {
            class::ALU | class::ALU64 => self.alu(&mut state, insn)?,
            class::LD if insn.is_ld_imm64() => {
                let value = self.wide(pc, insn)?;
                state.write(insn.dst, value)?;
                state.pc += 1;
            }
            class::LD => self.legacy(&mut state, insn)?,
            class::LDX => self.ldx(&mut state, insn)?,
            class::ST | class::STX => self.st(&mut state, insn)?,
            _ => return self.jump(state, insn),
        }
        state.pc += 1;
        Ok(Some(state))
    }

    fn wide(&mut self, pc: usize, insn: Insn) -> Step<Reg> {
        let high = self.insns.get(pc + 1).ok_or(Stop::Unsure)?.imm;
        let map = || {
            let id = self.prog.maps.get(insn.imm as u32 as usize).copied();
            id.ok_or(Stop::Unsure)
        };
        Ok(match insn.src {
            pseudo::IMM64 => Reg::constant(u64::from(insn.imm as u32) | u64::from(high as u32) << 32),
            pseudo::MAP_IDX => {
                let id: MapId = map()?;
                Reg::Ptr(Ptr::to(Target::Map(id)))
            }
            pseudo::MAP_IDX_VALUE => {
                let id: MapId = map()?;
                let def = &self.kernel.maps.get(id).ok_or(Stop::Unsure)?.def;
                if !matches!(def.map_type.name(), "array" | "insn_array") {
                    return Ok(Reg::Unknown);
                }
                Reg::Ptr(Ptr { off: i64::from(high as u32), ..Ptr::to(Target::MapValue(id)) })
            }
            pseudo::FUNC => {
                let at = (pc as i64 + 1 + i64::from(insn.imm)) as usize;
                Reg::Ptr(Ptr::to(Target::Func(at)))
            }
            _ => Reg::Unknown,
        })
    }

    fn legacy(&mut self, state: &mut State, insn: Insn) -> Step<()> {
        if !matches!(self.prog.prog_type, ProgType::SocketFilter | ProgType::SchedCls | ProgType::SchedAct) {
            let m = "BPF_LD_[ABS|IND] instructions not allowed for this program type";
            return refuse(Why::NotAllowed, m.to_owned());
        }
        self.nothing_held(state, "BPF_LD_[ABS|IND]")?;
        match state.read(6)? {
            Reg::Ptr(p) if p.target == Target::Ctx && p.fixed() == Some(0) => {}
            Reg::Unknown => {}
            _ => {
                let m = "at the time of BPF_LD_ABS|IND R6 != pointer to skb";
                return refuse(Why::NotAllowed, m.to_owned());
            }
        }
        if insn.opcode & 0xe0 == 0x40 {
            state.read(insn.src)?;
        }
        let frame = state.frame()?;
        frame.regs[1..6].fill(Reg::NotInit);
        frame.regs[0] = Reg::any();
        // Outside of the packet the function returns 0 at once.
        self.leaves(state, Reg::constant(0))
    }

    /// The function may return to its caller from where it is.
    pub(super) fn leaves(&mut self, state: &State, result: Reg) -> Step<()> {
        if let [.., _, inner] = state.frames.as_slice()
            && inner.callback.is_none()
        {
            let (ret, mut early) = (inner.ret, state.clone());
            early.frames.pop();
            let depth = early.frames.len();
            early.for_each(|r| {
                if matches!(r, Reg::Ptr(p) if p.target == Target::Stack(depth)) {
                    *r = Reg::Unknown;
                }
            });
            let caller = early.frame()?;
            caller.regs[1..6].fill(Reg::NotInit);
            caller.regs[0] = result;
            early.pc = ret;
            self.todo.push(early);
        }
        Ok(())
    }

    /// An instruction that reaches the context or a socket on one path cannot reach something else on another
    /// (`reg_type_mismatch`).
    fn same_kind(&mut self, pc: usize, base: &Reg) -> Step<()> {
        let Reg::Ptr(p) = base else { return Ok(()) };
        let kind = match p.target {
            Target::Ctx => 1,
            Target::Sock(_) => 2,
            Target::Stack(_) | Target::MapValue(_) | Target::Packet | Target::PacketMeta => 3,
            _ => return Ok(()),
        };
        match self.kinds.insert(pc, kind) {
            Some(other) if other != kind => {
                refuse(Why::NotAllowed, "same insn cannot be used with different pointers".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn ldx(&mut self, state: &mut State, insn: Insn) -> Step<()> {
        let base = state.read(insn.src)?;
        let size = size_of(insn);
        let access = Access { reg: insn.src, off: insn.off.into(), size, write: false, direct: true };
        let mode = insn.opcode & 0xe0;
        let mut value = self.load(state, base, access)?;
        let packet = |p: &Ptr| matches!(p.target, Target::Packet | Target::PacketMeta | Target::PacketEnd);
        let from_ctx = matches!(base, Reg::Ptr(p) if p.target == Target::Ctx);
        self.same_kind(state.pc, &base)?;
        if mode == 0x80 && from_ctx && matches!(&value, Reg::Ptr(p) if packet(p)) {
            let m = format!("invalid bpf_context access off={} size={size}", insn.off);
            return refuse(Why::CtxAccess, m);
        }
        if mode == 0x80 {
            value = match value {
                Reg::Scalar(s, _) => Reg::scalar(s.sext(size as u32)),
                _ => Reg::Unknown,
            };
        } else if mode != 0x60 {
            value = Reg::Unknown;
        }
        state.write(insn.dst, value)
    }

    fn st(&mut self, state: &mut State, insn: Insn) -> Step<()> {
        let size = size_of(insn);
        let mut access = Access { reg: insn.dst, off: insn.off.into(), size, write: true, direct: true };
        let mode = insn.opcode & 0xe0;
        if insn.class() == class::ST {
            let base = state.read(insn.dst)?;
            self.same_kind(state.pc, &base)?;
            return self.store(state, base, access, Reg::constant(insn.imm as i64 as u64));
        }
        let value = state.read(insn.src)?;
        let load = mode == 0xc0 && insn.imm == 0x100;
        let base = if load { value } else { state.read(insn.dst)? };
        if mode != 0xc0 {
            self.same_kind(state.pc, &base)?;
            self.link_source(state, insn.src)?;
            let value = state.read(insn.src)?;
            return self.store(state, base, access, value);
        }
        // Atomic operations.
        if load {
            access.reg = insn.src;
        }
        if insn.imm == 0xf1 {
            state.read(0)?;
        }
        if let Reg::Ptr(p) = base
            && matches!(
                p.target,
                Target::Ctx
                    | Target::Packet
                    | Target::PacketMeta
                    | Target::PacketEnd
                    | Target::Sock(_)
                    | Target::FlowKeys
            )
        {
            let verb = if load { "loads from" } else { "stores into" };
            let m = format!("BPF_ATOMIC {verb} R{} {} is not allowed", access.reg, p.target.name());
            return refuse(Why::Atomic, m);
        }
        let old = if insn.imm == 0x110 {
            Reg::any()
        } else {
            let read = Access { write: false, ..access };
            self.load(state, base, read)?
        };
        let result = match old {
            Reg::Scalar(..) => old,
            Reg::Ptr(_) if load => old,
            _ => Reg::Unknown,
        };
        if load {
            return state.write(insn.dst, result);
        }
        let stored = match (insn.imm, value) {
            (0x110, v) => v,
            _ => Reg::any(),
        };
        self.store(state, base, access, stored)?;
        if insn.imm == 0xf1 {
            state.write(0, result)?;
        } else if insn.imm & 1 != 0 {
            state.write(insn.src, result)?;
        }
        Ok(())
    }

    /// Numbers that are stored stay linked with their register.
    fn link_source(&mut self, state: &mut State, src: u8) -> Step<()> {
        if let Reg::Scalar(s, link) = state.read(src)?
            && link.id == 0
            && s.known().is_none()
        {
            let link = self.new_link();
            state.write(src, Reg::Scalar(s, link))?;
        }
        Ok(())
    }

    fn jump(&mut self, mut state: State, insn: Insn) -> Step<Option<State>> {
        let pc = state.pc;
        match insn.opcode & 0xf0 {
            0x00 if insn.opcode & 0x08 != 0 => match state.read(insn.dst)? {
                Reg::Scalar(..) => {
                    refuse(Why::NotAllowed, format!("R{} has type scalar, expected PTR_TO_INSN", insn.dst))
                }
                _ => Err(Stop::Unsure),
            },
            0x00 => {
                state.pc = target(pc, insn);
                Ok(Some(state))
            }
            0x80 => {
                state.trail.clear();
                self.call(state, insn)
            }
            0x90 => self.exit(state),
            // may_goto
            0xe0 => {
                state.trail.clear();
                let mut over = state.clone();
                over.pc = target(pc, insn);
                self.todo.push(over);
                state.pc += 1;
                Ok(Some(state))
            }
            _ => {
                let (no, yes) = self.branch(state, insn)?;
                let no = no.map(|mut s| {
                    s.pc = pc + 1;
                    s
                });
                let yes = yes.map(|mut s| {
                    s.pc = target(pc, insn);
                    s
                });
                match (no, yes) {
                    (Some(no), Some(yes)) => {
                        self.todo.push(yes);
                        Ok(Some(no))
                    }
                    (no, yes) => Ok(no.or(yes)),
                }
            }
        }
    }

    fn exit(&mut self, mut state: State) -> Step<Option<State>> {
        let r0 = state.frame()?.regs[0];
        if let Some(how) = state.frame()?.callback {
            return self.callback_exit(state, how, r0);
        }
        if state.frames.len() <= 1 {
            self.check_exit(&mut state)?;
            return Ok(None);
        }
        let depth = state.frames.len() - 1;
        if let Reg::Ptr(p) = r0
            && p.target == Target::Stack(depth)
        {
            return refuse(Why::StackAccess, "cannot return stack pointer to the caller".to_owned());
        }
        let Some(frame) = state.frames.pop() else { return Err(Stop::Unsure) };
        // Pointers to the stack that is gone cannot be used any more.
        let caller = state.frame()?;
        caller.regs[0] = r0;
        caller.regs[1..6].fill(Reg::NotInit);
        state.for_each(|r| {
            if matches!(r, Reg::Ptr(p) if p.target == Target::Stack(depth)) {
                *r = Reg::Unknown;
            }
        });
        state.pc = frame.ret;
        Ok(Some(state))
    }

    /// A call of a function of the program.
    pub(super) fn call_local(&mut self, mut state: State, at: usize) -> Step<Option<State>> {
        let ret = state.pc + 1;
        if state.lock.is_some() && self.is_global(at) {
            return Err(Stop::Unsure);
        }
        if self.is_global(at) {
            self.enter_global(&state, at)?;
            self.globals.insert(at);
            let known = self.global_arguments(&mut state, at)?;
            let params = self.params(at);
            for n in 1..=params.min(5) as u8 {
                state.read(n)?;
            }
            let void = self.returns_void(at);
            if !known && self.may_change_stack(&mut state) {
                state.forget_stacks();
            }
            let moved = self.facts(at).moves_packets;
            forget_packets(&mut state, if moved { Reg::any() } else { Reg::Unknown });
            let frame = state.frame()?;
            frame.regs[1..6].fill(Reg::NotInit);
            frame.regs[0] = if void { Reg::Unknown } else { Reg::any() };
            state.pc = ret;
            return Ok(Some(state));
        }
        if state.frames.len() >= MAX_FRAMES {
            let m = format!("the call stack of {} frames is too deep", MAX_FRAMES + 1);
            return refuse(Why::CallDepth, m);
        }
        let mut callee = Frame::new(state.frames.len(), ret, at);
        let caller = state.frame()?;
        callee.regs[1..6].copy_from_slice(&caller.regs[1..6]);
        state.frames.push(callee);
        state.pc = at;
        Ok(Some(state))
    }

    /// What holds where a global function is called.
    fn enter_global(&mut self, state: &State, at: usize) -> Step<()> {
        let facts = self.facts(at);
        if facts.throws {
            self.nothing_held(state, "bpf_throw")?;
        }
        if facts.sleeps {
            self.may_sleep(state, "global function")?;
        }
        Ok(())
    }

    /// A stack is used down to an offset.
    pub(super) fn used(&mut self, state: &State, depth: usize, off: i64) {
        if let (Some(frame), Ok(bytes)) = (state.frames.get(depth), u32::try_from(-off)) {
            let most = self.depths.entry(frame.func).or_default();
            *most = bytes.max(*most);
        }
    }

    /// Whether an argument points to a stack, so that what is called may change it.
    pub(super) fn may_change_stack(&self, state: &mut State) -> bool {
        let regs = state.frames.last().map(|f| f.regs);
        regs.is_some_and(|regs| {
            regs[1..6].iter().any(|r| {
                matches!(r, Reg::Unknown) || matches!(r, Reg::Ptr(p) if matches!(p.target, Target::Stack(_)))
            })
        })
    }
}

pub(super) fn size_of(insn: Insn) -> u64 {
    match insn.opcode & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}

/// Where a jump goes.
pub(super) fn target(pc: usize, insn: Insn) -> usize {
    let gotol = insn.class() == class::JMP32 && insn.opcode & 0xf0 == 0;
    let by = if gotol { i64::from(insn.imm) } else { i64::from(insn.off) };
    (pc as i64 + 1 + by) as usize
}
