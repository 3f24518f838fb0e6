//! Programs at all points of an expansion, on either tier.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use bpf_harness::profile::Profile;
use bpf_harness::stimulus::{Action, Happened, Stimulated};
use bpf_harness::{Bpf, Point, Tier};

use super::look::Plan;
use super::say::Told;

/// What the fixture's programs are called, by their kinds.
const KINDS: [&str; 3] = ["entry", "return", "tracepoint"];
const WAYS: [char; 3] = ['>', '<', '='];
/// The numbers of programs begin with it.
const FIRST: usize = 10;

/// One point that was come by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    /// `>` at an entry, `<` at a return, `=` at a tracepoint.
    pub(super) way: char,
    pub(super) name: String,
    /// What it failed with, at a return.
    errno: Option<i64>,
}

impl Seen {
    pub(super) fn new(way: char, name: String, value: i64) -> Self {
        // Whether a thread that is waited for has ended already depends on who was faster.
        let counts = way == '<' && name != "__x64_sys_futex";
        Self { way, name, errno: errno(value).filter(|_| counts) }
    }

    /// What an expansion says; `None` for what kernels have only if they were booted with it.
    pub(super) fn expected(happened: &Happened) -> Option<Self> {
        let (way, name) = match &happened.point {
            Point::Kprobe(f) => ('>', f.clone()),
            Point::Kretprobe(f) => ('<', f.clone()),
            Point::Ksyscall(name) => ('>', format!("__x64_sys_{name}")),
            Point::Kretsyscall(name) => ('<', format!("__x64_sys_{name}")),
            Point::Tracepoint(category, name) => ('=', format!("{category}:{name}")),
            _ => return None,
        };
        Some(Self::new(way, name, happened.ret.unwrap_or(0)))
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.way, self.name)?;
        self.errno.map_or(Ok(()), |e| write!(f, " = {e}"))
    }
}

/// What a function fails with: results that are no errors are addresses, numbers and what is left in a register.
fn errno(value: i64) -> Option<i64> {
    let value = if (0..=i64::from(u32::MAX)).contains(&value) { i64::from(value as i32) } else { value };
    (-4095..0).contains(&value).then_some(value)
}

/// The points of an expansion, by kind, and what is looked at there.
pub(super) struct Points {
    names: [Vec<String>; 3],
    plans: [Vec<Option<Plan>>; 3],
}

/// A machine or kernel with the programs at the points.
pub(super) struct Tracer<'a> {
    pub(super) bpf: Bpf,
    points: &'a Points,
    /// Points that it does not have.
    pub(super) missing: Vec<String>,
}

impl Points {
    pub(super) fn of<'a>(seen: impl Iterator<Item = &'a Seen>, kernel: &Profile) -> Self {
        let mut names: [Vec<String>; 3] = Default::default();
        for s in seen {
            let kind = WAYS.iter().position(|w| *w == s.way).unwrap();
            if !names[kind].contains(&s.name) {
                names[kind].push(s.name.clone());
            }
        }
        let plans = std::array::from_fn(|kind| names[kind].iter().map(|n| plan(kernel, kind, n)).collect());
        Self { names, plans }
    }

    /// What is looked at at a point; `None` if nobody knows its arguments.
    pub(super) fn plan(&self, told: &Told) -> Option<&Plan> {
        self.plans[told.kind as usize][told.number - FIRST].as_ref()
    }

    pub(super) fn attach(&self, tier: Tier, kernel: &Profile) -> Tracer<'_> {
        let object = bpf_fixtures::object("points").unwrap();
        let mut builder = Bpf::builder().object(object).tier(tier);
        if tier == Tier::Simulator {
            builder = builder.profile(kernel.clone());
        }
        let program = |kind: usize, i: usize| format!("{}_{}", KINDS[kind], i + FIRST);
        for (kind, list) in self.names.iter().enumerate() {
            for i in 0..list.len() {
                builder = builder.only(program(kind, i));
            }
        }
        let mut bpf = builder.load().unwrap();
        let mut missing = Vec::new();
        for (kind, list) in self.names.iter().enumerate().rev() {
            for (i, name) in list.iter().enumerate() {
                let plan = self.plans[kind][i].clone().unwrap_or_default().bytes();
                let key = (100 * kind + i + FIRST) as u32;
                bpf.map("plans").unwrap().update(key, plan).unwrap();
                let program = program(kind, i);
                let function = if kind == 2 { Some(name.clone()) } else { real_name(&mut bpf, name) };
                let attached = match (kind, &function) {
                    (0, Some(function)) => bpf.attach_kprobe(function, &program),
                    (1, Some(function)) => bpf.attach_kretprobe(function, &program),
                    (_, Some(_)) => bpf.attach_tracepoint(name, &program),
                    (_, None) => {
                        missing.push(name.clone());
                        continue;
                    }
                };
                if let Err(e) = attached {
                    missing.push(format!("{name}: {e}"));
                }
            }
        }
        Tracer { bpf, points: self, missing }
    }
}

