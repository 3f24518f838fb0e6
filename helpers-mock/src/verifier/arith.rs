//! Arithmetic on what is known of numbers (`adjust_scalar_min_max_vals` in `kernel/bpf/verifier.c`).

use super::scalar::Scalar;
use super::tnum::Tnum;

/// Operation numbers: the upper four bits of the opcode (RFC 9669, section 4.1).
pub(super) mod op {
    pub(crate) const ADD: u8 = 0x00;
    pub(crate) const SUB: u8 = 0x10;
    pub(crate) const MUL: u8 = 0x20;
    pub(crate) const DIV: u8 = 0x30;
    pub(crate) const OR: u8 = 0x40;
    pub(crate) const AND: u8 = 0x50;
    pub(crate) const LSH: u8 = 0x60;
    pub(crate) const RSH: u8 = 0x70;
    pub(crate) const NEG: u8 = 0x80;
    pub(crate) const MOD: u8 = 0x90;
    pub(crate) const XOR: u8 = 0xa0;
    pub(crate) const MOV: u8 = 0xb0;
    pub(crate) const ARSH: u8 = 0xc0;
    pub(crate) const END: u8 = 0xd0;
}

/// `a OP b` in 64 bits. `signed` chooses signed division.
pub(super) fn alu64(code: u8, a: &Scalar, b: &Scalar, signed: bool) -> Scalar {
    if let (Some(x), Some(y)) = (a.known(), b.known())
        && let Some(v) = exact(code, x, y, signed)
    {
        return Scalar::constant(v);
    }
    let mut out = Scalar::UNKNOWN;
    match code {
        op::ADD => {
            out.t = a.t.add(b.t);
            if let (Some(lo), Some(hi)) = (a.smin.checked_add(b.smin), a.smax.checked_add(b.smax)) {
                (out.smin, out.smax) = (lo, hi);
            }
            let (lo, over_lo) = a.umin.overflowing_add(b.umin);
            let (hi, over_hi) = a.umax.overflowing_add(b.umax);
            if over_lo == over_hi {
                (out.umin, out.umax) = (lo, hi);
            }
            let low = add32(a, b);
            (out.s32min, out.s32max, out.u32min, out.u32max) = low;
        }
        op::SUB => {
            out.t = a.t.sub(b.t);
            if let (Some(lo), Some(hi)) = (a.smin.checked_sub(b.smax), a.smax.checked_sub(b.smin)) {
                (out.smin, out.smax) = (lo, hi);
            }
            let (lo, over_lo) = a.umin.overflowing_sub(b.umax);
            let (hi, over_hi) = a.umax.overflowing_sub(b.umin);
            if over_lo == over_hi {
                (out.umin, out.umax) = (lo, hi);
            }
            let low = sub32(a, b);
            (out.s32min, out.s32max, out.u32min, out.u32max) = low;
        }
        op::MUL => {
            out.t = a.t.mul(b.t);
            if let (Some(lo), Some(hi)) = (a.umin.checked_mul(b.umin), a.umax.checked_mul(b.umax)) {
                (out.umin, out.umax) = (lo, hi);
            }
            let all = [
                a.smin.checked_mul(b.smin),
                a.smin.checked_mul(b.smax),
                a.smax.checked_mul(b.smin),
                a.smax.checked_mul(b.smax),
            ];
            if all.iter().all(Option::is_some) {
                out.smin = all.iter().flatten().copied().min().unwrap_or(i64::MIN);
                out.smax = all.iter().flatten().copied().max().unwrap_or(i64::MAX);
            }
            if let (Some(lo), Some(hi)) = (a.u32min.checked_mul(b.u32min), a.u32max.checked_mul(b.u32max)) {
                (out.u32min, out.u32max) = (lo, hi);
            }
        }
        op::AND => {
            out.t = a.t.and(b.t);
            out.umin = out.t.value;
            out.umax = a.umax.min(b.umax);
            out.u32max = a.u32max.min(b.u32max);
            if a.smin < 0 && b.smin < 0 {
                // Both can be negative: the lowest result keeps the sign bits that both have in common.
                let floor = a.smin.min(b.smin);
                let bits = 64 - ((!floor) as u64).leading_zeros();
                out.smin = if bits >= 63 { i64::MIN } else { -(1i64 << bits) };
                if a.smax < 0 || b.smax < 0 {
                    out.smax = a.smax.max(b.smax);
                }
            } else {
                out.smin = 0;
            }
        }
        op::OR => {
            out.t = a.t.or(b.t);
            out.umin = a.umin.max(b.umin);
            out.u32min = a.u32min.max(b.u32min);
            out.umax = out.t.value | out.t.mask;
        }
        op::XOR => out.t = a.t.xor(b.t),
        op::LSH => return shift(a, b, 64, lsh),
        op::RSH => return shift(a, b, 64, rsh),
        op::ARSH => return shift(a, b, 64, arsh),
        op::DIV if !signed => {
            (out.umin, out.umax) = match b.known() {
                Some(0) => (0, 0),
                Some(n) => (a.umin / n, a.umax / n),
                None => (0, a.umax),
            };
        }
        op::MOD if !signed => {
            out.umax = match b.known() {
                Some(0) => return *a,
                Some(n) if a.umax < n => return *a,
                Some(n) => n - 1,
                None if b.umin > 0 && a.umax < b.umin => return *a,
                None => a.umax,
            };
        }
        op::DIV | op::MOD => return signed_division(code, a, b),
        _ => {}
    }
    out.synced()
}

