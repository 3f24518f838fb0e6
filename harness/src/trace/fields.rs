//! The fields of a line of `trace_pipe`.

use serde::Serialize;

/// The fields of one line that `bpf_trace_printk` wrote.
///
/// ```
/// let line = "            sshd-1234    [002] d..31  4071.217001: bpf_trace_printk: Hello, World!";
/// let fields = bpf_harness::TraceFields::parse(line).unwrap();
/// assert_eq!((fields.task.as_str(), fields.pid, fields.cpu), ("sshd", 1234, 2));
/// assert_eq!((fields.ts, fields.msg.as_str()), (4071.217001, "Hello, World!"));
/// ```
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
#[non_exhaustive]
pub struct TraceFields {
    /// The task's name.
    pub task: String,
    /// Its thread id.
    pub pid: u32,
    /// The CPU.
    pub cpu: u32,
    /// Flags of the trace.
    pub flags: String,
    /// Seconds since boot.
    pub ts: f64,
    /// What the program printed.
    pub msg: String,
}

impl TraceFields {
    /// Takes a line apart. The name is in the first 16 columns, behind it stands a `-`; then come thread id, CPU in
    /// brackets, flags and seconds, up to a colon; then a function's name, up to another one; a blank; the message.
    ///
    /// `None` for what is no such line, such as remarks on lost events, which bcc skips.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        if line.starts_with("CPU:") {
            return None;
        }
        // A name's bytes need not be whole characters: the kernel counts bytes.
        let bytes = line.as_bytes();
        let task = String::from_utf8_lossy(bytes.get(..16)?).trim_start().to_owned();
        let rest = String::from_utf8_lossy(bytes.get(17..)?).into_owned();
        let (head, rest) = rest.split_once(':')?;
        let mut words = head.split_whitespace();
        let (pid, cpu, flags, ts) = (words.next()?, words.next()?, words.next()?, words.next()?);
        if words.next().is_some() {
            return None;
        }
        let cpu = cpu.strip_prefix('[')?.strip_suffix(']')?;
        let msg = match rest.split_once(':') {
            Some((_, msg)) => msg.get(1..).unwrap_or_default(),
            None => rest.get(1..).unwrap_or_default(),
        };
        Some(Self {
            task,
            pid: pid.parse().ok()?,
            cpu: cpu.parse().ok()?,
            flags: flags.to_owned(),
            ts: ts.parse().ok()?,
            msg: msg.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TraceFields;
    use bpf_helpers_mock::state::TraceLine;
    use proptest::prelude::*;

    #[test]
    fn lines_are_taken_apart() {
        for (line, task, pid, cpu, flags, ts, msg) in [
            (
                "             cat-4242    [001] d..31    12.345679: bpf_trace_printk: hi 7",
                ("cat"),
                4242,
                1,
                "d..31",
                12.345679,
                "hi 7",
            ),
            (
                "          <idle>-0       [000] ..s.     0.000001: 0x00000001: a: b: c",
                "<idle>",
                0,
                0,
                "..s.",
                0.000001,
                "a: b: c",
            ),
            (
                "     a name with-12      [003] d...1 99999.000000: bpf_trace_printk: ",
                "a name with",
                12,
                3,
                "d...1",
                99999.0,
                "",
            ),
        ] {
            let f = TraceFields::parse(line).unwrap_or_default();
            let got = (f.task.as_str(), f.pid, f.cpu, f.flags.as_str(), f.ts, f.msg.as_str());
            assert_eq!(got, (task, pid, cpu, flags, ts, msg), "{line}");
        }
    }

    #[test]
    fn other_lines_are_none() {
        for line in ["", "CPU:1 [LOST 5 EVENTS]", "nonsense", "             cat-x [001] d 1.0: f: m"] {
            assert_eq!(TraceFields::parse(line), None, "{line}");
        }
    }

    proptest! {
        /// What the simulated kernel writes is read back.
        #[test]
        fn lines_are_read_as_they_were_meant(
            comm in "[a-zA-Z:/\\[][a-zA-Z0-9:/\\[\\] é-]{0,6}",
            pid in 1u32..4_194_304,
            cpu in 0u32..8192,
            us in 0u64..10_000_000_000_000,
            text in "[ -~]{0,40}",
        ) {
            let line = TraceLine { comm: comm.clone(), pid, cpu, ns: us * 1000, text: text.clone() };
            let f = TraceFields::parse(&line.to_string()).unwrap();
            prop_assert_eq!((f.task, f.pid, f.cpu, f.msg), (comm, pid, cpu, text));
            prop_assert!((f.ts - us as f64 / 1e6).abs() < 1e-3, "{}", f.ts);
        }

        #[test]
        fn no_line_is_too_strange(line in "\\PC{0,80}") {
            let _ = TraceFields::parse(&line);
        }
    }
}
