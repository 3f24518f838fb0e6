//! `trace_pipe`: what programs print with `bpf_trace_printk`.
//!
//! The pipe is the machine's, and shows what all programs print; who reads a line takes it away from all others, and since
//! Linux 6.6 nobody else may even open it meanwhile (`open_pipe_on_cpu` in kernel/trace/trace.c: `EBUSY`). So this process
//! has one reader, and each [`TracePipe`] has all lines that came while it was there.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;

/// Where tracefs is.
const PLACES: [&str; 2] = ["/sys/kernel/tracing/trace_pipe", "/sys/kernel/debug/tracing/trace_pipe"];
/// How often the pipe is read before what came is handed out: a program at a function that reading passes prints a line for
/// each time it is read, without end.
const READS: usize = 1024;

/// The process's reader.
static READER: Mutex<Reader> = Mutex::new(Reader::new());

#[derive(Debug)]
struct Reader {
    file: Option<File>,
    /// Read of a line that has not ended.
    rest: String,
    /// Lines that somebody has not taken yet.
    lines: VecDeque<String>,
    /// The number of the first of them.
    first: u64,
    /// Whose next line is which.
    next: BTreeMap<u64, u64>,
    /// How many there were.
    listeners: u64,
}

impl Reader {
    const fn new() -> Self {
        Self {
            file: None,
            rest: String::new(),
            lines: VecDeque::new(),
            first: 0,
            next: BTreeMap::new(),
            listeners: 0,
        }
    }

    fn lock() -> MutexGuard<'static, Self> {
        READER.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another listener, who gets what is printed from now on.
    fn join(&mut self) -> Result<u64, String> {
        if self.file.is_none() {
            self.file = Some(open()?);
        }
        self.read().map_err(|e| e.to_string())?;
        let id = self.listeners;
        self.listeners += 1;
        self.next.insert(id, self.first + self.lines.len() as u64);
        self.forget();
        Ok(id)
    }

    fn leave(&mut self, id: u64) {
        self.next.remove(&id);
        if self.next.is_empty() {
            // Other processes may want it.
            (self.file, self.rest) = (None, String::new());
        }
        self.forget();
    }

    /// Lines that all have taken are gone.
    fn forget(&mut self) {
        let end = self.first + self.lines.len() as u64;
        let wanted = self.next.values().min().copied().unwrap_or(end);
        self.lines.drain(..wanted.saturating_sub(self.first) as usize);
        self.first = wanted;
    }

    /// Reads what is there.
    fn read(&mut self) -> io::Result<()> {
        let Some(mut file) = self.file.as_ref() else { return Ok(()) };
        let mut bytes = [0; 1 << 14];
        for _ in 0..READS {
            match file.read(&mut bytes) {
                Ok(0) => break,
                Ok(n) => self.rest.push_str(&String::from_utf8_lossy(bytes.get(..n).unwrap_or_default())),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        let end = self.rest.rfind('\n').map_or(0, |at| at + 1);
        let rest = self.rest.split_off(end);
        let whole = std::mem::replace(&mut self.rest, rest);
        // Remarks on lost events are among them: those who want fields skip these.
        self.lines.extend(whole.lines().map(|line| named(line.trim_end())));
        Ok(())
    }

    /// The lines that a listener has not had.
    fn take(&mut self, id: u64) -> io::Result<Vec<String>> {
        self.read()?;
        let end = self.first + self.lines.len() as u64;
        let Some(next) = self.next.get_mut(&id) else { return Ok(Vec::new()) };
        let skip = next.saturating_sub(self.first) as usize;
        *next = end;
        let lines = self.lines.iter().skip(skip).cloned().collect();
        self.forget();
        Ok(lines)
    }
}

fn open() -> Result<File, String> {
    let mut last = String::new();
    for path in PLACES {
        let mut options = File::options();
        match options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path) {
            Ok(file) => return Ok(file),
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                return Err(format!(
                    "{path}: another process reads it, and only one may: end that one first"
                ));
            }
            Err(e) => {
                last = format!("{path}: {e} (is tracefs mounted at /sys/kernel/tracing, and is this root?)");
            }
        }
    }
    Err(last)
}

/// One listener's view of the pipe, or why there is none.
#[derive(Debug)]
pub(super) struct TracePipe(Result<u64, String>);

impl TracePipe {
    /// Listens from now on. That the pipe cannot be read matters to those only who ask for its lines.
    pub(super) fn open() -> Self {
        Self(Reader::lock().join())
    }

    /// New lines, after waiting for the first one.
    pub(super) fn take(&self, timeout: Duration) -> Result<Vec<String>, Error> {
        let failed = |why: &dyn std::fmt::Display| Error::Invalid(format!("the trace cannot be read: {why}"));
        let id = *self.0.as_ref().map_err(|why| failed(why))?;
        let deadline = Instant::now() + timeout;
        loop {
            let mut reader = Reader::lock();
            let lines = reader.take(id).map_err(|e| failed(&e))?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !lines.is_empty() || left.is_zero() {
                return Ok(lines);
            }
            let fd = reader.file.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            drop(reader);
            wait(fd, left);
        }
    }
}

impl Drop for TracePipe {
    fn drop(&mut self) {
        if let Ok(id) = self.0 {
            Reader::lock().leave(id);
        }
    }
}

/// Waits for something to read, but not long: another listener may have read it.
fn wait(fd: i32, timeout: Duration) {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).clamp(1, 100);
    // SAFETY: one valid pollfd, and its number. The file is open as long as a listener is there, which the caller is.
    unsafe { libc::poll(&raw mut poll, 1, ms) };
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
    use super::{Reader, named};

    /// A reader without a pipe, to which lines come.
    fn with_lines(reader: &mut Reader, lines: &[&str]) {
        reader.lines.extend(lines.iter().map(ToString::to_string));
    }

    fn listener(reader: &mut Reader) -> u64 {
        let id = reader.listeners;
        reader.listeners += 1;
        reader.next.insert(id, reader.first + reader.lines.len() as u64);
        id
    }

    #[test]
    fn every_listener_has_each_line_since_it_came_once() {
        let mut reader = Reader::new();
        let early = listener(&mut reader);
        with_lines(&mut reader, &["a", "b"]);
        let late = listener(&mut reader);
        with_lines(&mut reader, &["c"]);
        assert_eq!(reader.take(early).unwrap(), ["a", "b", "c"]);
        with_lines(&mut reader, &["d"]);
        assert_eq!(reader.take(late).unwrap(), ["c", "d"]);
        assert_eq!(reader.take(late).unwrap(), Vec::<String>::new());
        assert_eq!(reader.lines, ["d"], "what all have had is not kept");
        reader.leave(early);
        assert!(reader.lines.is_empty());
        with_lines(&mut reader, &["e"]);
        assert_eq!(reader.take(late).unwrap(), ["e"]);
    }

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
