//! Arithmetic on registers (`check_alu_op`, `adjust_ptr_min_max_vals` in `kernel/bpf/verifier.c`).

use bpf_vm_shim::isa::{Insn, class};

use super::arith::{alu32, alu64, op};
use super::scalar::Scalar;
use super::state::{Link, Ptr, Reg, State, Step, Stop, Target, refuse};
use super::walk::Walk;
use super::why::Why;

/// Offsets of pointers stay below this (`BPF_MAX_VAR_OFF`).
pub(super) const MAX_VAR_OFF: i64 = 1 << 29;

impl Walk<'_> {
    pub(super) fn alu(&mut self, state: &mut State, insn: Insn) -> Step<()> {
        let wide = insn.class() == class::ALU64;
        let code = insn.opcode & 0xf0;
        let by_reg = insn.opcode & 0x08 != 0;
        match code {
            op::MOV => return self.mov(state, insn, wide, by_reg),
            op::NEG | op::END => {
                let value = match state.read(insn.dst)? {
                    Reg::Scalar(a, _) if code == op::NEG && wide => {
                        Reg::scalar(alu64(op::SUB, &Scalar::constant(0), &a, false))
                    }
                    Reg::Scalar(a, _) if code == op::NEG => {
                        Reg::scalar(alu32(op::SUB, &Scalar::constant(0), &a, false))
                    }
                    Reg::Scalar(a, _) => Reg::scalar(swap(&a, insn, wide)),
                    // Only those who may not see addresses are refused.
                    Reg::Ptr(_) => Reg::any(),
                    _ => Reg::Unknown,
                };
                return state.write(insn.dst, value);
            }
            _ => {}
        }
        let src = if by_reg { state.read(insn.src)? } else { Reg::constant(insn.imm as i64 as u64) };
        let dst = state.read(insn.dst)?;
        if !by_reg && matches!(code, op::DIV | op::MOD) && insn.imm == 0 {
            return refuse(Why::DivByZero, "div by zero".to_owned());
        }
        let width = if wide { 64 } else { 32 };
        if !by_reg && matches!(code, op::LSH | op::RSH | op::ARSH) && !(0..width).contains(&insn.imm) {
            return refuse(Why::InvalidShift, format!("invalid shift {}", insn.imm));
        }
        let signed = insn.off == 1;
        let dst = self.fork(state, code, wide, insn.dst, dst, &src)?;
        let value = match (dst, src) {
            (Reg::Unknown, _) | (_, Reg::Unknown) => Reg::Unknown,
            (Reg::Scalar(a, link), Reg::Scalar(b, _)) => {
                // xor or sub with itself
                let itself = by_reg && insn.src == insn.dst;
                if itself && matches!(code, op::SUB | op::XOR) {
                    Reg::constant(0)
                } else if itself && matches!(code, op::AND | op::OR) {
                    if wide { dst } else { Reg::scalar(a.zext32()) }
                } else if wide {
                    let out = Reg::scalar(alu64(code, &a, &b, signed));
                    match (code, b.known(), out) {
                        (op::ADD, Some(n), Reg::Scalar(s, _)) if link.id != 0 && !link.narrow && !by_reg => {
                            Reg::Scalar(s, Link { delta: link.delta.wrapping_add(n as i64), ..link })
                        }
                        (op::SUB, Some(n), Reg::Scalar(s, _)) if link.id != 0 && !link.narrow && !by_reg => {
                            Reg::Scalar(s, Link { delta: link.delta.wrapping_sub(n as i64), ..link })
                        }
                        _ => out,
                    }
                } else {
                    let out = alu32(code, &a, &b, signed);
                    match (code, b.known32()) {
                        (op::ADD, Some(n)) if link.id != 0 && !by_reg => {
                            let delta = link.delta.wrapping_add(n as i32 as i64);
                            Reg::Scalar(out, Link { id: link.id, delta, narrow: true })
                        }
                        (op::SUB, Some(n)) if link.id != 0 && !by_reg => {
                            let delta = link.delta.wrapping_sub(n as i32 as i64);
                            Reg::Scalar(out, Link { id: link.id, delta, narrow: true })
                        }
                        _ => Reg::scalar(out),
                    }
                }
            }
            (Reg::Ptr(_), Reg::Ptr(_)) if code == op::SUB => Reg::any(),
            (Reg::Ptr(_), Reg::Ptr(_)) => {
                return refuse(
                    Why::PointerArithmetic,
                    format!("R{} pointer {} pointer prohibited", insn.dst, symbol(code)),
                );
            }
            (Reg::Ptr(p), Reg::Scalar(s, _)) => self.pointer(insn, code, wide, &p, &s, false)?,
            (Reg::Scalar(s, _), Reg::Ptr(p)) => self.pointer(insn, code, wide, &p, &s, true)?,
            _ => return Err(Stop::Unsure),
        };
        state.write(insn.dst, value)
    }

    fn mov(&mut self, state: &mut State, insn: Insn, wide: bool, by_reg: bool) -> Step<()> {
        if !by_reg {
            let v = if wide { insn.imm as i64 as u64 } else { u64::from(insn.imm as u32) };
            return state.write(insn.dst, Reg::constant(v));
        }
        let src = state.read(insn.src)?;
        let value = match (src, insn.off) {
            // Address space casts make arena pointers.
            (_, 1) if wide => Reg::Unknown,
            (Reg::Scalar(a, link), 0) => {
                let link = if link.id == 0 && a.known().is_none() { self.new_link() } else { link };
                if wide || a.umax <= u64::from(u32::MAX) {
                    let same = Reg::Scalar(a, link);
                    if insn.src != 10 {
                        state.write(insn.src, same)?;
                    }
                    same
                } else {
                    Reg::scalar(a.zext32())
                }
            }
            (Reg::Scalar(a, link), bits @ (8 | 16 | 32)) => {
                let bytes = bits as u32 / 8;
                if wide {
                    let out = a.sext(bytes);
                    let link = if out == a && link.id == 0 { self.new_link() } else { link };
                    if out == a {
                        state.write(insn.src, Reg::Scalar(a, link))?;
                        Reg::Scalar(out, link)
                    } else {
                        Reg::scalar(out)
                    }
                } else {
                    Reg::scalar(a.sext(bytes).zext32())
                }
            }
            (Reg::Ptr(p), 0) if wide => Reg::Ptr(p),
            (Reg::Ptr(_), _) if wide => Reg::any(),
            (Reg::Ptr(_), _) => Reg::scalar(Scalar::of_size(4)),
            _ => Reg::Unknown,
        };
        state.write(insn.dst, value)
    }

    pub(super) fn new_link(&mut self) -> Link {
        Link { id: self.new_id(), delta: 0, narrow: false }
    }

    /// A number that is 0 or -1 is followed both ways before its bits are combined with a constant
    /// (`maybe_fork_scalars`).
    fn fork(&mut self, state: &mut State, code: u8, wide: bool, n: u8, dst: Reg, src: &Reg) -> Step<Reg> {
        let (Reg::Scalar(a, _), Reg::Scalar(b, _)) = (dst, src) else { return Ok(dst) };
        let sign = if wide { (a.smin, a.smax) == (-1, 0) } else { (a.s32min, a.s32max) == (-1, 0) };
        if !matches!(code, op::AND | op::OR) || b.known().is_none() || !sign {
            return Ok(dst);
        }
        let mut other = state.clone();
        other.write(n, Reg::constant(0))?;
        self.todo.push(other);
        let ones = Reg::constant(if wide { u64::MAX } else { u32::MAX.into() });
        state.write(n, ones)?;
        Ok(ones)
    }

    fn pointer(&mut self, insn: Insn, code: u8, wide: bool, p: &Ptr, s: &Scalar, swapped: bool) -> Step<Reg> {
        let fail = |m: String| refuse(Why::PointerArithmetic, m);
        let r = insn.dst;
        if s.is_empty() {
            return Ok(Reg::Unknown);
        }
        if !wide {
            if code == op::SUB {
                return Ok(Reg::scalar(Scalar::of_size(4)));
            }
            return fail(format!("R{r} 32-bit pointer arithmetic prohibited"));
        }
        let zero = s.known() == Some(0);
        if p.or_null {
            if zero {
                return Err(Stop::Unsure);
            }
            return fail(format!("R{r} pointer arithmetic on {} prohibited, null-check it first", p.name()));
        }
        match p.target {
            Target::Map(_) | Target::InnerMap if zero => return Err(Stop::Unsure),
            Target::FlowKeys if s.known().is_none() => {
                return fail(format!("R{r} pointer arithmetic on flow_keys prohibited"));
            }
            Target::Faulting => return Ok(Reg::Ptr(*p)),
            Target::Map(_) | Target::InnerMap | Target::PacketEnd | Target::Sock(_) => {
                return fail(format!("R{r} pointer arithmetic on {} prohibited", p.name()));
            }
            Target::Kernel | Target::Func(_) => return Ok(Reg::Unknown),
            _ => {}
        }
        sane(&p.target, s)?;
        let mut out = *p;
        match code {
            op::ADD => match s.known() {
                Some(n) => out.off = p.off.wrapping_add(n as i64),
                None => out.var = alu64(op::ADD, &p.var, s, false),
            },
            op::SUB if swapped => return fail(format!("R{r} tried to subtract pointer from scalar")),
            op::SUB if matches!(p.target, Target::Stack(_)) => {
                return fail(format!("R{r} subtraction from stack pointer prohibited"));
            }
            op::SUB => match s.known() {
                Some(n) => out.off = p.off.wrapping_sub(n as i64),
                None => out.var = alu64(op::SUB, &p.var, s, false),
            },
            op::AND | op::OR | op::XOR => {
                return fail(format!("R{r} bitwise operator {} on pointer prohibited", symbol(code)));
            }
            _ => {
                return fail(format!("R{r} pointer arithmetic with {} operator prohibited", symbol(code)));
            }
        }
        if p.is_packet() && s.known().is_none() {
            out.id = self.new_id();
            out.range = 0;
        }
        // What was compared with the end was another pointer.
        out.range = out.range.max(0);
        let whole = alu64(op::ADD, &out.var, &Scalar::constant(out.off as u64), false);
        if !(-MAX_VAR_OFF..MAX_VAR_OFF).contains(&out.off) {
            return fail(format!("{} pointer offset {} is not allowed", p.target.name(), out.off));
        }
        sane(&p.target, if out.var.known().is_some() { &whole } else { &out.var })?;
        Ok(Reg::Ptr(out))
    }
}

