//! Conditional jumps: which way they can go, and what is known behind them
//! (`check_cond_jmp_op`, `reg_set_min_max` in `kernel/bpf/verifier.c`).

use bpf_vm_shim::isa::{Insn, class};

use super::scalar::Scalar;
use super::state::{AT_END, BEYOND_END, Link, Ptr, Reg, State, Step, Stop, Target};
use super::tnum::Tnum;
use super::walk::Walk;

/// Comparison numbers: the upper four bits of the opcode (RFC 9669, section 4.3).
mod cmp {
    pub(super) const EQ: u8 = 0x10;
    pub(super) const GT: u8 = 0x20;
    pub(super) const GE: u8 = 0x30;
    pub(super) const SET: u8 = 0x40;
    pub(super) const NE: u8 = 0x50;
    pub(super) const SGT: u8 = 0x60;
    pub(super) const SGE: u8 = 0x70;
    pub(super) const LT: u8 = 0xa0;
    pub(super) const LE: u8 = 0xb0;
    pub(super) const SLT: u8 = 0xc0;
    pub(super) const SLE: u8 = 0xd0;
}

/// `MAX_PACKET_OFF`.
const MAX_PACKET_OFF: u64 = 0xffff;

impl Walk<'_> {
    /// The states behind a conditional jump: not taken, taken.
    pub(super) fn branch(&mut self, mut state: State, insn: Insn) -> Step<(Option<State>, Option<State>)> {
        let by_reg = insn.opcode & 0x08 != 0;
        let code = insn.opcode & 0xf0;
        let narrow = insn.class() == class::JMP32;
        let a = state.read(insn.dst)?;
        let b = if by_reg {
            state.read(insn.src)?
        } else if narrow {
            Reg::constant(u64::from(insn.imm as u32))
        } else {
            Reg::constant(insn.imm as i64 as u64)
        };
        let both = |s: State| Ok((Some(s.clone()), Some(s)));
        match (a, b) {
            (Reg::Scalar(x, lx), Reg::Scalar(y, ly)) => {
                let same = by_reg && insn.src == insn.dst;
                let mut out = [None, None];
                for (i, taken) in [false, true].into_iter().enumerate() {
                    if same {
                        match code {
                            cmp::EQ | cmp::GE | cmp::SGE | cmp::LE | cmp::SLE if !taken => continue,
                            cmp::NE | cmp::GT | cmp::SGT | cmp::LT | cmp::SLT if taken => continue,
                            _ => {}
                        }
                    }
                    let (nx, ny) =
                        if narrow { refine32(code, taken, &x, &y) } else { refine(code, taken, &x, &y) };
                    if nx.is_empty() || ny.is_empty() {
                        continue;
                    }
                    let mut s = state.clone();
                    if !same {
                        learn(&mut s, insn.dst, &nx, lx);
                        if by_reg {
                            learn(&mut s, insn.src, &ny, ly);
                        }
                    }
                    // Something that follows from a link contradicts: nobody gets here.
                    if contradicts(&s) {
                        continue;
                    }
                    out[i] = Some(s);
                }
                let [no, yes] = out;
                Ok((no, yes))
            }
            (Reg::Ptr(p), Reg::Scalar(y, _)) => {
                if y.known() == Some(0) && !narrow && matches!(code, cmp::EQ | cmp::NE) {
                    return Ok(self.null_check(state, &p, code == cmp::EQ));
                }
                both(state)
            }
            // The kernel looks for null on the right only.
            (Reg::Scalar(..), Reg::Ptr(_)) => both(state),
            (Reg::Ptr(p), Reg::Ptr(q)) => {
                let ends = |a: &Ptr, b: &Ptr| match (a.target, b.target) {
                    (Target::Packet, Target::PacketEnd) => true,
                    (Target::PacketMeta, Target::Packet) => {
                        b.off == 0 && b.id == 0 && b.var.known() == Some(0)
                    }
                    _ => false,
                };
                if narrow {
                    return both(state);
                }
                if ends(&p, &q) {
                    return Ok(packet(state, &p, code, insn.dst));
                }
                if ends(&q, &p) {
                    let mirrored = match code {
                        cmp::GT => cmp::LT,
                        cmp::LT => cmp::GT,
                        cmp::GE => cmp::LE,
                        cmp::LE => cmp::GE,
                        other => other,
                    };
                    return Ok(packet(state, &q, mirrored, insn.src));
                }
                // Comparing with a pointer that is not null tells that an equal one is not either.
                if p.or_null != q.or_null && matches!(code, cmp::EQ | cmp::NE) {
                    let typed = |p: &Ptr| matches!(p.target, Target::Kernel | Target::Obj { .. });
                    if typed(&p) || typed(&q) {
                        return Err(Stop::Unsure);
                    }
                    let id = if p.or_null { p.id } else { q.id };
                    let mut equal = state.clone();
                    equal.for_each(|r| {
                        if let Reg::Ptr(r) = r
                            && r.or_null
                            && r.id == id
                        {
                            r.or_null = false;
                        }
                    });
                    let (equal, other) = (Some(equal), Some(state));
                    return Ok(if code == cmp::EQ { (other, equal) } else { (equal, other) });
                }
                both(state)
            }
            _ => Err(Stop::Unsure),
        }
    }

    fn null_check(&mut self, state: State, p: &Ptr, is_eq: bool) -> (Option<State>, Option<State>) {
        let (null, not_null) = if p.or_null {
            let mut null = state.clone();
            let mut not_null = state;
            let (id, reference) = (p.id, p.reference);
            null.for_each(|r| {
                if matches!(r, Reg::Ptr(q) if q.or_null && q.id == id) {
                    *r = Reg::constant(0);
                }
            });
            if reference != 0 && reference == id {
                null.refs.retain(|r| r.id != reference);
            }
            not_null.for_each(|r| {
                if let Reg::Ptr(q) = r
                    && q.or_null
                    && q.id == id
                {
                    q.or_null = false;
                    if !matches!(q.target, Target::MapValue(_)) && !q.is_packet() {
                        q.id = 0;
                    }
                }
            });
            (Some(null), Some(not_null))
        } else if matches!(p.target, Target::Ctx | Target::Stack(_)) {
            // The kernel does not take these for something that is never null (`reg_not_null`).
            (Some(state.clone()), Some(state))
        } else {
            (None, Some(state))
        };
        if is_eq { (not_null, null) } else { (null, not_null) }
    }
}