impl Tracer<'_> {
    /// Does it, and takes what the programs have told.
    pub(super) fn trace(&mut self, action: &dyn Action) -> (Stimulated, Vec<(Seen, Told)>) {
        self.bpf.take_records("points").unwrap();
        let done = self.bpf.stimulate(action).unwrap();
        settle(&self.bpf);
        let records = self.bpf.take_records("points").unwrap();
        let seen = |record: &Vec<u8>| {
            let told = Told::new(record);
            let kind = told.kind as usize;
            let name = self.points.names[kind][told.number - FIRST].clone();
            (Seen::new(WAYS[kind], name, told.result().cast_signed()), told)
        };
        (done, records.iter().map(seen).collect())
    }
}

/// What is looked at at a point of a kernel.
fn plan(kernel: &Profile, kind: usize, name: &str) -> Option<Plan> {
    let fields = |category: &str, event: &str| Some(kernel.tracepoints().find(category, event)?.fields);
    if kind == 2 {
        let (category, event) = name.split_once(':')?;
        let fields = fields(category, event)?;
        return Some(Plan::record(category, event, &fields));
    }
    match (name.strip_prefix("__x64_sys_"), kind) {
        (Some(syscall), 0) => syscall_plan(kernel, syscall),
        (Some(syscall), _) => Some(Plan::syscall_result(syscall)),
        (None, 0) => Plan::entry(kernel.btf(), name),
        (None, _) => Plan::result(kernel.btf(), name),
    }
}

/// What is looked at at the entry of a system call.
pub(super) fn syscall_plan(kernel: &Profile, syscall: &str) -> Option<Plan> {
    let fields = kernel.tracepoints().find("syscalls", &format!("sys_enter_{syscall}"))?.fields;
    let args = fields.iter().filter(|f| f.name != "__syscall_nr" && !f.decl.starts_with("__data_loc"));
    Some(Plan::syscall(&args.map(|f| f.decl.clone()).collect::<Vec<_>>()))
}

/// What a function is called where compilers have left only a part of it.
fn real_name(bpf: &mut Bpf, name: &str) -> Option<String> {
    if bpf.tier() == Tier::Simulator {
        return Some(name.to_owned());
    }
    // The kernel's list is long.
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    let names = NAMES.get_or_init(|| bpf.get_kprobe_functions(".*").unwrap().into_iter().collect());
    let part = |n: &&String| {
        let suffix = n.strip_prefix(name).and_then(|n| n.strip_prefix('.'));
        suffix.is_some_and(|s| ["isra", "constprop", "part"].iter().any(|p| s.starts_with(p)))
    };
    // A system call without arguments has several names, of which the list has one.
    let listed = names.get(name).or_else(|| names.iter().find(part)).cloned();
    listed.or_else(|| bpf.ksymname(name).map(|_| name.to_owned()))
}

/// Gives a child the time to end behind its parent's back, without a system call.
fn settle(bpf: &Bpf) {
    let start = std::time::Instant::now();
    while bpf.tier() == Tier::Kernel && start.elapsed() < std::time::Duration::from_millis(40) {
        std::hint::spin_loop();
    }
}
