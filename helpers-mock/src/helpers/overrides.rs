//! What a test puts in place of helpers and kernel functions, and the calls it has seen.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bpf_vm_shim::env::{CallResult, Cx, Flow};

use crate::errno::Errno;
use crate::kernel::Kernel;

/// A replacement: gets the kernel, the guest's memory and the arguments; `None` lets the real one answer.
pub type OverrideFn = dyn Fn(&mut Kernel, &mut Cx<'_>, [u64; 5]) -> Option<u64> + Send + Sync;

/// How a helper or kernel function is overridden.
#[derive(Clone)]
#[non_exhaustive]
pub enum Override {
    /// A closure answers.
    With(Arc<OverrideFn>),
    /// Fails with this error on the n-th call (from 1) only.
    FailNth(u64, Errno),
    /// Fails with this error at this instruction only.
    FailAt(u32, Errno),
    /// Always fails with this error.
    Fail(Errno),
}

impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::With(_) => f.write_str("With(..)"),
            Self::FailNth(n, e) => write!(f, "FailNth({n}, {e:?})"),
            Self::FailAt(at, e) => write!(f, "FailAt({at}, {e:?})"),
            Self::Fail(e) => write!(f, "Fail({e:?})"),
        }
    }
}

/// A call that was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallRecord {
    /// The helper or kernel function.
    pub name: String,
    /// R1 to R5.
    pub args: [u64; 5],
    /// What it returned; `None` if it did not simply return.
    pub ret: Option<u64>,
    /// The calling program.
    pub prog: String,
    /// The calling instruction.
    pub insn: u32,
}

/// Replacements and the record of calls.
#[derive(Clone, Default, Debug)]
pub struct Overrides {
    by_name: BTreeMap<String, Vec<Override>>,
    counts: BTreeMap<String, u64>,
    record: bool,
    calls: Vec<CallRecord>,
}

impl Overrides {
    /// Adds a replacement for a helper or kernel function by its full name. Earlier ones come first.
    pub fn set(&mut self, name: impl Into<String>, with: Override) {
        self.by_name.entry(name.into()).or_default().push(with);
    }

    /// Takes all replacements of a name away.
    pub fn clear(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Starts or stops recording calls.
    pub fn record(&mut self, on: bool) {
        self.record = on;
    }

    /// The calls seen since recording began.
    #[must_use]
    pub fn calls(&self) -> &[CallRecord] {
        &self.calls
    }

    pub(crate) fn active(&self) -> bool {
        self.record || !self.by_name.is_empty()
    }
}

/// Answers a call through the replacements; `real` is what answers without one.
pub(crate) fn call(
    kernel: &mut Kernel,
    cx: &mut Cx<'_>,
    name: &str,
    args: [u64; 5],
    real: impl FnOnce(&mut Kernel, &mut Cx<'_>, [u64; 5]) -> CallResult,
) -> CallResult {
    let count = kernel.overrides.counts.entry(name.to_owned()).or_default();
    *count += 1;
    let count = *count;
    let mut answer = None;
    for with in kernel.overrides.by_name.get(name).cloned().unwrap_or_default() {
        answer = match with {
            Override::With(f) => f(kernel, cx, args),
            Override::FailNth(n, e) => (n == count).then(|| e.ret()),
            Override::FailAt(at, e) => (at == cx.insn()).then(|| e.ret()),
            Override::Fail(e) => Some(e.ret()),
        };
        if answer.is_some() {
            break;
        }
    }
    let result = match answer {
        Some(v) => Ok(Flow::Return(v)),
        None => real(kernel, cx, args),
    };
    if kernel.overrides.record {
        let ret = match &result {
            Ok(Flow::Return(v)) => Some(*v),
            _ => None,
        };
        let prog = cx.code().name().to_string();
        let record = CallRecord { name: name.to_owned(), args, ret, prog, insn: cx.insn() };
        kernel.overrides.calls.push(record);
    }
    result
}