fn add32(a: &Scalar, b: &Scalar) -> (i32, i32, u32, u32) {
    let (mut s, mut u) = ((i32::MIN, i32::MAX), (0, u32::MAX));
    if let (Some(lo), Some(hi)) = (a.s32min.checked_add(b.s32min), a.s32max.checked_add(b.s32max)) {
        s = (lo, hi);
    }
    let (lo, over_lo) = a.u32min.overflowing_add(b.u32min);
    let (hi, over_hi) = a.u32max.overflowing_add(b.u32max);
    if over_lo == over_hi {
        u = (lo, hi);
    }
    (s.0, s.1, u.0, u.1)
}

fn sub32(a: &Scalar, b: &Scalar) -> (i32, i32, u32, u32) {
    let (mut s, mut u) = ((i32::MIN, i32::MAX), (0, u32::MAX));
    if let (Some(lo), Some(hi)) = (a.s32min.checked_sub(b.s32max), a.s32max.checked_sub(b.s32min)) {
        s = (lo, hi);
    }
    let (lo, over_lo) = a.u32min.overflowing_sub(b.u32max);
    let (hi, over_hi) = a.u32max.overflowing_sub(b.u32min);
    if over_lo == over_hi {
        u = (lo, hi);
    }
    (s.0, s.1, u.0, u.1)
}

/// The result of known operands; none where it is left to the ranges.
fn exact(code: u8, x: u64, y: u64, signed: bool) -> Option<u64> {
    let (sx, sy) = (x as i64, y as i64);
    Some(match code {
        op::ADD => x.wrapping_add(y),
        op::SUB => x.wrapping_sub(y),
        op::MUL => x.wrapping_mul(y),
        op::OR => x | y,
        op::AND => x & y,
        op::XOR => x ^ y,
        op::LSH if y < 64 => x << y,
        op::RSH if y < 64 => x >> y,
        op::ARSH if y < 64 => (sx >> y) as u64,
        op::DIV if y == 0 => 0,
        op::MOD if y == 0 => x,
        op::DIV if signed => sx.wrapping_div(sy) as u64,
        op::MOD if signed => sx.wrapping_rem(sy) as u64,
        op::DIV => x / y,
        op::MOD => x % y,
        _ => return None,
    })
}

fn signed_division(code: u8, a: &Scalar, b: &Scalar) -> Scalar {
    let Some(n) = b.known().map(|n| n as i64) else { return Scalar::UNKNOWN };
    match (code, n) {
        (op::DIV, 0) => Scalar::constant(0),
        (_, 0) => *a,
        (op::DIV, -1) => alu64(op::SUB, &Scalar::constant(0), a, false),
        (_, -1) => Scalar::constant(0),
        (op::DIV, n) => {
            let (x, y) = (a.smin / n, a.smax / n);
            Scalar::signed(x.min(y), x.max(y))
        }
        (_, n) => {
            let top = (n.unsigned_abs() - 1).min(i64::MAX as u64) as i64;
            let low = if a.smin >= 0 { 0 } else { a.smin.max(-top) };
            let high = if a.smax < 0 { 0 } else { a.smax.min(top) };
            Scalar::signed(low, high)
        }
    }
}

