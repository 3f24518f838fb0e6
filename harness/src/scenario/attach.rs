//! `[[attach]]`: programs at probe points, in libbpf's words (`to`) or in bcc's.

use serde::Deserialize;
use toml::Spanned;

use super::kernel::{Placed, at};
use crate::bpf::{Bpf, PerfEventSpec, Point, UprobeTarget, perf};
use crate::error::Error;
use crate::symbols::{Binary, Process, find_binary};
use crate::usdt::Usdt;

/// A program attached by hand: at most one of the places.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AttachFile {
    /// The program.
    pub program: String,
    /// The probe point; where its section says if no place is given.
    pub to: Option<String>,
    /// The entry of a kernel function.
    pub kprobe: Option<String>,
    /// The return of a kernel function.
    pub kretprobe: Option<String>,
    /// The entry of every kernel function that this regular expression matches (bcc's `event_re`).
    pub kprobe_re: Option<String>,
    /// The return of every kernel function that this regular expression matches.
    pub kretprobe_re: Option<String>,
    /// The entry of a system call, whatever its function is called (bcc's `get_syscall_fnname`).
    pub ksyscall: Option<String>,
    /// The return of a system call.
    pub kretsyscall: Option<String>,
    /// The entry of a user-space function: `c:strlen`, `/bin/bash:readline`.
    pub uprobe: Option<String>,
    /// The return of a user-space function.
    pub uretprobe: Option<String>,
    /// The entry of every function of a binary that a regular expression matches: `c:str.*`.
    pub uprobe_re: Option<String>,
    /// The return of every function of a binary that a regular expression matches.
    pub uretprobe_re: Option<String>,
    /// A statically defined probe of a binary: `/usr/bin/node:http__server__request`.
    pub usdt: Option<String>,
    /// A tracepoint: `random:urandom_read`.
    pub tracepoint: Option<String>,
    /// A tracepoint with its raw arguments: `sched_switch`.
    pub raw_tracepoint: Option<String>,
    /// Samples of a perf event.
    pub perf_event: Option<PerfEventFile>,
    /// Only in this process: user-space places and perf events.
    pub pid: Option<u32>,
    /// The cookie, with `to`.
    pub cookie: u64,
}

/// A perf event to be sampled.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PerfEventFile {
    /// Which one: `cpu-clock`, `page-faults`, `cycles`, ... as `perf list` calls them.
    pub event: String,
    /// After every so many events.
    pub sample_period: Option<u64>,
    /// So many times a second.
    pub sample_freq: Option<u64>,
    /// Only on this CPU.
    pub cpu: Option<u32>,
}

/// Perf events by `perf`'s names.
static PERF_EVENTS: &[(&str, u32, u64)] = &[
    ("cpu-clock", perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK),
    ("task-clock", perf::TYPE_SOFTWARE, perf::COUNT_SW_TASK_CLOCK),
    ("page-faults", perf::TYPE_SOFTWARE, perf::COUNT_SW_PAGE_FAULTS),
    ("context-switches", perf::TYPE_SOFTWARE, perf::COUNT_SW_CONTEXT_SWITCHES),
    ("cycles", perf::TYPE_HARDWARE, perf::COUNT_HW_CPU_CYCLES),
    ("instructions", perf::TYPE_HARDWARE, perf::COUNT_HW_INSTRUCTIONS),
    ("cache-references", perf::TYPE_HARDWARE, perf::COUNT_HW_CACHE_REFERENCES),
    ("cache-misses", perf::TYPE_HARDWARE, perf::COUNT_HW_CACHE_MISSES),
];

/// The type and configuration of a perf event.
pub(super) fn perf_event(name: &str) -> Result<(u32, u64), String> {
    let found = PERF_EVENTS.iter().find(|e| e.0 == name).map(|e| (e.1, e.2));
    found.ok_or_else(|| {
        let names: Vec<_> = PERF_EVENTS.iter().map(|e| e.0).collect();
        format!("there is no perf event '{name}'; there are: {}", names.join(", "))
    })
}

pub(super) fn attach(spanned: &Spanned<AttachFile>, bpf: &mut Bpf) -> Result<(), Placed> {
    let file = spanned.get_ref();
    file.place().and_then(|place| file.attach(place, bpf)).map_err(at(spanned))
}

/// The place that a table names: its field and what that says.
type Place<'a> = Option<(&'static str, &'a str)>;

