//! What is known of a number in a register: tnum and four intervals, each made as narrow as the others allow
//! (`struct bpf_reg_state`, `reg_bounds_sync` in `kernel/bpf/verifier.c`).
//!
//! Knowing more than the kernel is harmless here, knowing less would refuse what the kernel accepts.

use super::tnum::Tnum;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Scalar {
    pub(super) t: Tnum,
    pub(super) smin: i64,
    pub(super) smax: i64,
    pub(super) umin: u64,
    pub(super) umax: u64,
    pub(super) s32min: i32,
    pub(super) s32max: i32,
    pub(super) u32min: u32,
    pub(super) u32max: u32,
}

impl Scalar {
    pub(super) const UNKNOWN: Self = Self {
        t: Tnum::UNKNOWN,
        smin: i64::MIN,
        smax: i64::MAX,
        umin: 0,
        umax: u64::MAX,
        s32min: i32::MIN,
        s32max: i32::MAX,
        u32min: 0,
        u32max: u32::MAX,
    };

    pub(super) const fn constant(v: u64) -> Self {
        Self {
            t: Tnum::constant(v),
            smin: v as i64,
            smax: v as i64,
            umin: v,
            umax: v,
            s32min: v as i32,
            s32max: v as i32,
            u32min: v as u32,
            u32max: v as u32,
        }
    }

    /// Any number of this many bytes.
    pub(super) fn of_size(bytes: u32) -> Self {
        if bytes >= 8 { Self::UNKNOWN } else { Self::from_tnum(Tnum::UNKNOWN.cast(bytes)) }
    }

    pub(super) fn from_tnum(t: Tnum) -> Self {
        Self { t, ..Self::UNKNOWN }.synced()
    }

    pub(super) fn unsigned(min: u64, max: u64) -> Self {
        Self { umin: min, umax: max, ..Self::UNKNOWN }.synced()
    }

    pub(super) fn signed(min: i64, max: i64) -> Self {
        Self { smin: min, smax: max, ..Self::UNKNOWN }.synced()
    }

    pub(super) const fn known(&self) -> Option<u64> {
        if self.t.is_const() { Some(self.t.value) } else { None }
    }

    pub(super) fn known32(&self) -> Option<u32> {
        (self.t.mask as u32 == 0).then_some(self.t.value as u32)
    }

    /// Whether no number fits.
    pub(super) const fn is_empty(&self) -> bool {
        self.smin > self.smax
            || self.umin > self.umax
            || self.s32min > self.s32max
            || self.u32min > self.u32max
    }

    /// Whether every number of `b` is in `self`.
    pub(super) const fn contains(&self, b: &Self) -> bool {
        self.t.contains(b.t)
            && self.smin <= b.smin
            && self.smax >= b.smax
            && self.umin <= b.umin
            && self.umax >= b.umax
            && self.s32min <= b.s32min
            && self.s32max >= b.s32max
            && self.u32min <= b.u32min
            && self.u32max >= b.u32max
    }

    /// Every bound made as narrow as the others allow.
    pub(super) fn synced(mut self) -> Self {
        for _ in 0..3 {
            let before = self;
            self.narrow_by_bits();
            self.deduce();
            self.narrow_bits();
            if self == before || self.is_empty() {
                break;
            }
        }
        self
    }

    fn narrow_by_bits(&mut self) {
        let Tnum { value, mask } = self.t;
        self.umin = self.umin.max(value);
        self.umax = self.umax.min(value | mask);
        self.smin = self.smin.max((value | (mask & (1 << 63))) as i64);
        self.smax = self.smax.min((value | (mask & !(1 << 63))) as i64);
        let (v, m) = (value as u32, mask as u32);
        self.u32min = self.u32min.max(v);
        self.u32max = self.u32max.min(v | m);
        self.s32min = self.s32min.max((v | (m & (1 << 31))) as i32);
        self.s32max = self.s32max.min((v | (m & !(1 << 31))) as i32);
    }

