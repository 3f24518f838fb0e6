//! What libbpf says while it works: the only place where it gives reasons.

use std::sync::{Mutex, PoisonError};

use libbpf_rs::{PrintLevel, set_print};

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Warnings of libbpf.
#[derive(Debug)]
pub(super) struct Said(Vec<String>);

impl Said {
    /// The first warning that says something about a cause.
    pub(super) fn reason(&self) -> Option<String> {
        let told = |line: &&String| {
            let echoes = ["failed to load object", "BPF program load failed", "-- BEGIN PROG LOAD LOG --"];
            !echoes.iter().any(|e| line.contains(e))
        };
        self.0.iter().find(told).or(self.0.first()).cloned()
    }
}

/// Runs something and collects what libbpf says meanwhile. One at a time: libbpf has one place to say it.
pub(super) fn during<T>(work: impl FnOnce() -> T) -> (T, Said) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    lines().clear();
    let before = set_print(Some((PrintLevel::Warn, keep)));
    let result = work();
    set_print(before);
    (result, Said(std::mem::take(&mut lines())))
}

fn lines() -> std::sync::MutexGuard<'static, Vec<String>> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(_: PrintLevel, text: String) {
    let text = text.trim();
    let text = text.strip_prefix("libbpf: ").unwrap_or(text);
    let mut said = lines();
    // A log of the verifier may be among it.
    if said.len() < 64 && !text.is_empty() {
        said.push(text.chars().take(2000).collect());
    }
}