/// What a comparison of a packet pointer with the end tells (`try_match_pkt_pointers`); `code` is from the pointer's
/// side.
fn packet(state: State, p: &Ptr, code: u8, reg: u8) -> (Option<State>, Option<State>) {
    let certain = match (p.range, code) {
        (BEYOND_END, cmp::GT | cmp::GE) | (AT_END, cmp::GE) => Some(true),
        (BEYOND_END, cmp::LE | cmp::LT) | (AT_END, cmp::LT) => Some(false),
        _ => None,
    };
    match certain {
        Some(true) => return (None, Some(state)),
        Some(false) => return (Some(state), None),
        None => {}
    }
    let (mut no, mut yes) = (state.clone(), state);
    match code {
        cmp::GT => {
            found(&mut no, p, false);
            mark(&mut yes, reg, BEYOND_END);
        }
        cmp::LT => {
            found(&mut yes, p, true);
            mark(&mut no, reg, AT_END);
        }
        cmp::GE => {
            found(&mut no, p, true);
            mark(&mut yes, reg, AT_END);
        }
        cmp::LE => {
            found(&mut yes, p, false);
            mark(&mut no, reg, BEYOND_END);
        }
        _ => {}
    }
    (Some(no), Some(yes))
}

fn mark(state: &mut State, reg: u8, range: i64) {
    let reg = state.frames.last_mut().and_then(|f| f.regs.get_mut(reg as usize));
    if let Some(Reg::Ptr(p)) = reg
        && p.target == Target::Packet
    {
        p.range = range;
    }
}

/// `find_good_pkt_pointers`: the bytes below `p` are there.
fn found(state: &mut State, p: &Ptr, open: bool) {
    if p.off < 0 || (p.off == 0 && open) || p.var.umax > MAX_PACKET_OFF {
        return;
    }
    if (p.off as u64).saturating_add(p.var.umax) > MAX_PACKET_OFF {
        return;
    }
    let range = p.off + i64::from(open);
    let (target, id) = (p.target, p.id);
    state.for_each(|r| {
        if let Reg::Ptr(q) = r
            && q.target == target
            && q.id == id
            && q.range < range
        {
            q.range = range;
        }
    });
}

/// Puts what is now known of a number into its register and into all its copies (`sync_linked_regs`).
fn learn(state: &mut State, reg: u8, s: &Scalar, link: Link) {
    if let Some(r) = state.frames.last_mut().and_then(|f| f.regs.get_mut(reg as usize)) {
        *r = Reg::Scalar(*s, link);
    }
    if link.id == 0 {
        return;
    }
    state.for_each(|r| {
        if let Reg::Scalar(old, l) = r
            && l.id == link.id
        {
            use super::arith::{alu32, alu64, op};
            let delta = Scalar::constant(l.delta.wrapping_sub(link.delta) as u64);
            let moved = match (link.narrow, l.narrow) {
                (false, false) => alu64(op::ADD, s, &delta, false),
                (_, true) => alu32(op::ADD, s, &delta, false),
                (true, false) => put_low(old, &alu32(op::ADD, s, &delta, false)),
            };
            *r = Reg::Scalar(old.intersect(&moved), *l);
        }
    });
}

fn contradicts(state: &State) -> bool {
    state.frames.last().is_some_and(|f| f.regs.iter().any(|r| matches!(r, Reg::Scalar(s, _) if s.is_empty())))
}

