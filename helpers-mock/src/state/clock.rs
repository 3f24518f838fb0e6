//! The virtual clock: one monotonic time from which all of the kernel's clocks follow (`kernel/time/timekeeping.c`).

use std::collections::BTreeMap;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;
/// Real time at boot if the test says nothing: 2024-01-01 00:00:00 UTC.
const EPOCH: u64 = 1_704_067_200 * SECOND;
/// International atomic time is ahead of UTC by this much since 2017.
const TAI_OFFSET: u64 = 37 * SECOND;

/// Time that moves only as the test says.
///
/// * Fixed or manual (the default): it stands still until [`Clock::set`] or [`Clock::advance`].
/// * Per-call step: each reading by a program moves it on by [`Clock::set_step`]'s amount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clock {
    now: u64,
    step: u64,
    /// Time spent suspended: what `CLOCK_BOOTTIME` counts and `CLOCK_MONOTONIC` does not.
    pub suspended: u64,
    /// Real time (UTC, nanoseconds since 1970) at boot.
    pub boot_time: u64,
    /// What `CLOCK_TAI` is ahead of real time.
    pub tai_offset: u64,
    alarms: BTreeMap<(u64, u64), u64>,
    alarm_seq: u64,
}

impl Default for Clock {
    /// One second after boot; standing still until told otherwise.
    fn default() -> Self {
        Self {
            now: SECOND,
            step: 0,
            suspended: 0,
            boot_time: EPOCH,
            tai_offset: TAI_OFFSET,
            alarms: BTreeMap::new(),
            alarm_seq: 0,
        }
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

    /// By how much each reading moves the clock; 0 lets it stand.
    pub fn set_step(&mut self, ns: u64) {
        self.step = ns;
    }

    /// Sets the monotonic time, also backwards. Alarms in between stay due.
    pub fn set(&mut self, ns: u64) {
        self.now = ns;
    }

    /// Moves on by this much without looking at alarms.
    pub fn advance(&mut self, ns: u64) {
        self.now = self.now.saturating_add(ns);
    }

    /// Monotonic time as a boot-time clock shows it (`CLOCK_BOOTTIME`).
    #[must_use]
    pub fn to_boot(&self, mono: u64) -> u64 {
        mono.saturating_add(self.suspended)
    }

    /// Monotonic time as International atomic time (`CLOCK_TAI`).
    #[must_use]
    pub fn to_tai(&self, mono: u64) -> u64 {
        self.to_boot(mono).saturating_add(self.boot_time).saturating_add(self.tai_offset)
    }

    /// Monotonic time as of the last timer tick (`CLOCK_MONOTONIC_COARSE`).
    #[must_use]
    pub fn to_coarse(&self, mono: u64, hz: u32) -> u64 {
        mono - mono % tick(hz)
    }

    /// `jiffies` at a monotonic time: ticks since boot from `INITIAL_JIFFIES`, five minutes before 32 bits overflow.
    #[must_use]
    pub fn to_jiffies(&self, mono: u64, hz: u32) -> u64 {
        let initial = u64::from(0_u32.wrapping_sub(hz.wrapping_mul(300)));
        initial.wrapping_add(mono / tick(hz))
    }

    /// Asks for `id` to be given by [`Clock::next_due`] at a monotonic time; an earlier request for it is replaced.
    pub fn set_alarm(&mut self, at: u64, id: u64) {
        self.cancel_alarm(id);
        self.alarms.insert((at, self.alarm_seq), id);
        self.alarm_seq += 1;
    }

    /// Takes a request back; whether there was one.
    pub fn cancel_alarm(&mut self, id: u64) -> bool {
        let before = self.alarms.len();
        self.alarms.retain(|_, i| *i != id);
        self.alarms.len() < before
    }

    /// The times and ids of all alarms in the order in which they fall due (ties: in the order of asking).
    pub fn alarms(&self) -> impl Iterator<Item = (u64, u64)> {
        self.alarms.iter().map(|((at, _), id)| (*at, *id))
    }

    /// Moves to the next alarm that falls due by `until` and takes it out, or else to `until`.
    pub fn next_due(&mut self, until: u64) -> Option<u64> {
        let first = self.alarms.first_entry().filter(|e| e.key().0 <= until);
        match first {
            Some(entry) => {
                let ((at, _), id) = entry.remove_entry();
                self.now = self.now.max(at);
                Some(id)
            }
            None => {
                self.now = self.now.max(until);
                None
            }
        }
    }
}

/// Nanoseconds between timer interrupts.
fn tick(hz: u32) -> u64 {
    (SECOND / u64::from(hz.max(1))).max(1)
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn every_clock_follows_from_the_monotonic_one() {
        let mut c = Clock::default();
        c.set(2_345_678_901);
        c.suspended = 5;
        assert_eq!(c.to_boot(c.now()), 2_345_678_906);
        assert_eq!(c.to_coarse(c.now(), 250), 2_344_000_000);
        assert_eq!(c.to_tai(c.now()), 1_704_067_237_000_000_000 + 2_345_678_906);
        // INITIAL_JIFFIES for HZ=250 is 0xfffedb08.
        assert_eq!(c.to_jiffies(c.now(), 250), 0xfffe_db08 + 586);
    }

    #[test]
    fn a_step_moves_the_clock_after_each_reading() {
        let mut c = Clock::default();
        c.set_step(10);
        assert_eq!([c.read(), c.read(), c.now()], [1_000_000_000, 1_000_000_010, 1_000_000_020]);
    }

    #[test]
    fn alarms_fall_due_in_order_and_move_the_clock() {
        let mut c = Clock::default();
        c.set(0);
        for (at, id) in [(30, 1), (10, 2), (10, 3), (99, 4), (20, 1)] {
            c.set_alarm(at, id);
        }
        assert!(c.cancel_alarm(3));
        let mut seen = Vec::new();
        while let Some(id) = c.next_due(50) {
            seen.push((c.now(), id));
        }
        assert_eq!(seen, [(10, 2), (20, 1)]);
        assert_eq!(c.now(), 50);
        assert_eq!(c.alarms().collect::<Vec<_>>(), [(99, 4)]);
    }
}
