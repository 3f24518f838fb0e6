//! `trace_pipe`: what programs print with `bpf_trace_printk`.
//!
//! The pipe is the machine's: every reader takes lines away from the others, and it shows what all programs print.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use crate::error::Error;

/// Where tracefs is.
const PLACES: [&str; 2] = ["/sys/kernel/tracing/trace_pipe", "/sys/kernel/debug/tracing/trace_pipe"];

pub(super) const MISSING: &str =
    "trace_pipe cannot be read: tracefs is not mounted at /sys/kernel/tracing, or this is not root";

/// An open pipe, and what was read of the last line.
#[derive(Debug)]
pub(super) struct TracePipe {
    file: File,
    rest: String,
}

impl TracePipe {
    /// Opens it and forgets what was printed before. `None` if it cannot be read.
    pub(super) fn open() -> Option<Self> {
        let open = |path| {
            let mut options = File::options();
            options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).ok()
        };
        let file = PLACES.into_iter().find_map(open)?;
        let mut pipe = Self { file, rest: String::new() };
        pipe.take(Duration::ZERO).ok()?;
        pipe.rest.clear();
        Some(pipe)
    }

    /// New lines, after waiting for the first one.
    pub(super) fn take(&mut self, timeout: Duration) -> Result<Vec<String>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let mut bytes = [0; 1 << 14];
            match self.file.read(&mut bytes) {
                Ok(n @ 1..) => {
                    self.rest.push_str(&String::from_utf8_lossy(bytes.get(..n).unwrap_or_default()));
                    continue;
                }
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(e) => return Err(Error::Invalid(format!("trace_pipe cannot be read: {e}"))),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.rest.contains('\n') || left.is_zero() {
                break;
            }
            self.wait(left);
        }
        let end = self.rest.rfind('\n').map_or(0, |at| at + 1);
        let rest = self.rest.split_off(end);
        let whole = std::mem::replace(&mut self.rest, rest);
        // Lines that nobody's program has printed: remarks on lost events are skipped by those who want fields.
        Ok(whole.lines().map(|line| named(line.trim_end())).collect())
    }

    fn wait(&self, timeout: Duration) {
        let mut poll = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).clamp(1, 100);
        // SAFETY: one valid pollfd, and its number.
        unsafe { libc::poll(&raw mut poll, 1, ms) };
    }
}

/// What stands in place of a name that the kernel has not kept (`trace_find_cmdline`).
const NAMELESS: &str = "<...>-";
/// How wide a name is.
const NAME: usize = 16;

/// A line with the name of its task, if that still runs: the kernel remembers the names of few tasks, and not always at
/// once.
fn named(line: &str) -> String {
    let Some((before, rest)) = line.split_once(NAMELESS).filter(|(before, _)| before.trim().is_empty())
    else {
        return line.to_owned();
    };
    let pid = rest.split_whitespace().next().unwrap_or_default();
    let number = pid.parse::<u32>().ok();
    match number.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()) {
        Some(name) => format!("{:>NAME$}-{rest}", name.trim_end_matches('\n')),
        None => format!("{before}{NAMELESS}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn names_that_the_kernel_has_not_kept_are_looked_up() {
        let pid = std::process::id();
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        let line = named(&format!("           <...>-{pid}   [000] d..1  1.5: bpf_trace_printk: hi"));
        assert_eq!(line, format!("{:>16}-{pid}   [000] d..1  1.5: bpf_trace_printk: hi", own.trim_end()));
        for other in ["           <...>-4294967 [000] d..1  1.5: f: hi", "  sh-1 [000] d..1 1.5: f: <...>-1 "]
        {
            assert_eq!(named(other), other);
        }
    }
}