    fn narrow_bits(&mut self) {
        if self.is_empty() {
            return;
        }
        match (self.t.at_least(self.umin), self.t.at_most(self.umax)) {
            (Some(lo), Some(hi)) if lo <= hi => (self.umin, self.umax) = (lo, hi),
            _ => {
                (self.umin, self.umax) = (1, 0);
                return;
            }
        }
        let wide = Tnum::range(self.umin, self.umax);
        let low = Tnum::range(self.u32min.into(), self.u32max.into());
        let low = Tnum { value: low.value, mask: low.mask | 0xffff_ffff_0000_0000 };
        self.t = self.t.intersect(wide).intersect(low);
    }

    fn deduce(&mut self) {
        self.deduce_32();
        self.deduce_64();
        self.deduce_mixed();
        self.deduce_32();
        self.deduce_64();
    }

    fn deduce_32(&mut self) {
        if self.umin >> 32 == self.umax >> 32 {
            self.u32min = self.u32min.max(self.umin as u32);
            self.u32max = self.u32max.min(self.umax as u32);
            if self.umin as i32 <= self.umax as i32 {
                self.s32min = self.s32min.max(self.umin as i32);
                self.s32max = self.s32max.min(self.umax as i32);
            }
        }
        if self.smin >> 32 == self.smax >> 32 {
            if self.smin as u32 <= self.smax as u32 {
                self.u32min = self.u32min.max(self.smin as u32);
                self.u32max = self.u32max.min(self.smax as u32);
            }
            if self.smin as i32 <= self.smax as i32 {
                self.s32min = self.s32min.max(self.smin as i32);
                self.s32max = self.s32max.min(self.smax as i32);
            }
        }
        if ((self.umin >> 32) as u32).wrapping_add(1) == (self.umax >> 32) as u32
            && (self.umin as i32) < 0
            && (self.umax as i32) >= 0
        {
            self.s32min = self.s32min.max(self.umin as i32);
            self.s32max = self.s32max.min(self.umax as i32);
        }
        if ((self.smin >> 32) as u32).wrapping_add(1) == (self.smax >> 32) as u32
            && (self.smin as i32) < 0
            && (self.smax as i32) >= 0
        {
            self.s32min = self.s32min.max(self.smin as i32);
            self.s32max = self.s32max.min(self.smax as i32);
        }
        if self.u32min as i32 <= self.u32max as i32 {
            self.s32min = self.s32min.max(self.u32min as i32);
            self.s32max = self.s32max.min(self.u32max as i32);
        }
        if self.s32min as u32 <= self.s32max as u32 {
            self.u32min = self.u32min.max(self.s32min as u32);
            self.u32max = self.u32max.min(self.s32max as u32);
        } else if self.u32max < self.s32min as u32 {
            self.s32min = self.u32min as i32;
            self.u32max = self.u32max.min(self.s32max as u32);
        } else if (self.s32max as u32) < self.u32min {
            self.s32max = self.u32max as i32;
            self.u32min = self.u32min.max(self.s32min as u32);
        }
    }

    fn deduce_64(&mut self) {
        if self.umin as i64 <= self.umax as i64 {
            self.smin = self.smin.max(self.umin as i64);
            self.smax = self.smax.min(self.umax as i64);
        }
        if self.smin as u64 <= self.smax as u64 {
            self.umin = self.umin.max(self.smin as u64);
            self.umax = self.umax.min(self.smax as u64);
        } else if self.umax < self.smin as u64 {
            self.smin = self.umin as i64;
            self.umax = self.umax.min(self.smax as u64);
        } else if (self.smax as u64) < self.umin {
            self.smax = self.umax as i64;
            self.umin = self.umin.max(self.smin as u64);
        }
    }

    fn deduce_mixed(&mut self) {
        let high = !0xffff_ffffu64;
        if self.u32min <= self.u32max {
            let up = next_low(self.umin, self.u32min, self.u32max);
            let down = prev_low(self.umax, self.u32min, self.u32max);
            match (up, down) {
                (Some(lo), Some(hi)) => {
                    self.umin = self.umin.max(lo);
                    self.umax = self.umax.min(hi);
                }
                _ => (self.umin, self.umax) = (1, 0),
            }
        }
        let smin = ((self.smin as u64 & high) | u64::from(self.u32min)) as i64;
        let smax = ((self.smax as u64 & high) | u64::from(self.u32max)) as i64;
        self.smin = self.smin.max(smin);
        self.smax = self.smax.min(smax);
        if self.s32min >= 0 && self.smin >= i64::from(i32::MIN) && self.smax <= i64::from(i32::MAX) {
            self.smin = self.smin.max(self.s32min.into());
            self.smax = self.smax.min(self.s32max.into());
        }
        // A 64-bit range inside the sign-extended 32 bits says as much as the 32-bit one.
        if self.smin >= i64::from(i32::MIN) && self.smax <= i64::from(i32::MAX) {
            self.smin = self.smin.max(self.s32min.into());
            self.smax = self.smax.min(self.s32max.into());
        }
    }

