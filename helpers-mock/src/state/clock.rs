//! The virtual clock.

/// Monotonic time that moves only as the test says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clock {
    now: u64,
    step: u64,
}

impl Default for Clock {
    /// One second after boot; standing still until told otherwise.
    fn default() -> Self {
        Self { now: 1_000_000_000, step: 0 }
    }
}

impl Clock {
    /// Nanoseconds since boot, without moving the clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Reads the clock as a helper does: it then moves by the step, if one is set.
    pub fn read(&mut self) -> u64 {
        let now = self.now;
        self.now = now.saturating_add(self.step);
        now
    }
}
