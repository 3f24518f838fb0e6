//! What `bpf_trace_printk` writes: the lines that `trace_pipe` shows.

use std::fmt;

/// One line of the trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceLine {
    /// The command name of the task that the program ran in.
    pub comm: String,
    /// Its thread id; 0 is the idle task.
    pub pid: u32,
    /// The CPU.
    pub cpu: u32,
    /// Nanoseconds since boot.
    pub ns: u64,
    /// What the program printed.
    pub text: String,
}

impl fmt::Display for TraceLine {
    /// The line as `trace_pipe` shows it (`trace_print_context` in `kernel/trace/trace_output.c`), without the newline
    /// at its end. The flags are those of a program that runs in a probe: interrupts and preemption off.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comm = if self.pid == 0 { "<idle>" } else { &self.comm };
        let us = (self.ns + 500) / 1000;
        let (sec, us) = (us / 1_000_000, us % 1_000_000);
        // The kernel counts bytes, and not characters.
        write!(f, "{:width$}{comm}", "", width = 16usize.saturating_sub(comm.len()))?;
        write!(f, "-{:<7} [{:03}] d..31 {sec:5}.{us:06}: ", self.pid, self.cpu)?;
        write!(f, "bpf_trace_printk: {}", self.text)
    }
}

/// Lines that are kept at the least.
const KEPT: usize = 1 << 17;

/// The trace, oldest line first.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TracePipe {
    lines: Vec<TraceLine>,
    /// How many lines at the beginning have been taken.
    read: usize,
}

impl TracePipe {
    /// Adds a line. As in the kernel's ring buffer, the oldest make room when there are too many.
    pub fn push(&mut self, line: TraceLine) {
        if self.lines.len() >= 2 * KEPT {
            self.lines.drain(..KEPT);
            self.read = self.read.saturating_sub(KEPT);
        }
        self.lines.push(line);
    }

    /// The lines that nobody has taken.
    #[must_use]
    pub fn lines(&self) -> &[TraceLine] {
        self.lines.get(self.read..).unwrap_or_default()
    }

    /// Takes all lines, as reading `trace_pipe` does.
    pub fn take(&mut self) -> Vec<TraceLine> {
        let read = std::mem::take(&mut self.read);
        let mut lines = std::mem::take(&mut self.lines);
        lines.drain(..read.min(lines.len()));
        lines
    }

    /// Takes the oldest line.
    pub fn take_line(&mut self) -> Option<TraceLine> {
        let line = self.lines.get(self.read)?.clone();
        self.read += 1;
        // Lines that were read go in large pieces, so that reading all of them takes linear time.
        if self.read * 2 > self.lines.len() {
            self.lines.drain(..self.read);
            self.read = 0;
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, TraceLine, TracePipe};

    #[test]
    fn lines_are_taken_one_by_one_or_all() {
        let line = |ns| TraceLine { comm: "a".into(), pid: 1, cpu: 0, ns, text: String::new() };
        let mut pipe = TracePipe::default();
        for ns in 0..5 {
            pipe.push(line(ns));
        }
        assert_eq!(pipe.take_line(), Some(line(0)));
        assert_eq!(pipe.take_line(), Some(line(1)));
        assert_eq!(pipe.lines().len(), 3);
        assert_eq!(pipe.take(), [line(2), line(3), line(4)]);
        assert_eq!((pipe.take_line(), pipe.lines().len()), (None, 0));
        pipe.push(line(9));
        assert_eq!(pipe.take_line(), Some(line(9)));
    }

    #[test]
    fn a_flood_of_lines_pushes_the_oldest_out() {
        let mut pipe = TracePipe::default();
        for ns in 0..3 * KEPT as u64 {
            let line = TraceLine { comm: String::new(), pid: 1, cpu: 0, ns, text: String::new() };
            pipe.push(line);
        }
        assert!((KEPT..=2 * KEPT).contains(&pipe.lines().len()));
        assert_eq!(pipe.lines().last().map(|l| l.ns), Some(3 * KEPT as u64 - 1));
    }

    #[test]
    fn a_line_looks_as_in_trace_pipe() {
        let line =
            || TraceLine { comm: "cat".into(), pid: 4242, cpu: 1, ns: 12_345_678_901, text: "hi 7".into() };
        assert_eq!(
            line().to_string(),
            "             cat-4242    [001] d..31    12.345679: bpf_trace_printk: hi 7"
        );
        let idle = TraceLine { comm: "swapper/0".into(), pid: 0, ..line() };
        assert!(idle.to_string().starts_with("          <idle>-0       [001]"), "{idle}");
        let umlauts = TraceLine { comm: "größe".into(), ..line() };
        assert_eq!(umlauts.to_string().find('-'), Some(16), "{umlauts}");
    }
}
