//! Numbers of which some bits are known (`kernel/bpf/tnum.c`).

/// Bits that are set in `mask` are unknown; the others are as in `value`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tnum {
    pub(super) value: u64,
    pub(super) mask: u64,
}

impl Tnum {
    pub(super) const UNKNOWN: Self = Self { value: 0, mask: u64::MAX };

    pub(super) const fn constant(value: u64) -> Self {
        Self { value, mask: 0 }
    }

    pub(super) const fn is_const(self) -> bool {
        self.mask == 0
    }

    /// The smallest tnum that holds all of `min..=max`.
    pub(super) const fn range(min: u64, max: u64) -> Self {
        let chi = min ^ max;
        let bits = 64 - chi.leading_zeros();
        if bits > 63 {
            return Self::UNKNOWN;
        }
        let delta = (1u64 << bits) - 1;
        Self { value: min & !delta, mask: delta }
    }

    pub(super) const fn lsh(self, n: u32) -> Self {
        Self { value: self.value << n, mask: self.mask << n }
    }

    pub(super) const fn rsh(self, n: u32) -> Self {
        Self { value: self.value >> n, mask: self.mask >> n }
    }

    pub(super) const fn arsh(self, n: u32) -> Self {
        Self { value: ((self.value as i64) >> n) as u64, mask: ((self.mask as i64) >> n) as u64 }
    }

    pub(super) const fn add(self, b: Self) -> Self {
        let sm = self.mask.wrapping_add(b.mask);
        let sv = self.value.wrapping_add(b.value);
        let mu = (sm.wrapping_add(sv) ^ sv) | self.mask | b.mask;
        Self { value: sv & !mu, mask: mu }
    }

    pub(super) const fn sub(self, b: Self) -> Self {
        let dv = self.value.wrapping_sub(b.value);
        let mu = (dv.wrapping_add(self.mask) ^ dv.wrapping_sub(b.mask)) | self.mask | b.mask;
        Self { value: dv & !mu, mask: mu }
    }

    pub(super) const fn and(self, b: Self) -> Self {
        let v = self.value & b.value;
        Self { value: v, mask: (self.value | self.mask) & (b.value | b.mask) & !v }
    }

    pub(super) const fn or(self, b: Self) -> Self {
        let v = self.value | b.value;
        Self { value: v, mask: (self.mask | b.mask) & !v }
    }

    pub(super) const fn xor(self, b: Self) -> Self {
        let mu = self.mask | b.mask;
        Self { value: (self.value ^ b.value) & !mu, mask: mu }
    }

    /// The product: trailing known zeros add up, nothing else is kept unless both are known.
    pub(super) fn mul(self, b: Self) -> Self {
        if self.is_const() && b.is_const() {
            return Self::constant(self.value.wrapping_mul(b.value));
        }
        let (mut a, mut b) = (self, b);
        let acc_v = a.value.wrapping_mul(b.value);
        let mut acc_m = Self::constant(0);
        while a.value != 0 || a.mask != 0 {
            if a.value & 1 != 0 {
                acc_m = acc_m.add(Self { value: 0, mask: b.mask });
            } else if a.mask & 1 != 0 {
                acc_m = acc_m.add(Self { value: 0, mask: b.value | b.mask });
            }
            a = a.rsh(1);
            b = b.lsh(1);
        }
        Self::constant(acc_v).add(acc_m)
    }

    /// What both allow; the result is meaningless if they contradict each other.
    pub(super) const fn intersect(self, b: Self) -> Self {
        let v = self.value | b.value;
        let mu = self.mask & b.mask;
        Self { value: v & !mu, mask: mu }
    }

    /// Its smallest number from `v` on.
    pub(super) fn at_least(self, v: u64) -> Option<u64> {
        let low = self.value | (v & self.mask);
        if low == v {
            return Some(v);
        }
        // The highest bit where the known ones differ from `v` decides.
        let bit = 63 - (low ^ v).leading_zeros();
        let below = (1u64 << bit) - 1;
        if low > v {
            return Some(low & !(below & self.mask));
        }
        // Too small: the next unknown zero above that bit becomes one.
        let free = self.mask & !low & !below & !(1u64 << bit);
        let up = free & free.wrapping_neg();
        (up != 0).then(|| (low | up) & !((up - 1) & self.mask))
    }

    /// Its largest number up to `v`.
    pub(super) fn at_most(self, v: u64) -> Option<u64> {
        let flipped = Self { value: !(self.value | self.mask), mask: self.mask };
        flipped.at_least(!v).map(|x| !x)
    }

    /// Whether no number is in both.
    pub(super) const fn disjoint(self, b: Self) -> bool {
        (self.value ^ b.value) & !self.mask & !b.mask != 0
    }

    /// The low `bytes` bytes, zero-extended.
    pub(super) const fn cast(self, bytes: u32) -> Self {
        if bytes >= 8 {
            return self;
        }
        let m = (1u64 << (bytes * 8)) - 1;
        Self { value: self.value & m, mask: self.mask & m }
    }

    /// Whether every number of `b` is in `self`.
    pub(super) const fn contains(self, b: Self) -> bool {
        b.mask & !self.mask == 0 && self.value == b.value & !self.mask
    }

    /// Whether it is certainly a multiple of `size` (a power of two).
    pub(super) const fn aligned(self, size: u64) -> bool {
        (self.value | self.mask) & (size - 1) == 0
    }
}
