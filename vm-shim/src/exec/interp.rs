//! The interpreter: one match over decoded operations.
//!
//! What makes it fast: operations are decoded once to 16 bytes with jump targets resolved; a register number is
//! known to be one, so it needs no bounds check; instructions are counted per straight stretch, at jumps, not one by one; a memory access
//! is one comparison and one mask test on its fast path (`mem/page.rs`). Everything rare is out of line.
//!
//! Over 800 lines, because the loop is one function: one arm for each operation, which share the local state that has
//! to stay in registers. What can live elsewhere does (`alu.rs`, `uop.rs`, `code.rs`).

use std::sync::Arc;

use super::alu;
use super::arena_access;
use super::code::{DecodedOp, Reg};
use super::execution::{Execution, FrameKind};
use super::observe::{InsnView, Observer};
use super::uop::{Uop, with_uops};
use crate::env::{CallResult, Cx, Env, Flow};
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
    let cells = code.cells();
    let stop_at = run.slice_end.min(run.limits.insns);

    if run.executed >= stop_at {
        let (pc, executed) = (run.pc, run.executed);
        return stopped(run, pc, executed);
    }
    // Two loops, so that the inner one calls nothing that is not inlined: what has to call something does it out of
    // line and takes the way over the outer loop, and the inner loop's state stays in registers.
    'enter: loop {
        let mut pc = run.pc;
        // Instructions executed before this one are `debt + pc`: a straight stretch is counted by `pc` alone, and only
        // jumps have anything to do.
        let mut debt = run.executed.wrapping_sub(pc as u64);

        /// The register named by an operand.
        macro_rules! dst {
            ($op:ident) => {
                run.regs[$op.dst as usize]
            };
        }
        macro_rules! src {
            ($op:ident) => {
                run.regs[$op.src as usize]
            };
        }
        /// Writes the count and the place back; `$at` is the operation to go on with or to blame.
        macro_rules! sync {
            ($at:expr) => {
                run.executed = debt.wrapping_add(pc as u64);
                run.pc = $at;
            };
        }
        /// Goes on with the next operation after something out of line.
        macro_rules! again {
            () => {{
                sync!(pc);
                continue 'enter;
            }};
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
                match mem.load_by::<$t>($op.src as usize, addr) {
                    Some(v) => dst!($op) = $conv(v),
                    None => {
                        sync!(pc - 1);
                        let v = missed(run, mem, env, addr, $op.src as u8, $bytes)?;
                        dst!($op) = $conv(v);
                        again!();
                    }
                }
            }};
        }
        macro_rules! store {
            ($op:ident, $t:ty, $bytes:expr, $v:expr) => {{
                let addr = dst!($op).wrapping_add($op.off as u64);
                let v = $v;
                if !mem.store_by::<$t>($op.dst as usize, addr, v) {
                    sync!(pc - 1);
                    store_missed(mem, addr, $op.dst as u8, $bytes, v)?;
                    again!();
                }
            }};
        }
        /// An atomic read-modify-write: `$f` gives the new value from the old one; `$out` gets the old one.
        macro_rules! atomic {
            ($op:ident, $t:ty, $f:expr, $out:expr) => {{
                let addr = dst!($op).wrapping_add($op.off as u64);
                match atomic::<$t>(mem, addr, $op.dst as u8, $f) {
                    #[allow(clippy::redundant_closure_call, reason = "the macro's argument is a closure")]
                    Ok(old) => {
                        $out(old);
                        again!();
                    }
                    Err(kind) => trap!(kind),
                }
            }};
        }
        /// A call out of the program: usually it returns at once.
        macro_rules! call {
            ($call:expr) => {{
                sync!(pc - 1);
                match $call? {
                    Flow::Return(v) => {
                        run.regs[0] = v;
                        again!();
                    }
                    flow => {
                        run.follow(mem, flow)?;
                        return Ok(Stop::Switched);
                    }
                }
            }};
        }

        /// A legacy packet access (`LD_ABS`, `LD_IND`).
        macro_rules! legacy_packet {
            ($op:ident) => {{
                sync!(pc - 1);
                match packet(run, mem, env, $op)? {
                    Some(v) => {
                        run.regs[0] = v;
                        again!();
                    }
                    None => {
                        // The function ends with 0, as the kernel's expansion of these instructions does.
                        run.regs[0] = 0;
                        match leave(run, mem, env)? {
                            Left::Program(v) => return Ok(Stop::Returned(v)),
                            Left::ToCaller | Left::Elsewhere => return Ok(Stop::Switched),
                        }
                    }
                }
            }};
        }

        /// One operation's effect. The second argument is the decoded operation.
        macro_rules! exec {
            (Add64K, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_add($op.imm);
            }};
            (Add64X, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_add(src!($op));
            }};
            (Sub64K, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_sub($op.imm);
            }};
            (Sub64X, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_sub(src!($op));
            }};
            (Mul64K, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_mul($op.imm);
            }};
            (Mul64X, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_mul(src!($op));
            }};
            (Div64K, $op:ident) => {{
                dst!($op) = alu::div64(dst!($op), $op.imm);
            }};
            (Div64X, $op:ident) => {{
                dst!($op) = alu::div64(dst!($op), src!($op));
            }};
            (Or64K, $op:ident) => {{
                dst!($op) |= $op.imm;
            }};
            (Or64X, $op:ident) => {{
                dst!($op) |= src!($op);
            }};
            (And64K, $op:ident) => {{
                dst!($op) &= $op.imm;
            }};
            (And64X, $op:ident) => {{
                dst!($op) &= src!($op);
            }};
            (Lsh64K, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_shl($op.imm as u32);
            }};
            (Lsh64X, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_shl(src!($op) as u32);
            }};
            (Rsh64K, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_shr($op.imm as u32);
            }};
            (Rsh64X, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_shr(src!($op) as u32);
            }};
            (Mod64K, $op:ident) => {{
                dst!($op) = alu::mod64(dst!($op), $op.imm);
            }};
            (Mod64X, $op:ident) => {{
                dst!($op) = alu::mod64(dst!($op), src!($op));
            }};
            (Xor64K, $op:ident) => {{
                dst!($op) ^= $op.imm;
            }};
            (Xor64X, $op:ident) => {{
                dst!($op) ^= src!($op);
            }};
            (Mov64K, $op:ident) => {{
                dst!($op) = $op.imm;
            }};
            (Mov64X, $op:ident) => {{
                dst!($op) = src!($op);
            }};
            (Arsh64K, $op:ident) => {{
                dst!($op) = (dst!($op) as i64).wrapping_shr($op.imm as u32) as u64;
            }};
            (Arsh64X, $op:ident) => {{
                dst!($op) = (dst!($op) as i64).wrapping_shr(src!($op) as u32) as u64;
            }};
            (Sdiv64K, $op:ident) => {{
                dst!($op) = alu::sdiv64(dst!($op), $op.imm);
            }};
            (Sdiv64X, $op:ident) => {{
                dst!($op) = alu::sdiv64(dst!($op), src!($op));
            }};
            (Smod64K, $op:ident) => {{
                dst!($op) = alu::smod64(dst!($op), $op.imm);
            }};
            (Smod64X, $op:ident) => {{
                dst!($op) = alu::smod64(dst!($op), src!($op));
            }};
            (Neg64, $op:ident) => {{
                dst!($op) = dst!($op).wrapping_neg();
            }};
            (Movsx8To64, $op:ident) => {{
                dst!($op) = src!($op) as i8 as u64;
            }};
            (Movsx16To64, $op:ident) => {{
                dst!($op) = src!($op) as i16 as u64;
            }};
            (Movsx32To64, $op:ident) => {{
                dst!($op) = src!($op) as i32 as u64;
            }};
            (Add32K, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_add($op.imm as u32));
            }};
            (Add32X, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_add(src!($op) as u32));
            }};
            (Sub32K, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_sub($op.imm as u32));
            }};
            (Sub32X, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_sub(src!($op) as u32));
            }};
            (Mul32K, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_mul($op.imm as u32));
            }};
            (Mul32X, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_mul(src!($op) as u32));
            }};
            (Div32K, $op:ident) => {{
                dst!($op) = alu::div32(dst!($op), $op.imm);
            }};
            (Div32X, $op:ident) => {{
                dst!($op) = alu::div32(dst!($op), src!($op));
            }};
            (Or32K, $op:ident) => {{
                dst!($op) = u64::from(dst!($op) as u32 | $op.imm as u32);
            }};
            (Or32X, $op:ident) => {{
                dst!($op) = u64::from(dst!($op) as u32 | src!($op) as u32);
            }};
            (And32K, $op:ident) => {{
                dst!($op) = u64::from(dst!($op) as u32 & $op.imm as u32);
            }};
            (And32X, $op:ident) => {{
                dst!($op) = u64::from(dst!($op) as u32 & src!($op) as u32);
            }};
            (Lsh32K, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_shl($op.imm as u32));
            }};
            (Lsh32X, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_shl(src!($op) as u32));
            }};
            (Rsh32K, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_shr($op.imm as u32));
            }};
            (Rsh32X, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_shr(src!($op) as u32));
            }};
            (Mod32K, $op:ident) => {{
                dst!($op) = alu::mod32(dst!($op), $op.imm);
            }};
            (Mod32X, $op:ident) => {{
                dst!($op) = alu::mod32(dst!($op), src!($op));
            }};
            (Xor32K, $op:ident) => {{
                dst!($op) = u64::from(dst!($op) as u32 ^ $op.imm as u32);
            }};
            (Xor32X, $op:ident) => {{
                dst!($op) = u64::from(dst!($op) as u32 ^ src!($op) as u32);
            }};
            (Mov32K, $op:ident) => {{
                dst!($op) = u64::from($op.imm as u32);
            }};
            (Mov32X, $op:ident) => {{
                dst!($op) = u64::from(src!($op) as u32);
            }};
            (Arsh32K, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as i32).wrapping_shr($op.imm as u32) as u32);
            }};
            (Arsh32X, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as i32).wrapping_shr(src!($op) as u32) as u32);
            }};
            (Sdiv32K, $op:ident) => {{
                dst!($op) = alu::sdiv32(dst!($op), $op.imm);
            }};
            (Sdiv32X, $op:ident) => {{
                dst!($op) = alu::sdiv32(dst!($op), src!($op));
            }};
            (Smod32K, $op:ident) => {{
                dst!($op) = alu::smod32(dst!($op), $op.imm);
            }};
            (Smod32X, $op:ident) => {{
                dst!($op) = alu::smod32(dst!($op), src!($op));
            }};
            (Neg32, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).wrapping_neg());
            }};
            (Movsx8To32, $op:ident) => {{
                dst!($op) = u64::from(src!($op) as i8 as u32);
            }};
            (Movsx16To32, $op:ident) => {{
                dst!($op) = u64::from(src!($op) as i16 as u32);
            }};
            (Le16, $op:ident) => {{
                dst!($op) = u64::from(dst!($op) as u16);
            }};
            (Be16, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u16).swap_bytes());
            }};
            (Bswap16, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u16).swap_bytes());
            }};
            (Le32, $op:ident) => {{
                dst!($op) = u64::from(dst!($op) as u32);
            }};
            (Be32, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).swap_bytes());
            }};
            (Bswap32, $op:ident) => {{
                dst!($op) = u64::from((dst!($op) as u32).swap_bytes());
            }};
            (Le64, $op:ident) => {{}};
            (Be64, $op:ident) => {{
                dst!($op) = dst!($op).swap_bytes();
            }};
            (Bswap64, $op:ident) => {{
                dst!($op) = dst!($op).swap_bytes();
            }};
            (Jeq64K, $op:ident) => {{
                branch!($op, dst!($op) == $op.imm);
            }};
            (Jeq64X, $op:ident) => {{
                branch!($op, dst!($op) == src!($op));
            }};
            (Jgt64K, $op:ident) => {{
                branch!($op, dst!($op) > $op.imm);
            }};
            (Jgt64X, $op:ident) => {{
                branch!($op, dst!($op) > src!($op));
            }};
            (Jge64K, $op:ident) => {{
                branch!($op, dst!($op) >= $op.imm);
            }};
            (Jge64X, $op:ident) => {{
                branch!($op, dst!($op) >= src!($op));
            }};
            (Jset64K, $op:ident) => {{
                branch!($op, dst!($op) & $op.imm != 0);
            }};
            (Jset64X, $op:ident) => {{
                branch!($op, dst!($op) & src!($op) != 0);
            }};
            (Jne64K, $op:ident) => {{
                branch!($op, dst!($op) != $op.imm);
            }};
            (Jne64X, $op:ident) => {{
                branch!($op, dst!($op) != src!($op));
            }};
            (Jsgt64K, $op:ident) => {{
                branch!($op, (dst!($op) as i64) > ($op.imm as i64));
            }};
            (Jsgt64X, $op:ident) => {{
                branch!($op, (dst!($op) as i64) > (src!($op) as i64));
            }};
            (Jsge64K, $op:ident) => {{
                branch!($op, (dst!($op) as i64) >= ($op.imm as i64));
            }};
            (Jsge64X, $op:ident) => {{
                branch!($op, (dst!($op) as i64) >= (src!($op) as i64));
            }};
            (Jlt64K, $op:ident) => {{
                branch!($op, dst!($op) < $op.imm);
            }};
            (Jlt64X, $op:ident) => {{
                branch!($op, dst!($op) < src!($op));
            }};
            (Jle64K, $op:ident) => {{
                branch!($op, dst!($op) <= $op.imm);
            }};
            (Jle64X, $op:ident) => {{
                branch!($op, dst!($op) <= src!($op));
            }};
            (Jslt64K, $op:ident) => {{
                branch!($op, (dst!($op) as i64) < ($op.imm as i64));
            }};
            (Jslt64X, $op:ident) => {{
                branch!($op, (dst!($op) as i64) < (src!($op) as i64));
            }};
            (Jsle64K, $op:ident) => {{
                branch!($op, (dst!($op) as i64) <= ($op.imm as i64));
            }};
            (Jsle64X, $op:ident) => {{
                branch!($op, (dst!($op) as i64) <= (src!($op) as i64));
            }};
            (Jeq32K, $op:ident) => {{
                branch!($op, (dst!($op) as u32) == ($op.imm as u32));
            }};
            (Jeq32X, $op:ident) => {{
                branch!($op, (dst!($op) as u32) == (src!($op) as u32));
            }};
            (Jgt32K, $op:ident) => {{
                branch!($op, (dst!($op) as u32) > ($op.imm as u32));
            }};
            (Jgt32X, $op:ident) => {{
                branch!($op, (dst!($op) as u32) > (src!($op) as u32));
            }};
            (Jge32K, $op:ident) => {{
                branch!($op, (dst!($op) as u32) >= ($op.imm as u32));
            }};
            (Jge32X, $op:ident) => {{
                branch!($op, (dst!($op) as u32) >= (src!($op) as u32));
            }};
            (Jset32K, $op:ident) => {{
                branch!($op, (dst!($op) as u32) & ($op.imm as u32) != 0);
            }};
            (Jset32X, $op:ident) => {{
                branch!($op, (dst!($op) as u32) & (src!($op) as u32) != 0);
            }};
            (Jne32K, $op:ident) => {{
                branch!($op, (dst!($op) as u32) != ($op.imm as u32));
            }};
            (Jne32X, $op:ident) => {{
                branch!($op, (dst!($op) as u32) != (src!($op) as u32));
            }};
            (Jsgt32K, $op:ident) => {{
                branch!($op, (dst!($op) as i32) > ($op.imm as i32));
            }};
            (Jsgt32X, $op:ident) => {{
                branch!($op, (dst!($op) as i32) > (src!($op) as i32));
            }};
            (Jsge32K, $op:ident) => {{
                branch!($op, (dst!($op) as i32) >= ($op.imm as i32));
            }};
            (Jsge32X, $op:ident) => {{
                branch!($op, (dst!($op) as i32) >= (src!($op) as i32));
            }};
            (Jlt32K, $op:ident) => {{
                branch!($op, (dst!($op) as u32) < ($op.imm as u32));
            }};
            (Jlt32X, $op:ident) => {{
                branch!($op, (dst!($op) as u32) < (src!($op) as u32));
            }};
            (Jle32K, $op:ident) => {{
                branch!($op, (dst!($op) as u32) <= ($op.imm as u32));
            }};
            (Jle32X, $op:ident) => {{
                branch!($op, (dst!($op) as u32) <= (src!($op) as u32));
            }};
            (Jslt32K, $op:ident) => {{
                branch!($op, (dst!($op) as i32) < ($op.imm as i32));
            }};
            (Jslt32X, $op:ident) => {{
                branch!($op, (dst!($op) as i32) < (src!($op) as i32));
            }};
            (Jsle32K, $op:ident) => {{
                branch!($op, (dst!($op) as i32) <= ($op.imm as i32));
            }};
            (Jsle32X, $op:ident) => {{
                branch!($op, (dst!($op) as i32) <= (src!($op) as i32));
            }};
            (Ja, $op:ident) => {{
                jump!($op.off);
            }};
            (AddrSpaceCast, $op:ident) => {{
                // Prepared by `arena.rs`: the constant is the upper half of the arena's addresses in user space.
                let low = u64::from(src!($op) as u32);
                dst!($op) = if low == 0 { 0 } else { $op.imm | low };
            }};
            (Gotox, $op:ident) => {{
                sync!(pc - 1);
                run.jump_to(dst!($op))?;
                if run.executed >= stop_at {
                    return budget_or_slice(run);
                }
                continue 'enter;
            }};
            (Ja32, $op:ident) => {{
                jump!($op.off);
            }};
            (MayGoto, $op:ident) => {{
                run.may_goto += 1;
                if run.may_goto > MAX_LOOPS {
                    run.may_goto = 0;
                    jump!($op.off);
                }
            }};
            (CallHelper, $op:ident) => {{
                run.pc = pc - 1;
                match env.helper_value(mem, run, $op.imm as u32) {
                    Ok(v) => run.regs[0] = v,
                    Err(other) => {
                        run.executed = debt.wrapping_add(pc as u64);
                        return detour(run, mem, other);
                    }
                }
            }};
            (CallLocal, $op:ident) => {{
                sync!(pc - 1);
                run.push(mem, FrameKind::Call, $op.off as usize, $op.src == Reg::R1)?;
                if run.executed >= stop_at {
                    return budget_or_slice(run);
                }
                continue 'enter;
            }};
            (CallKfunc, $op:ident) => {{
                call!(env.kfunc(&mut Cx::new(mem, run), $op.imm as u32, run.args()));
            }};
            (Callx, $op:ident) => {{
                let addr = dst!($op);
                if let Some(target) = code.func_at(addr) {
                    sync!(pc - 1);
                    run.push(mem, FrameKind::Call, target, false)?;
                    if run.executed >= stop_at {
                        return budget_or_slice(run);
                    }
                    continue 'enter;
                } else {
                    call!(env.call_register(&mut Cx::new(mem, run), addr, run.args()));
                }
            }};
            (Exit, $op:ident) => {{
                sync!(pc - 1);
                match leave(run, mem, env)? {
                    Left::ToCaller if Arc::ptr_eq(&run.code, &code) => continue 'enter,
                    Left::ToCaller | Left::Elsewhere => return Ok(Stop::Switched),
                    Left::Program(v) => return Ok(Stop::Returned(v)),
                }
            }};
            (LdImm64, $op:ident) => {{
                dst!($op) = $op.imm;
            }};
            (LdAbsB, $op:ident) => {{
                legacy_packet!($op);
            }};
            (LdAbsH, $op:ident) => {{
                legacy_packet!($op);
            }};
            (LdAbsW, $op:ident) => {{
                legacy_packet!($op);
            }};
            (LdIndB, $op:ident) => {{
                legacy_packet!($op);
            }};
            (LdIndH, $op:ident) => {{
                legacy_packet!($op);
            }};
            (LdIndW, $op:ident) => {{
                legacy_packet!($op);
            }};
            (LdxB, $op:ident) => {{
                load!($op, u8, 1, |v| v);
            }};
            (LdxH, $op:ident) => {{
                load!($op, u16, 2, |v| v);
            }};
            (LdxW, $op:ident) => {{
                load!($op, u32, 4, |v| v);
            }};
            (LdxDw, $op:ident) => {{
                load!($op, u64, 8, |v| v);
            }};
            (LdxsB, $op:ident) => {{
                load!($op, u8, 1, |v| v as i8 as u64);
            }};
            (LdxsH, $op:ident) => {{
                load!($op, u16, 2, |v| v as i16 as u64);
            }};
            (LdxsW, $op:ident) => {{
                load!($op, u32, 4, |v| v as i32 as u64);
            }};
            (StB, $op:ident) => {{
                store!($op, u8, 1, $op.imm);
            }};
            (StH, $op:ident) => {{
                store!($op, u16, 2, $op.imm);
            }};
            (StW, $op:ident) => {{
                store!($op, u32, 4, $op.imm);
            }};
            (StDw, $op:ident) => {{
                store!($op, u64, 8, $op.imm);
            }};
            (StxB, $op:ident) => {{
                store!($op, u8, 1, src!($op));
            }};
            (StxH, $op:ident) => {{
                store!($op, u16, 2, src!($op));
            }};
            (StxW, $op:ident) => {{
                store!($op, u32, 4, src!($op));
            }};
            (StxDw, $op:ident) => {{
                store!($op, u64, 8, src!($op));
            }};
            (AtomicAdd32, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u32, |old: u64| old.wrapping_add(v), |_| {});
            }};
            (FetchAdd32, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u32, |old: u64| old.wrapping_add(v), |old| src!($op) = old);
            }};
            (AtomicOr32, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u32, |old: u64| old | v, |_| {});
            }};
            (FetchOr32, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u32, |old: u64| old | v, |old| src!($op) = old);
            }};
            (AtomicAnd32, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u32, |old: u64| old & v, |_| {});
            }};
            (FetchAnd32, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u32, |old: u64| old & v, |old| src!($op) = old);
            }};
            (AtomicXor32, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u32, |old: u64| old ^ v, |_| {});
            }};
            (FetchXor32, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u32, |old: u64| old ^ v, |old| src!($op) = old);
            }};
            (Xchg32, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u32, |_| v, |old| src!($op) = old);
            }};
            (Cmpxchg32, $op:ident) => {{
                let (v, expected) = (src!($op), u64::from(run.regs[0] as u32));
                atomic!($op, u32, |old| if old == expected { v } else { old }, |old| run.regs[0] = old);
            }};
            (AtomicAdd64, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u64, |old: u64| old.wrapping_add(v), |_| {});
            }};
            (FetchAdd64, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u64, |old: u64| old.wrapping_add(v), |old| src!($op) = old);
            }};
            (AtomicOr64, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u64, |old: u64| old | v, |_| {});
            }};
            (FetchOr64, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u64, |old: u64| old | v, |old| src!($op) = old);
            }};
            (AtomicAnd64, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u64, |old: u64| old & v, |_| {});
            }};
            (FetchAnd64, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u64, |old: u64| old & v, |old| src!($op) = old);
            }};
            (AtomicXor64, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u64, |old: u64| old ^ v, |_| {});
            }};
            (FetchXor64, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u64, |old: u64| old ^ v, |old| src!($op) = old);
            }};
            (Xchg64, $op:ident) => {{
                let v = src!($op);
                atomic!($op, u64, |_| v, |old| src!($op) = old);
            }};
            (Cmpxchg64, $op:ident) => {{
                let (v, expected) = (src!($op), u64::from(run.regs[0] as u64));
                atomic!($op, u64, |old| if old == expected { v } else { old }, |old| run.regs[0] = old);
            }};
            (LoadAcquire8, $op:ident) => {{
                if let Err(kind) = aligned(src!($op).wrapping_add($op.off as u64), 1) {
                    trap!(kind);
                }
                load!($op, u8, 1, |v| v);
            }};
            (StoreRelease8, $op:ident) => {{
                if let Err(kind) = aligned(dst!($op).wrapping_add($op.off as u64), 1) {
                    trap!(kind);
                }
                store!($op, u8, 1, src!($op));
            }};
            (LoadAcquire16, $op:ident) => {{
                if let Err(kind) = aligned(src!($op).wrapping_add($op.off as u64), 2) {
                    trap!(kind);
                }
                load!($op, u16, 2, |v| v);
            }};
            (StoreRelease16, $op:ident) => {{
                if let Err(kind) = aligned(dst!($op).wrapping_add($op.off as u64), 2) {
                    trap!(kind);
                }
                store!($op, u16, 2, src!($op));
            }};
            (LoadAcquire32, $op:ident) => {{
                if let Err(kind) = aligned(src!($op).wrapping_add($op.off as u64), 4) {
                    trap!(kind);
                }
                load!($op, u32, 4, |v| v);
            }};
            (StoreRelease32, $op:ident) => {{
                if let Err(kind) = aligned(dst!($op).wrapping_add($op.off as u64), 4) {
                    trap!(kind);
                }
                store!($op, u32, 4, src!($op));
            }};
            (LoadAcquire64, $op:ident) => {{
                if let Err(kind) = aligned(src!($op).wrapping_add($op.off as u64), 8) {
                    trap!(kind);
                }
                load!($op, u64, 8, |v| v);
            }};
            (StoreRelease64, $op:ident) => {{
                if let Err(kind) = aligned(dst!($op).wrapping_add($op.off as u64), 8) {
                    trap!(kind);
                }
                store!($op, u64, 8, src!($op));
            }};
            (Trap, $op:ident) => {
                trap!(code.trap($op.imm))
            };
            (Arena, $op:ident) => {{
                sync!(pc - 1);
                arena_access::access(run, mem, env, $op, code.arena_op(pc - 1))?;
                again!();
            }};
        }
        /// The dispatch: an arm for each operation, and an arm for each pair.
        macro_rules! dispatch {
        (
            ops { $($op:ident)* }
            pairs { $($pair:ident $first:ident $second:ident)* }
            triples { $($triple:ident $a:ident $b:ident $c:ident)* }
            quads { $($quad:ident $p:ident $q:ident $r:ident $s:ident)* }
        ) => {
            loop {
                let [op, second, third, fourth] = &cells[pc];
                pc += 1;
                if OBSERVED {
                    let at = pc - 1;
                    let view = InsnView {
                        code: &code,
                        insn: code.slot(at),
                        regs: &run.regs(),
                        depth: run.frames.len(),
                    };
                    if observer.before(&view) {
                        pc = at;
                        sync!(at);
                        return Ok(Stop::Paused);
                    }
                }
                let uop = if OBSERVED { Uop::single(op.uop.first()) } else { op.uop };
                match uop {
                    $(Uop::$op => exec!($op, op),)*
                    $(Uop::$pair => {
                        pair!($first $second op second);
                    })*
                    // A loop as short as this goes round here. What comes next is then a prediction, where a dispatch
                    // has to wait for the jump's target and the operation there.
                    $(Uop::$triple => {
                        let after = pc;
                        loop {
                            exec!($a, op);
                            pc += 1;
                            exec!($b, second);
                            pc += 1;
                            exec!($c, third);
                            if pc.wrapping_add(1) != after {
                                break;
                            }
                            pc = after;
                        }
                    })*
                    $(Uop::$quad => {
                        exec!($p, op);
                        pc += 1;
                        exec!($q, second);
                        pc += 1;
                        exec!($r, third);
                        pc += 1;
                        exec!($s, fourth);
                    })*
                }
            }
        };
    }
        /// The first operation, then, if it has not gone elsewhere, the second.
        macro_rules! pair {
            (Jeq64K $second:ident $op:ident $next:ident) => {
                if dst!($op) == $op.imm {
                    jump!($op.off);
                } else {
                    pc += 1;
                    exec!($second, $next);
                }
            };
            (Jne64K $second:ident $op:ident $next:ident) => {
                if dst!($op) != $op.imm {
                    jump!($op.off);
                } else {
                    pc += 1;
                    exec!($second, $next);
                }
            };
            ($first:ident $second:ident $op:ident $next:ident) => {
                exec!($first, $op);
                pc += 1;
                exec!($second, $next);
            };
        }

        with_uops!(dispatch)
    }
}

