//! What differs between two runs of a test, and between a simulator and a kernel, made the same, so that one snapshot
//! serves them all: process ids, addresses, times, CPUs, names of tasks, ports, descriptors, inode numbers.
//!
//! A [`Redaction`] says what; [`Redact::redact`] applies it to a [`Table`], to values, to text, and
//! with [`Redaction::serde`] to whatever serialises. What is replaced is numbered in order of appearance, so that
//! relations stay visible: the same process is `[pid 1]` wherever it is.
//!
//! ```
//! use bpf_harness::redact::{Redact, Redaction};
//! use bpf_harness::{Bpf, stimulus::Stimulus};
//! # let object = bpf_fixtures::object("hostapi").unwrap();
//! let mut bpf = Bpf::load(object)?;
//! bpf.attach_kprobe("vfs_read", "send")?;
//! bpf.keep_records("events")?;
//! bpf.stimulate(&Stimulus::read_file("/etc/hostname"))?;
//! let events = bpf.records("events", Some("event"))?;
//! let events = events.redact(&mut Redaction::new().pids().comms().member("n", "[file]"));
//! // insta::assert_yaml_snapshot!(events);
//! assert_eq!(events[0]["pid"], "[pid 1]");
//! assert_eq!(events[0]["comm"], "[comm 1]");
//! # Ok::<(), bpf_harness::Error>(())
//! ```
//!
//! The numbers belong to the `Redaction`: one that is used for a table and then for the trace calls a process the same in
//! both.

mod json;
mod numbers;
mod path;
mod text;
mod value;

use std::collections::BTreeMap;

use crate::table::Table;
use crate::value::Value;

use numbers::Numbers;
use path::Path;

/// What is replaced, and what has been so far.
#[derive(Clone, Default, Debug)]
pub struct Redaction {
    kinds: BTreeMap<Kind, Vec<String>>,
    addresses: bool,
    c_texts: bool,
    rules: Vec<(Path, Rule)>,
    numbers: Numbers,
}

/// What a rule puts in place of a value.
#[derive(Clone, Debug)]
enum Rule {
    /// This text.
    Text(String),
    /// A number of this kind.
    Number(String),
}

/// Kinds that are known by the names of members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Pid,
    Time,
    Cpu,
    Comm,
    Port,
    Inode,
    Fd,
}

impl Kind {
    /// What stands in the snapshot; numbered, unless each is its own.
    fn label(self) -> (&'static str, bool) {
        match self {
            Self::Pid => ("pid", true),
            Self::Time => ("time", false),
            Self::Cpu => ("cpu", false),
            Self::Comm => ("comm", true),
            Self::Port => ("port", true),
            Self::Inode => ("inode", true),
            Self::Fd => ("fd", true),
        }
    }

    /// Members of this kind, as tools call them.
    fn members(self) -> &'static [&'static str] {
        match self {
            Self::Pid => &[
                "pid",
                "tgid",
                "tid",
                "ppid",
                "ptid",
                "tpid",
                "prev_pid",
                "next_pid",
                "old_pid",
                "child_pid",
                "parent_pid",
                "host_pid",
                "user_pid",
                "real_pid",
                "pid_tgid",
                "caller",
            ],
            Self::Time => &[
                "ts",
                "ts_us",
                "ts_ns",
                "time",
                "timestamp",
                "start",
                "end",
                "start_time",
                "end_time",
                "start_ts",
                "delta",
                "delta_us",
                "delta_ns",
                "duration",
                "duration_ns",
                "duration_us",
                "elapsed",
                "latency",
                "lat",
                "lat_us",
                "span_us",
                "ns",
                "us",
                "runtime",
                "vruntime",
            ],
            Self::Cpu => &["cpu", "cpuid", "cpu_id", "target_cpu", "dest_cpu", "orig_cpu", "processor"],
            Self::Comm => &[
                "comm",
                "task",
                "pcomm",
                "name",
                "prev_comm",
                "next_comm",
                "parent_comm",
                "child_comm",
                "oldcomm",
                "newcomm",
            ],
            Self::Port => &["port", "lport", "rport", "sport", "dport", "local_port", "remote_port"],
            Self::Inode => &["ino", "inode", "i_ino", "inode_id"],
            Self::Fd => &["fd"],
        }
    }
}

/// Something that can be redacted.
pub trait Redact {
    /// What is left of it.
    type Redacted;

    /// The same, with what differs from run to run replaced.
    fn redact(&self, redaction: &mut Redaction) -> Self::Redacted;
}

impl Redaction {
    /// One that replaces nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that replaces everything that it knows of.
    #[must_use]
    pub fn all() -> Self {
        Self::new().pids().times().cpus().comms().ports().inodes().fds().addresses().c_texts()
    }

    /// Ids of processes and threads: `[pid 1]`. 0 (the idle task, the kernel) and negative numbers stay. In text, what
    /// stands before a `trace_pipe` line's CPU.
    #[must_use]
    pub fn pids(self) -> Self {
        self.with(Kind::Pid)
    }

    /// Points in time and durations: `[time]`. In text, a `trace_pipe` line's time.
    #[must_use]
    pub fn times(self) -> Self {
        self.with(Kind::Time)
    }

    /// Numbers of CPUs: `[cpu]`; values that there are for each CPU become their sum, if they are numbers.
    #[must_use]
    pub fn cpus(self) -> Self {
        self.with(Kind::Cpu)
    }