impl AttachFile {
    fn place(&self) -> Result<Place<'_>, String> {
        let places = [
            ("to", &self.to),
            ("kprobe", &self.kprobe),
            ("kretprobe", &self.kretprobe),
            ("kprobe_re", &self.kprobe_re),
            ("kretprobe_re", &self.kretprobe_re),
            ("ksyscall", &self.ksyscall),
            ("kretsyscall", &self.kretsyscall),
            ("uprobe", &self.uprobe),
            ("uretprobe", &self.uretprobe),
            ("uprobe_re", &self.uprobe_re),
            ("uretprobe_re", &self.uretprobe_re),
            ("usdt", &self.usdt),
            ("tracepoint", &self.tracepoint),
            ("raw_tracepoint", &self.raw_tracepoint),
        ];
        let mut given = places.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let (first, second) = (given.next(), given.next());
        if second.is_some() || first.is_some() && self.perf_event.is_some() {
            return Err(
                "a program is attached to one place: write another [[attach]] for the other".to_owned()
            );
        }
        let what = first.map_or("", |f| f.0);
        if self.cookie != 0 && what != "to" {
            return Err("'cookie' goes with 'to'".to_owned());
        }
        let of_process = matches!(what, "uprobe" | "uretprobe" | "uprobe_re" | "uretprobe_re" | "usdt");
        if self.pid.is_some() && !of_process && self.perf_event.is_none() {
            return Err("'pid' goes with places in user space and perf events".to_owned());
        }
        Ok(first)
    }

    fn attach(&self, place: Place<'_>, bpf: &mut Bpf) -> Result<(), String> {
        let name = self.program.as_str();
        let text = |e: Error| e.to_string();
        let Some((kind, place)) = place else {
            return match &self.perf_event {
                Some(event) => bpf.attach_perf_event(&event.spec(self.pid)?, name).map_err(text),
                None => bpf.attach(name).map_err(text),
            };
        };
        match kind {
            "to" => bpf.attach_to(name, &place.parse::<Point>()?, self.cookie),
            "kprobe" => bpf.attach_kprobe(place, name),
            "kretprobe" => bpf.attach_kretprobe(place, name),
            "kprobe_re" => return some(bpf.attach_kprobe_re(place, name), place),
            "kretprobe_re" => return some(bpf.attach_kretprobe_re(place, name), place),
            "ksyscall" => bpf.attach_kprobe(&bpf.get_syscall_fnname(place), name),
            "kretsyscall" => bpf.attach_kretprobe(&bpf.get_syscall_fnname(place), name),
            "tracepoint" => bpf.attach_tracepoint(place, name),
            "raw_tracepoint" => bpf.attach_raw_tracepoint(place, name),
            // The loader has done it.
            "usdt" => return Ok(()),
            _ => return self.attach_user(kind, place, bpf),
        }
        .map_err(text)
    }

    fn attach_user(&self, kind: &str, place: &str, bpf: &mut Bpf) -> Result<(), String> {
        let (binary, sym) = split(place)?;
        let re = kind.ends_with("_re");
        let mut target = if re {
            UprobeTarget::pattern(binary, sym)
        } else {
            let (sym, offset) = super::kernel::offset(sym)?;
            UprobeTarget::symbol(binary, sym).sym_off(offset)
        };
        if let Some(pid) = self.pid {
            target = target.pid(pid);
        }
        let found = if kind.starts_with("uretprobe") {
            bpf.attach_uretprobe_to(&target, &self.program)
        } else {
            bpf.attach_uprobe_to(&target, &self.program)
        };
        some(found, place)
    }

    /// The probe with its program, which the compiler and the loader want to know beforehand: where arguments are
    /// decides about the code.
    pub(super) fn usdt_context(&self, place: &str, binaries: &[Binary]) -> Result<Usdt, String> {
        let (name, probe) = split(place)?;
        let binary = match binaries.iter().find(|b| b.is_called(name)) {
            Some(binary) => binary.clone(),
            None => find_binary(name)
                .map_err(|e| format!("{e}; a binary that is not there is declared as a [[binary]]"))?,
        };
        let text = |e: Error| e.to_string();
        let mut usdt = match self.pid {
            None => Usdt::from_binary(binary),
            Some(pid) => Usdt::from_process(pid, &Process::new().map(binary, 0, u64::MAX)),
        }
        .map_err(text)?;
        usdt.enable_probe(probe, &self.program).map_err(text)?;
        Ok(usdt)
    }
}

impl PerfEventFile {
    fn spec(&self, pid: Option<u32>) -> Result<PerfEventSpec, String> {
        let (ev_type, config) = perf_event(&self.event)?;
        let mut spec = PerfEventSpec::new(ev_type, config);
        spec = match (self.sample_period, self.sample_freq) {
            (Some(period), None) => spec.sample_period(period),
            (None, Some(freq)) => spec.sample_freq(freq),
            _ => return Err("a perf event needs 'sample_period' or 'sample_freq'".to_owned()),
        };
        if let Some(pid) = pid {
            spec = spec.pid(pid);
        }
        Ok(self.cpu.map_or(spec.clone(), |cpu| spec.cpu(cpu)))
    }
}

/// `binary:symbol`; C++ and Rust symbols have colons of their own.
fn split(place: &str) -> Result<(&str, &str), String> {
    match place.split_once(':') {
        Some((binary, sym)) if !binary.is_empty() && !sym.is_empty() => Ok((binary, sym)),
        _ => Err(format!("'{place}' is no place in user space: it is written 'binary:function'")),
    }
}

/// A pattern that matches nothing is a mistake in a scenario, whatever bcc does.
fn some(found: Result<usize, Error>, place: &str) -> Result<(), String> {
    match found.map_err(|e| e.to_string())? {
        0 => Err(format!("'{place}' matches nothing")),
        _ => Ok(()),
    }
}