/// The comparison that holds on a way: the one written, or its opposite. `SET` stays with `taken`.
fn holds(code: u8, taken: bool) -> u8 {
    if taken {
        return code;
    }
    match code {
        cmp::EQ => cmp::NE,
        cmp::NE => cmp::EQ,
        cmp::GT => cmp::LE,
        cmp::LE => cmp::GT,
        cmp::GE => cmp::LT,
        cmp::LT => cmp::GE,
        cmp::SGT => cmp::SLE,
        cmp::SLE => cmp::SGT,
        cmp::SGE => cmp::SLT,
        cmp::SLT => cmp::SGE,
        other => other,
    }
}

fn refine(code: u8, taken: bool, x: &Scalar, y: &Scalar) -> (Scalar, Scalar) {
    let (mut a, mut b) = (*x, *y);
    let none = Scalar { smin: 1, smax: 0, ..*x };
    match holds(code, taken) {
        cmp::EQ => {
            let both = a.intersect(&b);
            return (both, both);
        }
        cmp::NE => {
            if let (Some(m), Some(n)) = (a.known(), b.known())
                && m == n
            {
                return (none, none);
            }
            if let Some(n) = b.known() {
                exclude(&mut a, n);
            }
            if let Some(n) = a.known() {
                exclude(&mut b, n);
            }
        }
        cmp::SET => return bits(taken, x, y, u64::MAX),
        cmp::GT => greater(&mut a, &mut b, true),
        cmp::GE => greater(&mut a, &mut b, false),
        cmp::LT => greater(&mut b, &mut a, true),
        cmp::LE => greater(&mut b, &mut a, false),
        cmp::SGT => sgreater(&mut a, &mut b, true),
        cmp::SGE => sgreater(&mut a, &mut b, false),
        cmp::SLT => sgreater(&mut b, &mut a, true),
        cmp::SLE => sgreater(&mut b, &mut a, false),
        _ => {}
    }
    (settle(a), settle(b))
}

fn settle(s: Scalar) -> Scalar {
    if s.is_empty() { s } else { s.synced() }
}

fn exclude(a: &mut Scalar, n: u64) {
    if a.umin == n {
        a.umin = a.umin.saturating_add(1);
    }
    if a.umax == n {
        a.umax = a.umax.saturating_sub(1);
    }
    if a.smin == n as i64 {
        a.smin = a.smin.saturating_add(1);
    }
    if a.smax == n as i64 {
        a.smax = a.smax.saturating_sub(1);
    }
}

/// `a > b` or `a >= b`, unsigned.
fn greater(a: &mut Scalar, b: &mut Scalar, strict: bool) {
    let by = u64::from(strict);
    let (Some(low), Some(high)) = (b.umin.checked_add(by), a.umax.checked_sub(by)) else {
        (a.smin, a.smax) = (1, 0);
        return;
    };
    a.umin = a.umin.max(low);
    b.umax = b.umax.min(high);
}

fn sgreater(a: &mut Scalar, b: &mut Scalar, strict: bool) {
    let by = i64::from(strict);
    let (Some(low), Some(high)) = (b.smin.checked_add(by), a.smax.checked_sub(by)) else {
        (a.smin, a.smax) = (1, 0);
        return;
    };
    a.smin = a.smin.max(low);
    b.smax = b.smax.min(high);
}

fn bits(taken: bool, x: &Scalar, y: &Scalar, width: u64) -> (Scalar, Scalar) {
    let empty = Scalar { smin: 1, smax: 0, ..*x };
    let mask = y.t.value & width;
    let may = (x.t.value | x.t.mask) & (y.t.value | y.t.mask) & width;
    let must = x.t.value & mask;
    if (taken && may == 0) || (!taken && must != 0) {
        return (empty, empty);
    }
    let mut a = *x;
    if y.t.mask & width == 0 {
        if !taken {
            a.t = a.t.intersect(Tnum { value: 0, mask: !mask });
        } else if mask.is_power_of_two() {
            a.t = a.t.intersect(Tnum { value: mask, mask: !mask });
        }
    }
    (settle(a), *y)
}

/// As [`refine`] for comparisons of the low halves.
fn refine32(code: u8, taken: bool, x: &Scalar, y: &Scalar) -> (Scalar, Scalar) {
    if code == cmp::SET {
        return bits(taken, x, y, u64::from(u32::MAX));
    }
    // The low halves as numbers of their own, compared, and put back.
    let signed = matches!(code, cmp::SGT | cmp::SGE | cmp::SLT | cmp::SLE);
    let low = |s: &Scalar| if signed { s.sext(4) } else { s.zext32() };
    let (a, b) = refine(code, taken, &low(x), &low(y));
    if a.is_empty() || b.is_empty() {
        return (a, b);
    }
    (put_low(x, &a), put_low(y, &b))
}

fn put_low(whole: &Scalar, low: &Scalar) -> Scalar {
    let half = Scalar {
        t: Tnum { value: low.t.value & 0xffff_ffff, mask: low.t.mask | 0xffff_ffff_0000_0000 },
        s32min: low.s32min,
        s32max: low.s32max,
        u32min: low.u32min,
        u32max: low.u32max,
        ..Scalar::UNKNOWN
    };
    whole.intersect(&half)
}
