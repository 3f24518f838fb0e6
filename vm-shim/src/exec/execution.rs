//! A run in flight as a value: registers, frames, place. It can be stopped anywhere and gone on with.

use std::sync::Arc;

use super::code::Code;
use super::interp;
use super::observe::Observer;
use crate::env::{Callback, Env, Flow, Resume};
use crate::fault::{Fault, FaultKind, Site, Trap, TrapKind, Unsupported};
use crate::mem::{Alloc, Area, MemError, Memory, Perm, RegionKind};

/// The kernel's `MAX_CALL_FRAMES`, counted from the last global function or tail call.
pub(crate) const MAX_FRAMES: usize = 8;
/// All frames together: each of 33 tail calls may begin with eight more.
const MAX_TOTAL_FRAMES: usize = 8 * 34;
/// The kernel's `MAX_BPF_STACK`.
pub(crate) const STACK_SIZE: u64 = 512;
/// The kernel's `MAX_TAIL_CALL_CNT`.
const MAX_TAIL_CALLS: u32 = 33;

/// What bounds a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Instructions before the run is taken for endless. Checked at jumps and calls.
    pub insns: u64,
    /// Whether reading stack bytes that were never written is allowed, as the kernel does for privileged programs
    /// since 6.3.
    pub uninit_stack: bool,
}

impl Default for Limits {
    /// 100 million instructions; uninitialised reads are faults.
    fn default() -> Self {
        Self { insns: 100_000_000, uninit_stack: false }
    }
}

/// How a run ended: exactly one of these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The program returned this in R0.
    Returned(u64),
    /// The program did something wrong.
    Fault(Box<Fault>),
    /// The program needed what this implementation does not do.
    Unsupported(Unsupported),
}

/// Whether a run has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// It has.
    Done(Outcome),
    /// It was stopped before an instruction and can go on.
    Paused,
}

#[derive(Clone, Debug)]
pub(super) enum FrameKind {
    /// Called by an instruction.
    Call,
    /// Called on behalf of a helper.
    Callback(Resume),
    /// The exception callback: its result is the program's.
    Exception,
}

/// What a callee must give back to its caller.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) code: Arc<Code>,
    pub(super) return_to: usize,
    pub(super) saved: [u64; 4],
    pub(super) may_goto: u32,
    nesting: usize,
}

/// A run in flight.
// The registers come first, so that the interpreter reaches them through the pointer that it has anyway.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Execution {
    pub(super) regs: [u64; 16],
    pub(super) pc: usize,
    pub(super) code: Arc<Code>,
    pub(super) frames: Vec<Frame>,
    pub(super) stack: u64,
    pub(super) ctx: u64,
    pub(super) executed: u64,
    pub(super) limits: Limits,
    pub(super) slice_end: u64,
    pub(super) may_goto: u32,
    tail_calls: u32,
    /// Frames since the last global function or tail call, this one included.
    nesting: usize,
    /// An exception without a callback has ended the program; R0 is its result.
    pub(super) thrown: bool,
}

impl Execution {
    /// Bytes from one frame's stack to the next; what is between is a red zone.
    const FRAME_PITCH: u64 = 1024;

    /// Allocates the stacks for one run at a time; to be used again by later runs.
    ///
    /// # Errors
    /// If the memory limit is reached.
    pub fn alloc_stack(mem: &mut Memory) -> Result<u64, MemError> {
        // The frames' bytes are opened at each entry and closed at each return.
        let alloc = Alloc::new(Area::Stack, RegionKind::Stack, STACK_SIZE as u32, "")
            .count(MAX_TOTAL_FRAMES as u32)
            .align(Self::FRAME_PITCH as u32)
            .perm(Perm::None);
        mem.alloc(alloc)
    }

    /// A run of `code` from its beginning with the first registers given, on a stack from [`Self::alloc_stack`].
    ///
    /// `args[0]` is taken for the context.
    #[must_use]
    pub fn new(code: Arc<Code>, args: [u64; 5], stack: u64, limits: Limits, mem: &mut Memory) -> Self {
        let mut run = Self {
            regs: [0; 16],
            pc: 0,
            code,
            frames: Vec::new(),
            stack,
            ctx: args[0],
            executed: 0,
            limits,
            slice_end: u64::MAX,
            may_goto: 0,
            tail_calls: 0,
            nesting: 1,
            thrown: false,
        };
        run.regs[1..6].copy_from_slice(&args);
        run.enter_frame(mem);
        run
    }