/// `check_reg_sane_offset`.
fn sane(target: &Target, s: &Scalar) -> Step<()> {
    let name = target.name();
    if let Some(v) = s.known() {
        let v = v as i64;
        if v >= MAX_VAR_OFF || v <= -MAX_VAR_OFF {
            return refuse(
                Why::PointerArithmetic,
                format!("math between {name} pointer and {v} is not allowed"),
            );
        }
        return Ok(());
    }
    if s.smin == i64::MIN {
        let m = format!("math between {name} pointer and register with unbounded min value is not allowed");
        return refuse(Why::PointerArithmetic, m);
    }
    if s.smin >= MAX_VAR_OFF || s.smin <= -MAX_VAR_OFF {
        return refuse(
            Why::PointerArithmetic,
            format!("value {} makes {name} pointer be out of bounds", s.smin),
        );
    }
    Ok(())
}

const fn symbol(code: u8) -> &'static str {
    match code {
        op::ADD => "+=",
        op::SUB => "-=",
        op::MUL => "*=",
        op::DIV => "/=",
        op::OR => "|=",
        op::AND => "&=",
        op::LSH => "<<=",
        op::RSH => ">>=",
        op::MOD => "%=",
        op::XOR => "^=",
        op::ARSH => "s>>=",
        _ => "?",
    }
}

/// Byte swaps: exact for known numbers, else bounded by their size.
fn swap(a: &Scalar, insn: Insn, wide: bool) -> Scalar {
    let to_be = insn.opcode & 0x08 != 0;
    let bytes = (insn.imm as u32 / 8).clamp(1, 8);
    let t = a.t.cast(bytes);
    if !wide && !to_be {
        return a.zext(bytes);
    }
    let flip = |v: u64| v.swap_bytes() >> (64 - bytes * 8);
    Scalar::from_tnum(super::tnum::Tnum { value: flip(t.value), mask: flip(t.mask) })
}
