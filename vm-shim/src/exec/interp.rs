//! The interpreter: one match over decoded operations.
//!
//! What makes it fast: operations are decoded once to 16 bytes with jump targets resolved; a register index is masked,
//! so it needs no bounds check; instructions are counted per straight stretch, at jumps, not one by one; a memory access
//! is one comparison and one mask test on its fast path (`mem/page.rs`). Everything rare is out of line.

use std::sync::Arc;

use super::alu;
use super::code::DecodedOp;
use super::execution::{Execution, FrameKind};
use super::observe::{InsnView, Observer};
use crate::env::{Cx, Env, Flow};
use crate::fault::{FaultKind, Trap, Unsupported, UnsupportedKind};
use crate::isa::Op;
use crate::mem::{AccessKind, BadAccess, Memory, Scalar};

/// Why the interpreter's loop was left.
pub(super) enum Stop {
    /// The main function returned.
    Returned(u64),
    /// Another code runs now, or execution goes on elsewhere: enter the loop again.
    Switched,
    /// The observer or the end of a slice stopped the run before its next instruction.
    Paused,
}

/// The kernel's `BPF_MAX_LOOPS`: how often `may_goto` does not jump, per frame.
const MAX_LOOPS: u32 = 8 << 20;

/// Runs until the end, a pause or a change of code. On an error, `run.pc` is the operation at fault.
#[allow(clippy::too_many_lines, reason = "one arm per operation; the table is the structure")]
pub(super) fn run<const OBSERVED: bool>(
    run: &mut Execution,
    mem: &mut Memory,
    env: &mut dyn Env,
    observer: &mut dyn Observer,
) -> Result<Stop, Trap> {
    let code = Arc::clone(&run.code);
    let ops = code.ops();
    let mut pc = run.pc;
    // Instructions executed before this one are `debt + pc`: a straight stretch is counted by `pc` alone, and only
    // jumps have anything to do.
    let mut debt = run.executed.wrapping_sub(pc as u64);
    let stop_at = run.slice_end.min(run.limits.insns);

    /// The register named by an operand.
    macro_rules! dst {
        ($op:ident) => {
            run.regs[usize::from($op.dst & 15)]
        };
    }
    macro_rules! src {
        ($op:ident) => {
            run.regs[usize::from($op.src & 15)]
        };
    }
    /// Writes the count and the place back; `$at` is the operation to go on with or to blame.
    macro_rules! sync {
        ($at:expr) => {
            run.executed = debt.wrapping_add(pc as u64);
            run.pc = $at;
        };
    }
    /// Takes the place up again after something out of line.
    macro_rules! resume_at {
        ($to:expr) => {
            pc = $to;
            debt = run.executed.wrapping_sub(pc as u64);
        };
    }
    /// Goes to another operation, counting the stretch that ends here.
    macro_rules! jump {
        ($to:expr) => {{
            let executed = debt.wrapping_add(pc as u64);
            pc = $to as usize;
            debt = executed.wrapping_sub(pc as u64);
            if executed >= stop_at {
                return stopped(run, pc, executed);
            }
        }};
    }
    /// Ends with an error at the current operation.
    macro_rules! trap {
        ($e:expr) => {{
            sync!(pc - 1);
            return Err($e.into());
        }};
    }
    macro_rules! branch {
        ($op:ident, $cond:expr) => {
            if $cond {
                jump!($op.off)
            }
        };
    }
    macro_rules! load {
        ($op:ident, $t:ty, $bytes:expr, $conv:expr) => {{
            let addr = src!($op).wrapping_add($op.off as u64);
            match mem.load_fast::<$t>(addr) {
                Some(v) => dst!($op) = $conv(v),
                None => {
                    sync!(pc - 1);
                    let v = missed(run, mem, env, addr, $op.src, $bytes)?;
                    dst!($op) = $conv(v);
                }
            }
        }};
    }
    macro_rules! store {
        ($op:ident, $t:ty, $bytes:expr, $v:expr) => {{
            let addr = dst!($op).wrapping_add($op.off as u64);
            let v = $v;
            if !mem.store_fast::<$t>(addr, v) {
                sync!(pc - 1);
                store_missed(mem, addr, $op.dst, $bytes, v)?;
            }
        }};
    }
    /// An atomic read-modify-write: `$f` gives the new value from the old one; `$out` gets the old one.
    macro_rules! atomic {
        ($op:ident, $t:ty, $f:expr, $out:expr) => {{
            let addr = dst!($op).wrapping_add($op.off as u64);
            match atomic::<$t>(mem, addr, $op.dst, $f) {
                #[allow(clippy::redundant_closure_call, reason = "the macro's argument is a closure")]
                Ok(old) => $out(old),
                Err(kind) => trap!(kind),
            }
        }};
    }
    /// A call out of the program: usually it returns at once.
    macro_rules! call {
        ($call:expr) => {{
            sync!(pc - 1);
            match $call? {
                Flow::Return(v) => run.returned(v),
                flow => {
                    run.follow(mem, flow)?;
                    return Ok(Stop::Switched);
                }
            }
        }};
    }

    if run.executed >= stop_at {
        return stopped(run, pc, run.executed);
    }
    loop {
        let op: &DecodedOp = &ops[pc];
        if OBSERVED {
            let view =
                InsnView { code: &code, insn: code.slot(pc), regs: &run.regs(), depth: run.frames.len() };
            if observer.before(&view) {
                sync!(pc);
                return Ok(Stop::Paused);
            }
        }
        pc += 1;
        match op.op {
            Op::Add64K => dst!(op) = dst!(op).wrapping_add(op.imm),
            Op::Add32K => dst!(op) = u64::from((dst!(op) as u32).wrapping_add(op.imm as u32)),
            Op::Add64X => dst!(op) = dst!(op).wrapping_add(src!(op)),
            Op::Add32X => dst!(op) = u64::from((dst!(op) as u32).wrapping_add(src!(op) as u32)),
            Op::Sub64K => dst!(op) = dst!(op).wrapping_sub(op.imm),
            Op::Sub32K => dst!(op) = u64::from((dst!(op) as u32).wrapping_sub(op.imm as u32)),
            Op::Sub64X => dst!(op) = dst!(op).wrapping_sub(src!(op)),
            Op::Sub32X => dst!(op) = u64::from((dst!(op) as u32).wrapping_sub(src!(op) as u32)),
            Op::Mul64K => dst!(op) = dst!(op).wrapping_mul(op.imm),
            Op::Mul32K => dst!(op) = u64::from((dst!(op) as u32).wrapping_mul(op.imm as u32)),
            Op::Mul64X => dst!(op) = dst!(op).wrapping_mul(src!(op)),
            Op::Mul32X => dst!(op) = u64::from((dst!(op) as u32).wrapping_mul(src!(op) as u32)),
            Op::Or64K => dst!(op) |= op.imm,
            Op::Or32K => dst!(op) = u64::from(dst!(op) as u32 | op.imm as u32),
            Op::Or64X => dst!(op) |= src!(op),
            Op::Or32X => dst!(op) = u64::from(dst!(op) as u32 | src!(op) as u32),
            Op::And64K => dst!(op) &= op.imm,
            Op::And32K => dst!(op) = u64::from(dst!(op) as u32 & op.imm as u32),
            Op::And64X => dst!(op) &= src!(op),
            Op::And32X => dst!(op) = u64::from(dst!(op) as u32 & src!(op) as u32),
            Op::Xor64K => dst!(op) ^= op.imm,
            Op::Xor32K => dst!(op) = u64::from(dst!(op) as u32 ^ op.imm as u32),
            Op::Xor64X => dst!(op) ^= src!(op),
            Op::Xor32X => dst!(op) = u64::from(dst!(op) as u32 ^ src!(op) as u32),
            Op::Div64K => dst!(op) = alu::div64(dst!(op), op.imm),
            Op::Div64X => dst!(op) = alu::div64(dst!(op), src!(op)),
            Op::Div32K => dst!(op) = alu::div32(dst!(op), op.imm),
            Op::Div32X => dst!(op) = alu::div32(dst!(op), src!(op)),
            Op::Mod64K => dst!(op) = alu::mod64(dst!(op), op.imm),
            Op::Mod64X => dst!(op) = alu::mod64(dst!(op), src!(op)),
            Op::Mod32K => dst!(op) = alu::mod32(dst!(op), op.imm),
            Op::Mod32X => dst!(op) = alu::mod32(dst!(op), src!(op)),
            Op::Sdiv64K => dst!(op) = alu::sdiv64(dst!(op), op.imm),
            Op::Sdiv64X => dst!(op) = alu::sdiv64(dst!(op), src!(op)),
            Op::Sdiv32K => dst!(op) = alu::sdiv32(dst!(op), op.imm),
            Op::Sdiv32X => dst!(op) = alu::sdiv32(dst!(op), src!(op)),
            Op::Smod64K => dst!(op) = alu::smod64(dst!(op), op.imm),
            Op::Smod64X => dst!(op) = alu::smod64(dst!(op), src!(op)),
            Op::Smod32K => dst!(op) = alu::smod32(dst!(op), op.imm),
            Op::Smod32X => dst!(op) = alu::smod32(dst!(op), src!(op)),
            Op::Lsh64K => dst!(op) = dst!(op).wrapping_shl(op.imm as u32),
            Op::Rsh64K => dst!(op) = dst!(op).wrapping_shr(op.imm as u32),
            Op::Arsh64K => dst!(op) = (dst!(op) as i64).wrapping_shr(op.imm as u32) as u64,
            Op::Lsh32K => dst!(op) = u64::from((dst!(op) as u32).wrapping_shl(op.imm as u32)),
            Op::Rsh32K => dst!(op) = u64::from((dst!(op) as u32).wrapping_shr(op.imm as u32)),
            Op::Arsh32K => dst!(op) = u64::from((dst!(op) as i32).wrapping_shr(op.imm as u32) as u32),
            Op::Mov64K => dst!(op) = op.imm,
            Op::Mov32K => dst!(op) = u64::from(op.imm as u32),
            Op::Lsh64X => dst!(op) = dst!(op).wrapping_shl(src!(op) as u32),
            Op::Rsh64X => dst!(op) = dst!(op).wrapping_shr(src!(op) as u32),
            Op::Arsh64X => dst!(op) = (dst!(op) as i64).wrapping_shr(src!(op) as u32) as u64,
            Op::Lsh32X => dst!(op) = u64::from((dst!(op) as u32).wrapping_shl(src!(op) as u32)),
            Op::Rsh32X => dst!(op) = u64::from((dst!(op) as u32).wrapping_shr(src!(op) as u32)),
            Op::Arsh32X => dst!(op) = u64::from((dst!(op) as i32).wrapping_shr(src!(op) as u32) as u32),
            Op::Mov64X => dst!(op) = src!(op),
            Op::Mov32X => dst!(op) = u64::from(src!(op) as u32),
            Op::Neg64 => dst!(op) = dst!(op).wrapping_neg(),
            Op::Neg32 => dst!(op) = u64::from((dst!(op) as u32).wrapping_neg()),
            Op::Movsx8To64 => dst!(op) = src!(op) as i8 as u64,
            Op::Movsx16To64 => dst!(op) = src!(op) as i16 as u64,
            Op::Movsx32To64 => dst!(op) = src!(op) as i32 as u64,
            Op::Movsx8To32 => dst!(op) = u64::from(src!(op) as i8 as u32),
            Op::Movsx16To32 => dst!(op) = u64::from(src!(op) as i16 as u32),
            Op::Le16 => dst!(op) = u64::from(dst!(op) as u16),
            Op::Le32 => dst!(op) = u64::from(dst!(op) as u32),
            Op::Le64 => {}
            Op::Be16 | Op::Bswap16 => dst!(op) = u64::from((dst!(op) as u16).swap_bytes()),
            Op::Be32 | Op::Bswap32 => dst!(op) = u64::from((dst!(op) as u32).swap_bytes()),
            Op::Be64 | Op::Bswap64 => dst!(op) = dst!(op).swap_bytes(),
            Op::Jeq64K => branch!(op, dst!(op) == op.imm),
            Op::Jeq32K => branch!(op, (dst!(op) as u32) == (op.imm as u32)),
            Op::Jne64K => branch!(op, dst!(op) != op.imm),
            Op::Jne32K => branch!(op, (dst!(op) as u32) != (op.imm as u32)),
            Op::Jgt64K => branch!(op, dst!(op) > op.imm),
            Op::Jgt32K => branch!(op, (dst!(op) as u32) > (op.imm as u32)),
            Op::Jge64K => branch!(op, dst!(op) >= op.imm),
            Op::Jge32K => branch!(op, (dst!(op) as u32) >= (op.imm as u32)),
            Op::Jlt64K => branch!(op, dst!(op) < op.imm),
            Op::Jlt32K => branch!(op, (dst!(op) as u32) < (op.imm as u32)),
            Op::Jle64K => branch!(op, dst!(op) <= op.imm),
            Op::Jle32K => branch!(op, (dst!(op) as u32) <= (op.imm as u32)),
            Op::Jset64K => branch!(op, dst!(op) & op.imm != 0),
            Op::Jset32K => branch!(op, (dst!(op) as u32) & (op.imm as u32) != 0),
            Op::Jsgt64K => branch!(op, (dst!(op) as i64) > (op.imm as i64)),
            Op::Jsgt32K => branch!(op, (dst!(op) as i32) > (op.imm as i32)),
            Op::Jsge64K => branch!(op, (dst!(op) as i64) >= (op.imm as i64)),
            Op::Jsge32K => branch!(op, (dst!(op) as i32) >= (op.imm as i32)),
            Op::Jslt64K => branch!(op, (dst!(op) as i64) < (op.imm as i64)),
            Op::Jslt32K => branch!(op, (dst!(op) as i32) < (op.imm as i32)),
            Op::Jsle64K => branch!(op, (dst!(op) as i64) <= (op.imm as i64)),
            Op::Jsle32K => branch!(op, (dst!(op) as i32) <= (op.imm as i32)),
            Op::Jeq64X => branch!(op, dst!(op) == src!(op)),
            Op::Jeq32X => branch!(op, (dst!(op) as u32) == (src!(op) as u32)),
            Op::Jne64X => branch!(op, dst!(op) != src!(op)),
            Op::Jne32X => branch!(op, (dst!(op) as u32) != (src!(op) as u32)),
            Op::Jgt64X => branch!(op, dst!(op) > src!(op)),
            Op::Jgt32X => branch!(op, (dst!(op) as u32) > (src!(op) as u32)),
            Op::Jge64X => branch!(op, dst!(op) >= src!(op)),
            Op::Jge32X => branch!(op, (dst!(op) as u32) >= (src!(op) as u32)),
            Op::Jlt64X => branch!(op, dst!(op) < src!(op)),
            Op::Jlt32X => branch!(op, (dst!(op) as u32) < (src!(op) as u32)),
            Op::Jle64X => branch!(op, dst!(op) <= src!(op)),
            Op::Jle32X => branch!(op, (dst!(op) as u32) <= (src!(op) as u32)),
            Op::Jset64X => branch!(op, dst!(op) & src!(op) != 0),
            Op::Jset32X => branch!(op, (dst!(op) as u32) & (src!(op) as u32) != 0),
            Op::Jsgt64X => branch!(op, (dst!(op) as i64) > (src!(op) as i64)),
            Op::Jsgt32X => branch!(op, (dst!(op) as i32) > (src!(op) as i32)),
            Op::Jsge64X => branch!(op, (dst!(op) as i64) >= (src!(op) as i64)),
            Op::Jsge32X => branch!(op, (dst!(op) as i32) >= (src!(op) as i32)),
            Op::Jslt64X => branch!(op, (dst!(op) as i64) < (src!(op) as i64)),
            Op::Jslt32X => branch!(op, (dst!(op) as i32) < (src!(op) as i32)),
            Op::Jsle64X => branch!(op, (dst!(op) as i64) <= (src!(op) as i64)),
            Op::Jsle32X => branch!(op, (dst!(op) as i32) <= (src!(op) as i32)),
            Op::Ja | Op::Ja32 => jump!(op.off),
            Op::MayGoto => {
                run.may_goto += 1;
                if run.may_goto > MAX_LOOPS {
                    run.may_goto = 0;
                    jump!(op.off);
                }
            }
            Op::LdImm64 => dst!(op) = op.imm,
            Op::LdxB => load!(op, u8, 1, |v| v),
            Op::LdxH => load!(op, u16, 2, |v| v),
            Op::LdxW => load!(op, u32, 4, |v| v),
            Op::LdxDw => load!(op, u64, 8, |v| v),
            Op::LdxsB => load!(op, u8, 1, |v| v as i8 as u64),
            Op::LdxsH => load!(op, u16, 2, |v| v as i16 as u64),
            Op::LdxsW => load!(op, u32, 4, |v| v as i32 as u64),
            Op::StB => store!(op, u8, 1, op.imm),
            Op::StH => store!(op, u16, 2, op.imm),
            Op::StW => store!(op, u32, 4, op.imm),
            Op::StDw => store!(op, u64, 8, op.imm),
            Op::StxB => store!(op, u8, 1, src!(op)),
            Op::StxH => store!(op, u16, 2, src!(op)),
            Op::StxW => store!(op, u32, 4, src!(op)),
            Op::StxDw => store!(op, u64, 8, src!(op)),
            Op::CallHelper => {
                call!(env.helper(&mut Cx::new(mem, run), op.imm as u32, run.args()));
            }
            Op::CallKfunc => {
                call!(env.kfunc(&mut Cx::new(mem, run), op.imm as u32, run.args()));
            }
            Op::CallLocal => {
                sync!(pc - 1);
                run.push(mem, FrameKind::Call, op.off as usize)?;
                resume_at!(run.pc);
                if run.executed >= stop_at {
                    return stopped(run, pc, run.executed);
                }
            }
            Op::Callx => {
                let addr = dst!(op);
                let Some(target) = code.func_at(addr) else { trap!(FaultKind::BadCallTarget { addr }) };
                sync!(pc - 1);
                run.push(mem, FrameKind::Call, target)?;
                resume_at!(run.pc);
                if run.executed >= stop_at {
                    return stopped(run, pc, run.executed);
                }
            }
            Op::Exit => {
                sync!(pc - 1);
                match leave(run, mem, env)? {
                    Left::ToCaller if Arc::ptr_eq(&run.code, &code) => {
                        resume_at!(run.pc);
                    }
                    Left::ToCaller | Left::Elsewhere => return Ok(Stop::Switched),
                    Left::Program(v) => return Ok(Stop::Returned(v)),
                }
            }
            Op::LdAbsB | Op::LdAbsH | Op::LdAbsW | Op::LdIndB | Op::LdIndH | Op::LdIndW => {
                sync!(pc - 1);
                match packet(run, mem, env, op)? {
                    Some(v) => run.returned(v),
                    None => {
                        // The function ends with 0, as the kernel's expansion of these instructions does.
                        run.regs[0] = 0;
                        match leave(run, mem, env)? {
                            Left::Program(v) => return Ok(Stop::Returned(v)),
                            Left::ToCaller | Left::Elsewhere => return Ok(Stop::Switched),
                        }
                    }
                }
            }
            Op::AtomicAdd32 => {
                let v = src!(op);
                atomic!(op, u32, |old: u64| old.wrapping_add(v), |_| {});
            }
            Op::FetchAdd32 => {
                let v = src!(op);
                atomic!(op, u32, |old: u64| old.wrapping_add(v), |old| src!(op) = old);
            }
            Op::AtomicOr32 => {
                let v = src!(op);
                atomic!(op, u32, |old: u64| old | v, |_| {});
            }
            Op::FetchOr32 => {
                let v = src!(op);
                atomic!(op, u32, |old: u64| old | v, |old| src!(op) = old);
            }
            Op::AtomicAnd32 => {
                let v = src!(op);
                atomic!(op, u32, |old: u64| old & v, |_| {});
            }
            Op::FetchAnd32 => {
                let v = src!(op);
                atomic!(op, u32, |old: u64| old & v, |old| src!(op) = old);
            }
            Op::AtomicXor32 => {
                let v = src!(op);
                atomic!(op, u32, |old: u64| old ^ v, |_| {});
            }
            Op::FetchXor32 => {
                let v = src!(op);
                atomic!(op, u32, |old: u64| old ^ v, |old| src!(op) = old);
            }
            Op::Xchg32 => {
                let v = src!(op);
                atomic!(op, u32, |_| v, |old| src!(op) = old);
            }
            Op::Cmpxchg32 => {
                let (v, expected) = (src!(op), u64::from(run.regs[0] as u32));
                atomic!(op, u32, |old| if old == expected { v } else { old }, |old| run.regs[0] = old);
            }
            Op::AtomicAdd64 => {
                let v = src!(op);
                atomic!(op, u64, |old: u64| old.wrapping_add(v), |_| {});
            }
            Op::FetchAdd64 => {
                let v = src!(op);
                atomic!(op, u64, |old: u64| old.wrapping_add(v), |old| src!(op) = old);
            }
            Op::AtomicOr64 => {
                let v = src!(op);
                atomic!(op, u64, |old: u64| old | v, |_| {});
            }
            Op::FetchOr64 => {
                let v = src!(op);
                atomic!(op, u64, |old: u64| old | v, |old| src!(op) = old);
            }
            Op::AtomicAnd64 => {
                let v = src!(op);
                atomic!(op, u64, |old: u64| old & v, |_| {});
            }
            Op::FetchAnd64 => {
                let v = src!(op);
                atomic!(op, u64, |old: u64| old & v, |old| src!(op) = old);
            }
            Op::AtomicXor64 => {
                let v = src!(op);
                atomic!(op, u64, |old: u64| old ^ v, |_| {});
            }
            Op::FetchXor64 => {
                let v = src!(op);
                atomic!(op, u64, |old: u64| old ^ v, |old| src!(op) = old);
            }
            Op::Xchg64 => {
                let v = src!(op);
                atomic!(op, u64, |_| v, |old| src!(op) = old);
            }
            Op::Cmpxchg64 => {
                let (v, expected) = (src!(op), u64::from(run.regs[0] as u64));
                atomic!(op, u64, |old| if old == expected { v } else { old }, |old| run.regs[0] = old);
            }
            Op::LoadAcquire8 => {
                if let Err(kind) = aligned(src!(op).wrapping_add(op.off as u64), 1) {
                    trap!(kind);
                }
                load!(op, u8, 1, |v| v);
            }
            Op::StoreRelease8 => {
                if let Err(kind) = aligned(dst!(op).wrapping_add(op.off as u64), 1) {
                    trap!(kind);
                }
                store!(op, u8, 1, src!(op));
            }
            Op::LoadAcquire16 => {
                if let Err(kind) = aligned(src!(op).wrapping_add(op.off as u64), 2) {
                    trap!(kind);
                }
                load!(op, u16, 2, |v| v);
            }
            Op::StoreRelease16 => {
                if let Err(kind) = aligned(dst!(op).wrapping_add(op.off as u64), 2) {
                    trap!(kind);
                }
                store!(op, u16, 2, src!(op));
            }
            Op::LoadAcquire32 => {
                if let Err(kind) = aligned(src!(op).wrapping_add(op.off as u64), 4) {
                    trap!(kind);
                }
                load!(op, u32, 4, |v| v);
            }
            Op::StoreRelease32 => {
                if let Err(kind) = aligned(dst!(op).wrapping_add(op.off as u64), 4) {
                    trap!(kind);
                }
                store!(op, u32, 4, src!(op));
            }
            Op::LoadAcquire64 => {
                if let Err(kind) = aligned(src!(op).wrapping_add(op.off as u64), 8) {
                    trap!(kind);
                }
                load!(op, u64, 8, |v| v);
            }
            Op::StoreRelease64 => {
                if let Err(kind) = aligned(dst!(op).wrapping_add(op.off as u64), 8) {
                    trap!(kind);
                }
                store!(op, u64, 8, src!(op));
            }
            Op::Trap => trap!(code.trap(op.imm)),
        }
    }
}