    /// Starts at another function than the main one (a timer's callback).
    ///
    /// `None` if no function starts at that address.
    #[must_use]
    pub fn at_function(mut self, addr: u64) -> Option<Self> {
        self.pc = self.code.func_at(addr)?;
        Some(self)
    }

    /// Instructions executed so far.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// Registers R0 to R10.
    #[must_use]
    pub fn regs(&self) -> [u64; 11] {
        let mut out = [0; 11];
        out.copy_from_slice(&self.regs[..11]);
        out
    }

    /// The code it is in.
    #[must_use]
    pub fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// The slot of the next instruction.
    #[must_use]
    pub fn insn(&self) -> u32 {
        self.code.slot(self.pc)
    }

    /// Runs to the end.
    pub fn run(&mut self, mem: &mut Memory, env: &mut dyn Env) -> Outcome {
        self.slice_end = u64::MAX;
        loop {
            if let Step::Done(outcome) = self.go::<false>(mem, env, &mut Unobserved) {
                return outcome;
            }
        }
    }

    /// Runs for about `insns` instructions: the run pauses at the first jump after them.
    pub fn run_slice(&mut self, mem: &mut Memory, env: &mut dyn Env, insns: u64) -> Step {
        self.slice_end = self.executed.saturating_add(insns);
        self.go::<false>(mem, env, &mut Unobserved)
    }

    /// Runs until the end or until the observer pauses it. On going on, the observer sees the instruction that it
    /// paused at once more.
    pub fn run_observed(&mut self, mem: &mut Memory, env: &mut dyn Env, observer: &mut dyn Observer) -> Step {
        self.slice_end = u64::MAX;
        self.go::<true>(mem, env, observer)
    }

    fn go<const OBSERVED: bool>(
        &mut self,
        mem: &mut Memory,
        env: &mut dyn Env,
        observer: &mut dyn Observer,
    ) -> Step {
        loop {
            match interp::run::<OBSERVED>(self, mem, env, observer) {
                Ok(interp::Stop::Paused) => return Step::Paused,
                Ok(interp::Stop::Switched) if self.thrown => {
                    return Step::Done(Outcome::Returned(self.regs[0]));
                }
                Ok(interp::Stop::Switched) => {}
                Ok(interp::Stop::Returned(v)) => return Step::Done(Outcome::Returned(v)),
                Err(trap) => {
                    return Step::Done(match trap.into_kind() {
                        TrapKind::Unsupported(gap) => {
                            env.gave_up(Self::site(&self.code, self.pc));
                            Outcome::Unsupported(gap)
                        }
                        TrapKind::Fault(kind) => Outcome::Fault(Box::new(self.fault(kind))),
                    });
                }
            }
        }
    }

    fn site(code: &Code, op: usize) -> Site {
        let insn = code.slot(op);
        let func = code.func_of(insn).map(|f| Arc::clone(&f.name)).unwrap_or_default();
        Site { prog: Arc::clone(code.name()), func, insn }
    }

    /// `pc` is the faulting operation.
    fn fault(&self, kind: FaultKind) -> Fault {
        let callers = self.frames.iter().rev();
        Fault {
            kind,
            at: Self::site(&self.code, self.pc),
            callers: callers.map(|f| Self::site(&f.code, f.return_to.saturating_sub(1))).collect(),
            regs: self.regs(),
        }
    }

    fn frame_top(&self) -> u64 {
        self.stack + Self::FRAME_PITCH * self.frames.len() as u64 + STACK_SIZE
    }

    fn enter_frame(&mut self, mem: &mut Memory) {
        let top = self.frame_top();
        self.regs[10] = top;
        let perm = if self.limits.uninit_stack { Perm::ReadWrite } else { Perm::Uninit };
        mem.reset(top - STACK_SIZE, STACK_SIZE, perm);
    }

    /// The argument registers.
    #[inline]
    pub(crate) fn args(&self) -> &[u64; 5] {
        match self.regs[1..].first_chunk() {
            Some(args) => args,
            None => &[0; 5],
        }
    }