    /// Names of tasks: `[comm 1]`. In text, a `trace_pipe` line's task.
    #[must_use]
    pub fn comms(self) -> Self {
        self.with(Kind::Comm)
    }

    /// Ports: `[port 1]`. 0 stays.
    #[must_use]
    pub fn ports(self) -> Self {
        self.with(Kind::Port)
    }

    /// Inode numbers: `[inode 1]`.
    #[must_use]
    pub fn inodes(self) -> Self {
        self.with(Kind::Inode)
    }

    /// File descriptors: `[fd 1]`. Negative numbers, which are errors, stay.
    #[must_use]
    pub fn fds(self) -> Self {
        self.with(Kind::Fd)
    }

    /// Addresses, by their values: pointers, and unsigned numbers where the kernel or a process of 64 bits has its memory:
    /// `[address 1]`. Null stays. In text, such numbers in hexadecimal.
    #[must_use]
    pub fn addresses(mut self) -> Self {
        self.addresses = true;
        self
    }

    /// Text up to its first NUL: behind it is whatever was in memory there.
    #[must_use]
    pub fn c_texts(mut self) -> Self {
        self.c_texts = true;
        self
    }

    /// One more member that is a process id.
    #[must_use]
    pub fn pid_member(self, name: impl Into<String>) -> Self {
        self.with_member(Kind::Pid, name.into())
    }

    /// One more member that is a time.
    #[must_use]
    pub fn time_member(self, name: impl Into<String>) -> Self {
        self.with_member(Kind::Time, name.into())
    }

    /// Text in place of every member of a name.
    #[must_use]
    pub fn member(self, name: &str, text: impl Into<String>) -> Self {
        self.path(&format!(".**.{name}"), text)
    }

    /// Text in place of what a path leads to, written as `insta` writes it: `.key.pid`, `.value[0]`, `[]` for every
    /// element, `.*` for every member, `.**` for whatever is below. A table is a list of entries with `key` and `value`;
    /// its paths may leave the list out (`.key.pid` is `[].key.pid`).
    #[must_use]
    pub fn path(mut self, path: &str, text: impl Into<String>) -> Self {
        self.rules.push((Path::parse(path), Rule::Text(text.into())));
        self
    }

    /// As [`Redaction::path`], with numbers of a kind: `numbered(".key.id", "request")` gives `[request 1]`. Negative
    /// numbers, which are errors, stay.
    #[must_use]
    pub fn numbered(mut self, path: &str, kind: impl Into<String>) -> Self {
        self.rules.push((Path::parse(path), Rule::Number(kind.into())));
        self
    }

    /// Forgets the numbers that were given.
    pub fn start_over(&mut self) {
        self.numbers = Numbers::default();
    }

    fn with(mut self, kind: Kind) -> Self {
        let members = self.kinds.entry(kind).or_default();
        members.extend(kind.members().iter().map(|m| (*m).to_owned()));
        self
    }

    fn with_member(mut self, kind: Kind, name: String) -> Self {
        self.kinds.entry(kind).or_default().push(name);
        self
    }

    fn has(&self, kind: Kind) -> bool {
        self.kinds.contains_key(&kind)
    }

    /// The kind of a member.
    fn kind_of(&self, member: &str) -> Option<Kind> {
        self.kinds.iter().find(|(_, members)| members.iter().any(|m| m == member)).map(|(kind, _)| *kind)
    }

    /// What stands in place of a value of a kind, which is known by `key`.
    fn label(&mut self, kind: Kind, key: &str) -> String {
        match kind.label() {
            (label, true) => self.numbers.label(label, key),
            (label, false) => format!("[{label}]"),
        }
    }
}

impl Redact for Value {
    type Redacted = Value;

    fn redact(&self, redaction: &mut Redaction) -> Value {
        redaction.value(self, &mut Vec::new())
    }
}

impl Redact for [Value] {
    type Redacted = Vec<Value>;

    fn redact(&self, redaction: &mut Redaction) -> Vec<Value> {
        redaction.list(self, &mut Vec::new())
    }
}

impl Redact for Vec<Value> {
    type Redacted = Vec<Value>;

    fn redact(&self, redaction: &mut Redaction) -> Vec<Value> {
        self.as_slice().redact(redaction)
    }
}

impl Redact for Table {
    /// A list of structures with `key` and `value`, as the table serialises.
    type Redacted = Vec<Value>;

    fn redact(&self, redaction: &mut Redaction) -> Vec<Value> {
        let entry = |e: &crate::table::Entry| {
            let members = [("key", &e.key), ("value", &e.value)];
            Value::Struct(members.map(|(n, v)| (n.to_owned(), v.clone())).to_vec())
        };
        let entries: Vec<Value> = self.items().iter().map(entry).collect();
        entries.redact(redaction)
    }
}

impl Redact for str {
    type Redacted = String;

    fn redact(&self, redaction: &mut Redaction) -> String {
        redaction.text(self)
    }
}

impl Redact for String {
    type Redacted = String;

    fn redact(&self, redaction: &mut Redaction) -> String {
        redaction.text(self)
    }
}

impl Redact for Vec<String> {
    /// The lines, such as those of [`Bpf::trace`](crate::Bpf::trace).
    type Redacted = Vec<String>;

    fn redact(&self, redaction: &mut Redaction) -> Vec<String> {
        self.iter().map(|line| redaction.text(line)).collect()
    }
}