/// The budget's end is a fault, a slice's end is a pause.
#[cold]
fn stopped(run: &mut Execution, pc: usize, executed: u64) -> Result<Stop, Trap> {
    run.pc = pc;
    run.executed = executed;
    if run.executed >= run.limits.insns {
        return Err(FaultKind::Budget { limit: run.limits.insns }.into());
    }
    Ok(Stop::Paused)
}

#[cold]
fn refused(mem: &mut Memory, bad: BadAccess, reg: u8) -> FaultKind {
    let problem = mem.explain(bad);
    FaultKind::Access { access: bad, problem, reg }
}

/// A load that the fast path could not do: a page not in the cache, a typed kernel pointer, or a fault.
#[cold]
fn missed(
    run: &mut Execution,
    mem: &mut Memory,
    env: &mut dyn Env,
    addr: u64,
    reg: u8,
    size: u8,
) -> Result<u64, Trap> {
    let bad = match mem.load(addr, size) {
        Ok(v) => return Ok(v),
        Err(bad) => bad,
    };
    match env.load_typed(&mut Cx::new(mem, run), addr, size) {
        Some(v) => Ok(v),
        None => Err(refused(mem, bad, reg).into()),
    }
}

#[cold]
fn store_missed(mem: &mut Memory, addr: u64, reg: u8, size: u8, v: u64) -> Result<(), Trap> {
    mem.store(addr, size, v).map_err(|bad| refused(mem, bad, reg).into())
}