    /// The low half, zero-extended (`zext_32_to_64`).
    pub(super) fn zext32(&self) -> Self {
        Self {
            t: self.t.cast(4),
            smin: 0,
            smax: i64::from(u32::MAX),
            umin: self.u32min.into(),
            umax: self.u32max.into(),
            ..*self
        }
        .synced()
    }

    /// The low `bytes` bytes, zero-extended (`coerce_reg_to_size`).
    pub(super) fn zext(&self, bytes: u32) -> Self {
        match bytes {
            8.. => *self,
            4 => self.zext32(),
            n => {
                let max = (1u64 << (n * 8)) - 1;
                let mut out = Self::from_tnum(self.t.cast(n));
                if self.umin & !max == self.umax & !max {
                    out.umin = out.umin.max(self.umin & max);
                    out.umax = out.umax.min(self.umax & max);
                }
                out.synced()
            }
        }
    }

    /// The low `bytes` bytes, sign-extended to 64 bits.
    pub(super) fn sext(&self, bytes: u32) -> Self {
        let bits = bytes * 8;
        if bits >= 64 {
            return *self;
        }
        let (lo, hi) = (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1);
        if self.smin >= lo && self.smax <= hi {
            return *self;
        }
        let sign = 1u64 << (bits - 1);
        let t = self.t.cast(bytes);
        let fill = !((1u64 << bits) - 1);
        let t = if t.mask & sign != 0 {
            Tnum { value: t.value, mask: t.mask | fill }
        } else if t.value & sign != 0 {
            Tnum { value: t.value | fill, mask: t.mask }
        } else {
            t
        };
        let mut out = Self { t, smin: lo, smax: hi, ..Self::UNKNOWN };
        if bytes == 4 {
            out.smin = self.s32min.into();
            out.smax = self.s32max.into();
        } else if self.smin >> bits == self.smax >> bits {
            let ext = |v: i64| (v << (64 - bits)) >> (64 - bits);
            if ext(self.smin) <= ext(self.smax) {
                out.smin = ext(self.smin);
                out.smax = ext(self.smax);
            }
        }
        out.synced()
    }

    pub(super) fn intersect(&self, b: &Self) -> Self {
        let out = Self {
            t: self.t.intersect(b.t),
            smin: self.smin.max(b.smin),
            smax: self.smax.min(b.smax),
            umin: self.umin.max(b.umin),
            umax: self.umax.min(b.umax),
            s32min: self.s32min.max(b.s32min),
            s32max: self.s32max.min(b.s32max),
            u32min: self.u32min.max(b.u32min),
            u32max: self.u32max.min(b.u32max),
        };
        if self.t.disjoint(b.t) { Self { smin: 1, smax: 0, ..out } } else { out.synced() }
    }
}

/// The smallest number from `v` on whose low half is within `lo..=hi`.
fn next_low(v: u64, lo: u32, hi: u32) -> Option<u64> {
    let low = v as u32;
    if low < lo {
        Some((v & !0xffff_ffff) | u64::from(lo))
    } else if low > hi {
        Some((v & !0xffff_ffff).checked_add(1 << 32)? | u64::from(lo))
    } else {
        Some(v)
    }
}

/// The largest number up to `v` whose low half is within `lo..=hi`.
fn prev_low(v: u64, lo: u32, hi: u32) -> Option<u64> {
    let low = v as u32;
    if low > hi {
        Some((v & !0xffff_ffff) | u64::from(hi))
    } else if low < lo {
        Some((v & !0xffff_ffff).checked_sub(1 << 32)? | u64::from(hi))
    } else {
        Some(v)
    }
}
