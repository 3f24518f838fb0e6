//! The CPUs.

/// How many CPUs there are, which one runs now, and on which memory nodes they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cpus {
    /// The CPU that runs now.
    pub current: u32,
    /// How many there are.
    pub count: u32,
    /// The memory node of each CPU; CPUs beyond its end are on node 0.
    pub numa: Vec<u32>,
}

impl Cpus {
    /// `count` CPUs, at least one, on one memory node; CPU 0 runs.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self { current: 0, count: count.max(1), numa: Vec::new() }
    }

    /// The memory node of a CPU (`cpu_to_node`).
    #[must_use]
    pub fn node(&self, cpu: u32) -> u32 {
        self.numa.get(cpu as usize).copied().unwrap_or_default()
    }
}