#[cold]
fn budget_or_slice(run: &mut Execution) -> Result<Stop, Trap> {
    stopped(run, run.pc, run.executed)
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
#[inline(never)]
fn missed(
    run: &mut Execution,
    mem: &mut Memory,
    env: &mut dyn Env,
    addr: u64,
    reg: u8,
    size: u8,
) -> Result<u64, Trap> {
    let bad = match mem.load_learning(reg, addr, size) {
        Ok(v) => return Ok(v),
        Err(bad) => bad,
    };
    match env.load_typed(&mut Cx::new(mem, run), addr, size)? {
        Some(v) => Ok(v),
        None => Err(refused(mem, bad, reg).into()),
    }
}

#[inline(never)]
fn store_missed(mem: &mut Memory, addr: u64, reg: u8, size: u8, v: u64) -> Result<(), Trap> {
    mem.store_learning(reg, addr, size, v).map_err(|bad| refused(mem, bad, reg).into())
}

/// A call that does not simply return.
#[cold]
#[inline(never)]
#[allow(clippy::boxed_local, reason = "unboxing belongs here, off the hot path")]
fn detour(run: &mut Execution, mem: &mut Memory, other: Box<CallResult>) -> Result<Stop, Trap> {
    run.follow(mem, (*other)?)?;
    Ok(Stop::Switched)
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
    let (size, indirect) = match op.uop.first() {
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
    let index = if indirect { run.regs[op.src as usize] as i32 } else { 0 };
    let offset = (op.imm as i32).wrapping_add(index);
    env.packet(&mut Cx::new(mem, run), offset, size)
}