    /// The context argument.
    #[must_use]
    pub fn ctx(&self) -> u64 {
        self.ctx
    }

    /// How many frames deep it is, 0 for the main function.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.frames.len()
    }

    /// Enters a function: what the caller needs back goes on the frame stack.
    pub(super) fn push(
        &mut self,
        mem: &mut Memory,
        kind: FrameKind,
        target: usize,
        global: bool,
    ) -> Result<(), FaultKind> {
        let nesting = if global { 1 } else { self.nesting + 1 };
        if nesting > MAX_FRAMES || self.frames.len() + 1 >= MAX_TOTAL_FRAMES {
            return Err(FaultKind::CallDepth { limit: MAX_FRAMES });
        }
        let saved = [self.regs[6], self.regs[7], self.regs[8], self.regs[9]];
        let code = Arc::clone(&self.code);
        let may_goto = std::mem::take(&mut self.may_goto);
        let outer = std::mem::replace(&mut self.nesting, nesting);
        self.frames.push(Frame { kind, code, return_to: self.pc + 1, saved, may_goto, nesting: outer });
        self.pc = target;
        self.enter_frame(mem);
        Ok(())
    }

    /// Jumps to an address from a jump table; `pc` is the jumping operation.
    pub(super) fn jump_to(&mut self, addr: u64) -> Result<(), FaultKind> {
        self.pc = self.code.jump_target(self.pc, addr).ok_or(FaultKind::BadCallTarget { addr })?;
        Ok(())
    }

    /// Leaves a function. `None`: it was the main one.
    pub(super) fn pop(&mut self, mem: &mut Memory) -> Option<FrameKind> {
        // The frame is gone: a pointer into it that survives is a use after return.
        mem.protect(self.regs[10] - STACK_SIZE, STACK_SIZE, Perm::None);
        let frame = self.frames.pop()?;
        self.regs[6..10].copy_from_slice(&frame.saved);
        self.regs[10] = self.frame_top();
        self.may_goto = frame.may_goto;
        self.nesting = frame.nesting;
        self.pc = frame.return_to;
        self.code = frame.code;
        Some(frame.kind)
    }

    /// Does what a call led to; `pc` is the calling operation and ends up where to go on.
    pub(super) fn follow(&mut self, mem: &mut Memory, flow: Flow) -> Result<(), Trap> {
        match flow {
            Flow::Return(v) => {
                self.returned(v);
                self.pc += 1;
                Ok(())
            }
            Flow::Callback(callback) => {
                let Callback { addr, args, resume } = *callback;
                let target = self.code.func_at(addr).ok_or(FaultKind::BadCallTarget { addr })?;
                self.push(mem, FrameKind::Callback(resume), target, false)?;
                self.regs[1..6].copy_from_slice(&args);
                Ok(())
            }
            Flow::TailCall(code) => {
                if self.tail_calls >= MAX_TAIL_CALLS {
                    // bpf_tail_call() fails by falling through; its documentation promises a negative error.
                    self.returned(-1i64 as u64);
                    self.pc += 1;
                    return Ok(());
                }
                self.tail_calls += 1;
                self.code = code;
                self.pc = 0;
                self.may_goto = 0;
                self.nesting = 1;
                self.regs[1] = self.ctx;
                self.enter_frame(mem);
                Ok(())
            }
            Flow::Throw(cookie) => self.throw(mem, cookie),
        }
    }

    fn throw(&mut self, mem: &mut Memory, cookie: u64) -> Result<(), Trap> {
        while !self.frames.is_empty() {
            self.pop(mem);
        }
        match self.code.exception_cb() {
            Some(target) => {
                self.push(mem, FrameKind::Exception, target, false)?;
                self.regs[1] = cookie;
            }
            None => {
                self.regs[0] = cookie;
                self.thrown = true;
            }
        }
        Ok(())
    }

    /// A call's result. R1 to R5 keep what they held: a program that reads them is told so before it runs (`uninit.rs`).
    pub(super) fn returned(&mut self, v: u64) {
        self.regs[0] = v;
    }
}

/// Stands in where nobody watches.
struct Unobserved;

impl Observer for Unobserved {
    fn before(&mut self, _: &super::observe::InsnView<'_>) -> bool {
        false
    }
}
