//! Random numbers, seeded by the test.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): one 64-bit word of state,
/// so that a fork of the machine goes on with the same numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rng(u64);

impl Default for Rng {
    fn default() -> Self {
        Self::seeded(0)
    }
}

impl Rng {
    /// The generator that gives the same numbers for the same seed, on every host, for ever.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// The next 32 bits: the upper half of the next 64.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn the_numbers_never_change() {
        let mut r = Rng::seeded(1_234_567);
        // The published test vector of SplitMix64.
        assert_eq!([r.next_u64(), r.next_u64()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }
}