fn aligned(addr: u64, size: u8) -> Result<(), FaultKind> {
    if addr.is_multiple_of(u64::from(size)) { Ok(()) } else { Err(FaultKind::Misaligned { addr, size }) }
}

/// The verifier wants atomic operations aligned to their size (`check_atomic_rmw`).
fn atomic<T: Scalar>(
    mem: &mut Memory,
    addr: u64,
    reg: u8,
    f: impl FnOnce(u64) -> u64,
) -> Result<u64, FaultKind> {
    aligned(addr, T::SIZE as u8)?;
    let old = mem.load(addr, T::SIZE as u8).map_err(|bad| refused(mem, bad, reg))?;
    let write = BadAccess { kind: AccessKind::Write, addr, size: T::SIZE };
    mem.store(addr, T::SIZE as u8, f(old)).map_err(|_| refused(mem, write, reg))?;
    Ok(old)
}

enum Left {
    /// Execution goes on after the call.
    ToCaller,
    /// A helper has done something else.
    Elsewhere,
    /// The whole program ends with this.
    Program(u64),
}

/// Leaves a function: to its caller, to the helper it ran for, or the program as a whole.
fn leave(run: &mut Execution, mem: &mut Memory, env: &mut dyn Env) -> Result<Left, Trap> {
    let value = run.regs[0];
    if run.frames.is_empty() {
        env.exit(&mut Cx::new(mem, run), value)?;
    }
    match run.pop(mem) {
        None | Some(FrameKind::Exception) => Ok(Left::Program(value)),
        Some(FrameKind::Call) => {
            run.returned(value);
            Ok(Left::ToCaller)
        }
        Some(FrameKind::Callback(resume)) => {
            // The helper's call goes on: the calling operation is the one before the return address.
            run.pc -= 1;
            let flow = env.resume(&mut Cx::new(mem, run), resume, value)?;
            let returns = matches!(flow, Flow::Return(_));
            run.follow(mem, flow)?;
            Ok(if returns { Left::ToCaller } else { Left::Elsewhere })
        }
    }
}

/// Legacy packet access. `None` ends the function with 0.
#[cold]
fn packet(
    run: &mut Execution,
    mem: &mut Memory,
    env: &mut dyn Env,
    op: &DecodedOp,
) -> Result<Option<u64>, Trap> {
    let (size, indirect) = match op.op {
        Op::LdAbsB => (1, false),
        Op::LdAbsH => (2, false),
        Op::LdAbsW => (4, false),
        Op::LdIndB => (1, true),
        Op::LdIndH => (2, true),
        Op::LdIndW => (4, true),
        other => {
            let name = format!("{other:?}");
            return Err(Unsupported::new(UnsupportedKind::Opcode, name).into());
        }
    };
    let index = if indirect { run.regs[usize::from(op.src & 15)] as i32 } else { 0 };
    let offset = (op.imm as i32).wrapping_add(index);
    env.packet(&mut Cx::new(mem, run), offset, size)
}
