//! Random numbers and mutations, the same on every machine.

/// SplitMix64: small, and every seed gives a different sequence.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }

    /// One of some things.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Numbers that programs get wrong.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    7,
    8,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Changes a few places of `bytes` within `range`.
pub(crate) fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, range: std::ops::Range<usize>) {
    for _ in 0..=rng.below(6) {
        let end = range.end.min(bytes.len());
        if end <= range.start {
            return;
        }
        let at = range.start + rng.below(end - range.start);
        match rng.below(8) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = rng.next() as u8,
            2..=4 => {
                let value = rng.pick(&EDGES).to_le_bytes();
                let size = 1 << rng.below(4);
                let at = at & !(size - 1);
                bytes.iter_mut().skip(at).take(size).zip(value).for_each(|(b, v)| *b = v);
            }
            5 => {
                let from = rng.below(bytes.len());
                let len = rng.below(32).min(bytes.len() - from).min(bytes.len() - at);
                bytes.copy_within(from..from + len, at);
            }
            6 => bytes[at] = bytes[at].wrapping_add(1),
            _ if rng.below(8) == 0 => bytes.truncate(at),
            _ => bytes[at] = bytes[at].wrapping_sub(1),
        }
    }
}
