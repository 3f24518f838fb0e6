//! The trace as bcc shows it: rows 36, 37 of the reference guide.

use std::io::{self, Write};
use std::time::Duration;

use super::Bpf;
use super::backend::Backend;
use crate::error::Error;
pub use crate::trace::TraceFields;
use crate::trace::{Format, FormatError};

/// Puts together what a kernel's trace shows as several lines: those that do not begin as a line of the trace go on with
/// what was printed before.
pub(super) fn prints(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut prints: Vec<String> = Vec::new();
    for line in lines {
        match prints.last_mut() {
            Some(last) if !line.starts_with("CPU:") && TraceFields::parse(&line).is_none() => {
                last.push('\n');
                last.push_str(&line);
            }
            _ => prints.push(line),
        }
    }
    prints
}

/// What a kernel's programs have printed by now. Why it cannot be read stands in place of the lines.
pub(super) fn printed(kernel: &mut dyn Backend) -> Vec<String> {
    kernel.take_trace(Duration::ZERO).unwrap_or_else(|e| vec![format!("[{e}]")])
}

/// How long a kernel's trace is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

impl Bpf {
    /// Takes the oldest line of the trace, as `trace_pipe` shows it, without blanks at its end. `None` if there is none:
    /// a simulated machine prints nothing while one waits.
    pub fn trace_readline(&mut self) -> Option<String> {
        let line = self.next_trace_line()?;
        self.host.seen.trace(&line);
        Some(line)
    }

    fn next_trace_line(&mut self) -> Option<String> {
        while let Some(rest) = self.host.trace_rest.pop_front() {
            // A newline at the end of what a program prints makes an empty line.
            if rest.is_empty() {
                continue;
            }
            return Some(rest);
        }
        let text = match &mut self.kernel {
            Some(kernel) => {
                let lines = printed(&mut **kernel);
                self.host.trace_rest.extend(lines.into_iter().filter(|l| !l.is_empty()));
                return self.host.trace_rest.pop_front();
            }
            None => self.machine.kernel.state.trace_pipe.take_line()?.to_string(),
        };
        // What a program prints may be several lines, of which the first only has fields.
        let mut lines = text.trim_end().lines().map(|line| line.trim_end().to_owned());
        let first = lines.next();
        self.host.trace_rest.extend(lines);
        first
    }

    /// Takes the oldest line of the trace by its fields, and skips what is none of a program's (remarks on lost events).
    ///
    /// `None` if there is none and `nonblocking` is set.
    ///
    /// ```
    /// use bpf_harness::Bpf;
    /// # let object = bpf_fixtures::object("hostapi").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// bpf.attach_kprobe("vfs_read", "print")?;
    /// bpf.kprobe("vfs_read").arg(7).fire()?;
    /// let line = bpf.trace_fields(true)?.unwrap();
    /// assert_eq!((line.task.as_str(), line.msg.as_str()), ("bpf-test", "arg 7"));
    /// assert_eq!(bpf.trace_fields(true)?, None);
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no line and `nonblocking` is not set: nothing would ever come.
    pub fn trace_fields(&mut self, nonblocking: bool) -> Result<Option<TraceFields>, Error> {
        while let Some(line) = self.trace_readline() {
            if let Some(fields) = TraceFields::parse(&line) {
                return Ok(Some(fields));
            }
        }
        if nonblocking {
            return Ok(None);
        }
        if let Some(kernel) = &mut self.kernel {
            let lines = kernel.take_trace(PATIENCE)?;
            if !lines.is_empty() {
                self.host.trace_rest.extend(lines.into_iter().filter(|l| !l.is_empty()));
                return self.trace_fields(nonblocking);
            }
        }
        Err(Error::Invalid(
            "the trace is empty, and nothing happens while one waits for it: fire an event first, or read with \
             `nonblocking`"
                .to_owned(),
        ))
    }

    /// Prints the lines of the trace that are there, as they are, or by a format over the fields of
    /// [`Bpf::trace_fields`]: `{1} {5}` is thread id and message.
    ///
    /// # Errors
    /// If the format cannot be read, or standard output be written.
    pub fn trace_print(&mut self, fmt: Option<&str>) -> Result<(), Error> {
        self.trace_print_to(&mut io::stdout().lock(), fmt)
    }

    /// As [`Bpf::trace_print`], to somewhere else.
    ///
    /// ```
    /// use bpf_harness::Bpf;
    /// # let object = bpf_fixtures::object("hostapi").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// bpf.attach_kprobe("vfs_read", "print")?;
    /// bpf.kprobe("vfs_read").arg(7).fire()?;
    /// let mut out = Vec::new();
    /// bpf.trace_print_to(&mut out, Some("{1} {5}"))?;
    /// assert_eq!(out, b"1000 arg 7\n");
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn trace_print_to(&mut self, out: &mut impl Write, fmt: Option<&str>) -> Result<(), Error> {
        let format =
            fmt.map(Format::parse).transpose().map_err(|e: FormatError| Error::Invalid(e.to_string()))?;
        let failed = |e: io::Error| Error::Invalid(format!("the trace cannot be written: {e}"));
        loop {
            let line = match &format {
                Some(format) => self.trace_fields(true)?.map(|f| format.apply(&f)),
                None => self.trace_readline(),
            };
            match line {
                Some(line) => writeln!(out, "{line}").map_err(failed)?,
                None => return out.flush().map_err(failed),
            }
        }
    }
}
