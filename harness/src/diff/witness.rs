//! What a test's machines have seen, written to a file for whoever compares tiers.
//!
//! `BPF_HARNESS_FACTS` names the file; inside a virtual machine of `bpf-vm` a bare name lies in its results folder. Each
//! machine adds a line when it is dropped: how its programs ended, what its callbacks got, what was printed, and what is
//! in its maps then.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{Facts, Group, Run, collect};
use crate::bpf::{Bpf, Record, RunReport};

/// The variable that names the file.
pub(crate) const VARIABLE: &str = "BPF_HARNESS_FACTS";

/// What happened before the end.
#[derive(Clone, Default, Debug)]
pub(crate) struct Seen {
    runs: Vec<Run>,
    records: BTreeMap<String, Vec<String>>,
    trace: Vec<String>,
    /// It is written down; reading its maps must not be.
    left: bool,
}

impl Seen {
    pub(crate) fn runs(&mut self, reports: &[RunReport]) {
        if file().is_some() {
            self.runs.extend(reports.iter().map(collect::run));
        }
    }

    pub(crate) fn record(&mut self, map: &str, record: &Record<'_>) {
        if file().is_some() {
            self.records.entry(map.to_owned()).or_default().push(collect::record_text(record));
        }
    }

    pub(crate) fn trace(&mut self, line: &str) {
        if file().is_some() && !self.left {
            let msg = crate::trace::TraceFields::parse(line).map_or_else(|| line.to_owned(), |f| f.msg);
            self.trace.push(msg);
        }
    }
}

fn file() -> Option<&'static PathBuf> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let name = || {
        let name = PathBuf::from(std::env::var_os(VARIABLE).filter(|name| !name.is_empty())?);
        Some(match std::env::var_os("BPF_VM_RESULTS") {
            Some(results) if name.is_relative() => PathBuf::from(results).join(name),
            _ => name,
        })
    };
    FILE.get_or_init(name).as_ref()
}

/// A machine ends: writes down what it has seen.
pub(crate) fn leave(bpf: &mut Bpf) {
    let Some(path) = file() else { return };
    let seen = std::mem::replace(bpf.seen(), Seen { left: true, ..Seen::default() });
    let mut group = Group { name: name(), not_run: None, runs: seen.runs, sections: Vec::new() };
    for (map, lines) in seen.records {
        group.add(&format!("records of {map}"), lines);
    }
    collect::state(bpf, None, &mut group);
    let mut trace = seen.trace;
    if let Some(at) = group.sections.iter().position(|s| s.title == "trace") {
        trace.append(&mut group.sections.remove(at).lines);
    }
    group.add("trace", trace);
    let Ok(mut line) = serde_json::to_vec(&group) else { return };
    line.push(b'\n');
    let written =
        OpenOptions::new().create(true).append(true).open(path).and_then(|mut f| f.write_all(&line));
    if let Err(e) = written {
        eprintln!("{VARIABLE}: {}: {e}", path.display());
    }
}

/// The test, and which of its machines this is.
fn name() -> String {
    static COUNTS: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(thread.clone()).or_default();
    *count += 1;
    if *count == 1 { thread } else { format!("{thread}, machine {count}") }
}

/// The facts that tests have left in a file.
///
/// # Errors
/// If a line of it is something else.
pub fn read_facts(text: &str) -> Result<Facts, serde_json::Error> {
    let mut groups = text.lines().map(serde_json::from_str).collect::<Result<Vec<Group>, _>>()?;
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Facts { groups, cpus: None })
}
