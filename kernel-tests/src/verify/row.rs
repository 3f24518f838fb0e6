//! One program on one kernel: a line of the report, made to be kept and compared. So it holds no times, no addresses and
//! no path that the user has not written.

use bpf_harness::report::{Diagnostic, SourceLine};
use bpf_harness::verifier_log::VerifierLog;
use serde::Serialize;

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The kernel loads the program.
    Accepted,
    /// Its verifier refuses it.
    Refused,
    /// It did not come to the verifier.
    NotLoaded,
}

/// A line of the report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// The object, as it was named.
    pub object: String,
    /// The program; empty where the object as a whole cannot be loaded.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// Its section.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub section: String,
    /// The kernel: its series, such as 6.12.
    pub kernel: String,
    /// How it ended.
    pub verdict: Verdict,
    /// The error of the system call, such as EACCES.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The verifier's words, or libbpf's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What the verifier has to say besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What kind of mistake it is, as faults of the simulator have it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub id: &'static str,
    /// The instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insn: Option<u32>,
    /// Its C line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Place>,
    /// Whether the log was too long for its buffer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// What it costs.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A C line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Place {
    /// The file; empty where only the text is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The line; 0 where only the text is known.
    #[serde(skip_serializing_if = "is_zero")]
    pub line: u32,
    /// Its text.
    pub text: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it like this")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl From<&SourceLine> for Place {
    fn from(source: &SourceLine) -> Self {
        Self { file: source.file.clone(), line: source.line, text: source.text.trim().to_owned() }
    }
}

/// What verifying and running a program costs; a number that is not known is left out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Instructions that the verifier walked over, on all paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insns_processed: Option<u64>,
    /// States that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_states: Option<u64>,
    /// The most of them at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_states: Option<u64>,
    /// The most of them at one instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_states_per_insn: Option<u64>,
    /// Bytes of stack, of all functions together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack_depth: Option<u64>,
    /// Bytes of instructions after the verifier's rewriting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xlated_bytes: Option<u32>,
    /// Bytes of machine code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jited_bytes: Option<u32>,
}

impl Counts {
    pub(super) fn of(log: &VerifierLog) -> Self {
        let s = log.stats;
        Self {
            insns_processed: s.insns_processed,
            total_states: s.total_states,
            peak_states: s.peak_states,
            max_states_per_insn: s.max_states_per_insn,
            stack_depth: s.stack_depth,
            xlated_bytes: None,
            jited_bytes: None,
        }
    }
}

impl Row {
    pub(super) fn new(kernel: &str, object: &str, program: &str, section: &str) -> Self {
        Self {
            object: object.to_owned(),
            program: program.to_owned(),
            section: section.to_owned(),
            kernel: kernel.to_owned(),
            verdict: Verdict::NotLoaded,
            error: String::new(),
            message: String::new(),
            details: Vec::new(),
            id: "",
            insn: None,
            source: None,
            truncated: false,
            counts: Counts::default(),
        }
    }

    /// An object of which no program can be loaded.
    pub(super) fn of_object(kernel: &str, object: &str, why: String) -> Self {
        Self { message: why, ..Self::new(kernel, object, "", "") }
    }

    pub(super) fn refused(&mut self, errno: i32, log: &VerifierLog, diagnostic: &Diagnostic) {
        self.verdict = Verdict::Refused;
        self.error = name(errno);
        self.message.clone_from(&diagnostic.message);
        self.details = log.message.iter().skip(1).cloned().collect();
        self.id = diagnostic.id;
        self.insn = log.insn;
        self.source = diagnostic.source.as_ref().map(Place::from);
        self.counts = Counts::of(log);
    }

    pub(super) fn not_loaded(&mut self, errno: i32, why: String) {
        self.verdict = Verdict::NotLoaded;
        self.error = name(errno);
        self.message = why;
    }
}

/// The name of an error, as the kernel's sources have it.
fn name(errno: i32) -> String {
    let known = match errno {
        0 => "",
        1 => "EPERM",
        2 => "ENOENT",
        3 => "ESRCH",
        7 => "E2BIG",
        9 => "EBADF",
        12 => "ENOMEM",
        13 => "EACCES",
        14 => "EFAULT",
        16 => "EBUSY",
        17 => "EEXIST",
        19 => "ENODEV",
        22 => "EINVAL",
        28 => "ENOSPC",
        34 => "ERANGE",
        95 => "EOPNOTSUPP",
        524 => "ENOTSUPP",
        n => return format!("errno {n}"),
    };
    known.to_owned()
}
