//! What verifying a program cost.

/// The verifier's counts (`kernel/bpf/verifier.c`, `print_verification_stats()`); a number that the log does not have is
/// `None`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Instructions walked over, on all paths together.
    pub insns_processed: Option<u64>,
    /// How many may be.
    pub insns_limit: Option<u64>,
    /// The most states kept at one instruction.
    pub max_states_per_insn: Option<u64>,
    /// States made.
    pub total_states: Option<u64>,
    /// The most states kept at one time.
    pub peak_states: Option<u64>,
    /// The longest chain of registers marked as read.
    pub mark_read: Option<u64>,
    /// Bytes of stack of all functions together: the log has one number for each.
    pub stack_depth: Option<u64>,
    /// Microseconds.
    pub verification_usec: Option<u64>,
}

/// Where counts begin in a line, its length if they do not.
pub(super) fn place(line: &str) -> usize {
    let counts = line
        .find("verification time ")
        .or_else(|| line.find("processed ").filter(|_| line.contains(" insns (limit ")));
    counts.unwrap_or(line.len())
}

impl Stats {
    /// Takes what a line says.
    pub(super) fn read(&mut self, line: &str) {
        let words: Vec<&str> = line.split([' ', '(', ')']).filter(|w| !w.is_empty()).collect();
        let after = |name: &str| {
            let at = words.iter().position(|w| *w == name)?;
            words.get(at + 1)?.parse::<u64>().ok()
        };
        let set = |slot: &mut Option<u64>, value: Option<u64>| *slot = value.or(*slot);
        if line.starts_with("subprog ") {
            // Since Linux 7.3 each function has a line, and `stack depth` says something else.
            let stack = after("stack").map(|n| self.stack_depth.unwrap_or(0).saturating_add(n));
            set(&mut self.stack_depth, stack);
        } else if line.starts_with("stack depth ") {
            let depths = words.get(2).map(|w| w.split('+').map(str::parse::<u64>));
            let sum = depths.and_then(|mut d| d.try_fold(0u64, |sum, n| n.ok()?.checked_add(sum)));
            set(&mut self.stack_depth, sum);
        } else if line.starts_with("verification time ") {
            set(&mut self.verification_usec, after("time"));
        } else {
            set(&mut self.insns_processed, after("processed"));
            set(&mut self.insns_limit, after("limit"));
            set(&mut self.max_states_per_insn, after("max_states_per_insn"));
            set(&mut self.total_states, after("total_states"));
            set(&mut self.peak_states, after("peak_states"));
            set(&mut self.mark_read, after("mark_read"));
        }
    }
}
