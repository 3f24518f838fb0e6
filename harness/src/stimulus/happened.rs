//! What a stimulus did.

use std::collections::BTreeMap;

use crate::bpf::{Point, RunReport};

/// What has happened.
#[derive(Clone, Default, Debug)]
#[non_exhaustive]
pub struct Stimulated {
    /// The thread that acted.
    pub pid: u32,
    /// Its process.
    pub tgid: u32,
    /// The result of the call that matters: a descriptor, a number of bytes, a thread id; `-errno` if it failed.
    pub ret: i64,
    /// The task that was made, if one was.
    pub child: Option<u32>,
    /// What else is to be known, by name: `fd`, `port`, `local_port`, `addr`.
    pub values: BTreeMap<String, u64>,
    /// How many runs of programs there were. On a kernel nobody counts them, and it is 0.
    pub fired: usize,
    /// On the simulator, how each of these runs ended.
    pub reports: Vec<RunReport>,
    /// On the simulator, the points that it came by, with or without programs, in order.
    pub happened: Vec<Happened>,
}

impl Stimulated {
    /// A call that has returned this.
    #[must_use]
    pub fn returning(ret: i64) -> Self {
        Self { ret, ..Self::default() }
    }

    /// A value by its name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<u64> {
        self.values.get(name).copied()
    }

    /// The same, with another value.
    #[must_use]
    pub fn with(mut self, name: &str, value: u64) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }
}

/// A probe point that a stimulus came by.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Happened {
    /// Where. Entries of functions are kprobes, returns are kretprobes, whatever is attached to them.
    pub point: Point,
    /// The task that came by.
    pub pid: u32,
    /// The arguments of a function, a system call or a raw tracepoint.
    pub args: Vec<u64>,
    /// The result, at a return.
    pub ret: Option<i64>,
    /// How many programs ran.
    pub ran: usize,
}
