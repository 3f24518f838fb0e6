//! The guest's console: its last bytes, and what they say about how the guest ended.

use super::error::VmError;
use super::protocol::LAST_WORDS;

/// What is kept. A crash report with two call traces is 10 KiB.
const KEPT: usize = 256 * 1024;
/// Lines quoted when nothing better is known.
const TAIL_LINES: usize = 15;
/// Lines quoted of a crash.
const TRACE_LINES: usize = 60;

/// First lines of what the kernel prints when it can no longer be trusted (kernel/panic.c, arch/x86/kernel/dumpstack.c,
/// arch/x86/mm/fault.c, lib/bug.c, arch/arm64/mm/fault.c, arch/arm64/kernel/traps.c).
const CRASHES: &[&str] = &[
    "BUG: kernel NULL pointer dereference",
    "BUG: unable to handle",
    "Unable to handle kernel ",
    "kernel BUG at ",
    "Oops: ",
    "Internal error: ",
    "Kernel panic - not syncing",
];
/// mm/oom_kill.c. A memory cgroup's own limit ("Memory cgroup out of memory") is the test's business.
const OUT_OF_MEMORY: &[&str] = &[
    "Out of memory: Killed process",
    "Out of memory and no killable processes",
    "System is deadlocked on memory",
];
/// init/initramfs.c, when the unpacked files do not fit.
const UNPACKING_FAILED: &str = "Initramfs unpacking failed: write error";

/// Collects what the guest prints.
#[derive(Debug, Clone, Default)]
pub(super) struct Console {
    bytes: Vec<u8>,
    total: u64,
}

impl Console {
    /// Takes more bytes; forgets the oldest beyond a limit.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * KEPT {
            self.bytes.drain(..self.bytes.len() - KEPT);
        }
    }

    /// All bytes ever taken.
    #[must_use]
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The text without carriage returns, terminal sequences and empty lines.
    #[must_use]
    pub(super) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        text.lines().map(plain).filter(|line| !line.trim().is_empty()).collect()
    }

    /// The last lines.
    #[must_use]
    pub(super) fn tail(&self) -> String {
        let lines = self.lines();
        lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
    }

    /// The kernel's report of its own end, if there is one.
    #[must_use]
    pub(super) fn crash(&self) -> Option<VmError> {
        let lines = self.lines();
        let start = lines.iter().position(|line| CRASHES.iter().any(|crash| line.contains(crash)))?;
        let report = lines.get(start..)?;
        let reason = without_time(report.first()?).to_owned();
        let trace = report.iter().take(TRACE_LINES).cloned().collect::<Vec<_>>().join("\n");
        Some(VmError::Panic { reason, trace })
    }

    /// The kernel's line about having run out of memory.
    #[must_use]
    pub(super) fn out_of_memory(&self, memory_mib: u64) -> Option<VmError> {
        let lines = self.lines();
        if lines.iter().any(|line| line.contains(UNPACKING_FAILED)) {
            let victim = "the program and its files do not fit".to_owned();
            return Some(VmError::OutOfMemory { victim, memory_mib });
        }
        let line = lines.iter().find(|line| OUT_OF_MEMORY.iter().any(|text| line.contains(text)))?;
        Some(VmError::OutOfMemory { victim: without_time(line).to_owned(), memory_mib })
    }

    /// Why the agent gave up, in its last words.
    #[must_use]
    pub(super) fn agent_gave_up(&self) -> Option<VmError> {
        let lines = self.lines();
        let what = lines.iter().rev().find_map(|line| line.split_once(LAST_WORDS))?.1.trim_end().to_owned();
        Some(VmError::AgentLost { what, console: self.tail() })
    }

    /// Whether the kernel has said that it stops.
    #[must_use]
    pub(super) fn panicked(&self) -> bool {
        const NEEDLE: &[u8] = b"Kernel panic - not syncing";
        self.bytes.windows(NEEDLE.len()).any(|window| window == NEEDLE)
    }
}

/// `[    1.234567] text` without its time.
fn without_time(line: &str) -> &str {
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((time, text)) if time.trim().parse::<f64>().is_ok() => text,
        _ => line,
    }
}

/// Firmware clears the screen and moves the cursor: `ESC [ … letter`.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.next() == Some('[') {
                for c in chars.by_ref() {
                    if c.is_ascii_alphabetic() {
                        break;
                    }
                }
            }
        } else if !c.is_control() || c == '\t' {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(text: &str) -> Console {
        let mut console = Console::default();
        console.feed(text.as_bytes());
        console
    }

    #[test]
    fn a_crash_is_named_by_its_first_line_and_quoted_from_there() {
        let console = console(
            "[    0.1] fine\r\n[    2.000001] BUG: kernel NULL pointer dereference, address: 0000000000000000\r\n\
             [    2.000002] Oops: 0002 [#1]\r\n[    2.1] Kernel panic - not syncing: Fatal exception\r\n",
        );
        let Some(VmError::Panic { reason, trace }) = console.crash() else { panic!("a crash") };
        assert_eq!(reason, "BUG: kernel NULL pointer dereference, address: 0000000000000000");
        assert_eq!(trace.lines().count(), 3);
        assert!(console.panicked());
    }

    #[test]
    fn arm64_names_a_crash_in_its_own_words() {
        let console = console(
            "[    1.0] Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000\n\
             [    1.1] Internal error: Oops: 0000000096000044 [#1] SMP\n",
        );
        let Some(VmError::Panic { reason, trace }) = console.crash() else { panic!("a crash") };
        assert_eq!(
            reason,
            "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000"
        );
        assert_eq!(trace.lines().count(), 2);
    }

    #[test]
    fn a_users_fault_is_no_crash_of_the_kernel() {
        let console =
            console("[    1.0] traps: t[70] general protection fault ip:40 sp:7 error:0 in t[400000+1000]\n");
        assert!(console.crash().is_none());
        assert!(!console.panicked());
    }

    #[test]
    fn running_out_of_memory_names_the_victim() {
        let console =
            console("[    3.5] Out of memory: Killed process 71 (hog) total-vm:900kB\n[    3.6] more\n");
        let Some(VmError::OutOfMemory { victim, memory_mib: 512 }) = console.out_of_memory(512) else {
            panic!("out of memory")
        };
        assert_eq!(victim, "Out of memory: Killed process 71 (hog) total-vm:900kB");
        assert!(
            self::console("Memory cgroup out of memory: Killed process 7 (x)").out_of_memory(1).is_none()
        );
    }

    #[test]
    fn an_agent_that_gives_up_has_said_why() {
        let told =
            console("[  1.0] up\r\nbpf-vm agent gives up: its channel\r\n[  1.1] reboot: Power down\r\n");
        let Some(VmError::AgentLost { what, console: tail }) = told.agent_gave_up() else { panic!("it did") };
        assert_eq!(what, "its channel");
        assert!(tail.ends_with("Power down"), "{tail}");
        assert!(console("bpf-vm agent: a note").agent_gave_up().is_none());
    }

    #[test]
    fn only_the_end_is_kept_and_quoted() {
        let mut console = Console::default();
        for line in 0..200_000 {
            console.feed(format!("line {line}\n").as_bytes());
        }
        assert!(console.bytes.len() <= 2 * KEPT);
        let tail = console.tail();
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 199999"));
    }

    #[test]
    fn terminal_sequences_of_firmware_are_dropped() {
        assert_eq!(console("\u{1b}c\u{1b}[?7l\u{1b}[2JSeaBIOS\r\n").tail(), "SeaBIOS");
    }
}
