//! The CPUs.

/// How many CPUs there are and which one runs now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cpus {
    /// The CPU that runs now.
    pub current: u32,
    /// How many there are.
    pub count: u32,
}

impl Cpus {
    /// `count` CPUs, at least one; CPU 0 runs.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self { current: 0, count: count.max(1) }
    }
}