/// Applies a shift by a known distance, or gives what holds for every distance.
fn shift(a: &Scalar, b: &Scalar, width: u64, by: fn(&Scalar, Option<u32>) -> Scalar) -> Scalar {
    if b.umax >= width {
        return Scalar::UNKNOWN;
    }
    match b.known() {
        Some(n) => by(a, Some(n as u32)),
        None if b.umax - b.umin <= 63 => {
            // All distances that are possible, put together.
            let mut out: Option<Scalar> = None;
            for n in b.umin..=b.umax {
                let one = by(a, Some(n as u32));
                out = Some(out.map_or(one, |o| union(&o, &one)));
            }
            out.unwrap_or(Scalar::UNKNOWN)
        }
        None => by(a, None),
    }
}

/// Whatever is in either.
pub(super) fn union(a: &Scalar, b: &Scalar) -> Scalar {
    let mask = a.t.mask | b.t.mask | (a.t.value ^ b.t.value);
    Scalar {
        t: Tnum { value: a.t.value & !mask, mask },
        smin: a.smin.min(b.smin),
        smax: a.smax.max(b.smax),
        umin: a.umin.min(b.umin),
        umax: a.umax.max(b.umax),
        s32min: a.s32min.min(b.s32min),
        s32max: a.s32max.max(b.s32max),
        u32min: a.u32min.min(b.u32min),
        u32max: a.u32max.max(b.u32max),
    }
}

fn lsh(a: &Scalar, n: Option<u32>) -> Scalar {
    let Some(n) = n else { return Scalar::UNKNOWN };
    let mut out = Scalar { t: a.t.lsh(n), ..Scalar::UNKNOWN };
    if a.umax.leading_zeros() >= n {
        (out.umin, out.umax) = (a.umin << n, a.umax << n);
    }
    if ((a.smin << n) >> n, (a.smax << n) >> n) == (a.smin, a.smax) {
        (out.smin, out.smax) = (a.smin << n, a.smax << n);
    }
    if n < 32 && a.u32max.leading_zeros() >= n {
        (out.u32min, out.u32max) = (a.u32min << n, a.u32max << n);
    }
    out.synced()
}

fn rsh(a: &Scalar, n: Option<u32>) -> Scalar {
    let Some(n) = n else { return Scalar::unsigned(0, a.umax) };
    let out = Scalar { t: a.t.rsh(n), umin: a.umin >> n, umax: a.umax >> n, ..Scalar::UNKNOWN };
    out.synced()
}

fn arsh(a: &Scalar, n: Option<u32>) -> Scalar {
    let Some(n) = n else { return Scalar::UNKNOWN };
    Scalar { t: a.t.arsh(n), smin: a.smin >> n, smax: a.smax >> n, ..Scalar::UNKNOWN }.synced()
}

/// `a OP b` in 32 bits, zero-extended.
pub(super) fn alu32(code: u8, a: &Scalar, b: &Scalar, signed: bool) -> Scalar {
    if matches!(code, op::LSH | op::RSH | op::ARSH) {
        if b.u32max >= 32 {
            return Scalar::of_size(4);
        }
        let by = b.zext32();
        let out = match code {
            op::ARSH => alu64(code, &a.sext(4), &by, false),
            _ => alu64(code, &a.zext32(), &by, false),
        };
        return out.zext32();
    }
    let (x, y) = if signed { (a.sext(4), b.sext(4)) } else { (a.zext32(), b.zext32()) };
    match code {
        op::DIV | op::MOD => alu64(code, &x, &y, signed).zext32(),
        // Signed views of the operands give further bounds for the low half.
        op::ADD | op::SUB | op::MUL | op::AND | op::OR | op::XOR => {
            let direct = alu64(code, a, b, false).zext32();
            let zero = alu64(code, &a.zext32(), &b.zext32(), false).zext32();
            let sign = alu64(code, &a.sext(4), &b.sext(4), false).zext32();
            direct.intersect(&zero).intersect(&sign)
        }
        _ => Scalar::of_size(4),
    }
}
