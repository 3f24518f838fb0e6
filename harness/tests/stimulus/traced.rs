//! The expansions against real kernels: the same tracing programs on both tiers, at the points of the expansion.
//!
//! On the simulator they must see exactly what the expansion says. On a kernel (`BPF_HARNESS_TIER=kernel`) they must see
//! the same in the same order, in each task for itself, as the expansion for this kernel's version says; only the
//! scheduler and the timer come in between as they like.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use bpf_harness::stimulus::{Action, Happened, Stimulated};
use bpf_harness::{Bpf, Point, Tier};
use serial_test::serial;

use crate::support::{all, machine};

/// Points at which the machine has business of its own.
const ANYTIME: &[&str] = &[
    "schedule",
    "finish_task_switch",
    "try_to_wake_up",
    "sched:sched_switch",
    "sched:sched_waking",
    "sched:sched_wakeup",
    "timer:hrtimer_start",
    "timer:hrtimer_expire_entry",
    "hrtimer_wakeup",
];

/// One point that was come by.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    /// `>` at an entry, `<` at a return, `=` at a tracepoint.
    way: char,
    name: String,
    /// What it failed with, at a return.
    errno: Option<i64>,
}

impl Seen {
    fn new(way: char, name: String, value: i64) -> Self {
        // Whether a thread that is waited for has ended already depends on who was faster.
        let counts = way == '<' && name != "__x64_sys_futex";
        Self { way, name, errno: errno(value).filter(|_| counts) }
    }

    /// Whether a kernel may have it at other times, or miss it: it keeps as many returns of a function in mind as it has
    /// CPUs, and this one calls itself by way of the loopback.
    fn is_anytime(&self) -> bool {
        ANYTIME.contains(&self.name.as_str()) || self.way == '<' && self.name == "tcp_rcv_state_process"
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.way, self.name)?;
        self.errno.map_or(Ok(()), |e| write!(f, " = {e}"))
    }
}

/// Which of an action's tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Actor,
    Child,
}

fn role(done: &Stimulated, pid: u32) -> Option<Role> {
    if pid == done.pid { Some(Role::Actor) } else { (Some(pid) == done.child).then_some(Role::Child) }
}

/// What a function fails with: results that are no errors are addresses, numbers and what is left in a register.
fn errno(value: i64) -> Option<i64> {
    let value = if (0..=i64::from(u32::MAX)).contains(&value) { i64::from(value as i32) } else { value };
    (-4095..0).contains(&value).then_some(value)
}

fn expected(happened: &Happened) -> Option<Seen> {
    let (way, name) = match &happened.point {
        Point::Kprobe(f) => ('>', f.clone()),
        Point::Kretprobe(f) => ('<', f.clone()),
        Point::Ksyscall(name) => ('>', format!("__x64_sys_{name}")),
        Point::Kretsyscall(name) => ('<', format!("__x64_sys_{name}")),
        Point::Tracepoint(category, name) => ('=', format!("{category}:{name}")),
        // Kernels have these only if they were booted with them.
        _ => return None,
    };
    Some(Seen::new(way, name, happened.ret.unwrap_or(0)))
}

/// The points of an expansion, and the programs at them.
#[derive(Default)]
struct Points {
    functions: Vec<String>,
    returns: Vec<String>,
    tracepoints: Vec<String>,
}

impl Points {
    fn of(seen: &[(Option<Role>, Seen)]) -> Self {
        let mut points = Self::default();
        for (_, s) in seen {
            let list = match s.way {
                '>' => &mut points.functions,
                '<' => &mut points.returns,
                _ => &mut points.tracepoints,
            };
            if !list.contains(&s.name) {
                list.push(s.name.clone());
            }
        }
        points
    }

    /// A machine or kernel with the programs loaded and attached, and the functions that it does not have.
    fn attach(&self) -> (Bpf, Vec<String>) {
        let number = |i: usize| i + 10;
        let lists =
            [("entry", &self.functions), ("return", &self.returns), ("tracepoint", &self.tracepoints)];
        let mut builder = Bpf::builder().object(bpf_fixtures::object("points").unwrap());
        for (kind, list) in lists {
            for i in 0..list.len() {
                builder = builder.only(format!("{kind}_{}", number(i)));
            }
        }
        let mut bpf = builder.load().unwrap();
        let mut missing = Vec::new();
        for (i, name) in self.tracepoints.iter().enumerate() {
            if let Err(e) = bpf.attach_tracepoint(name, &format!("tracepoint_{}", number(i))) {
                missing.push(format!("{name}: {e}"));
            }
        }
        for (kind, list) in &lists[..2] {
            for (i, name) in list.iter().enumerate() {
                let program = format!("{kind}_{}", number(i));
                let Some(function) = real_name(&bpf, name) else {
                    missing.push(name.clone());
                    continue;
                };
                let attached = match *kind {
                    "entry" => bpf.attach_kprobe(&function, &program),
                    _ => bpf.attach_kretprobe(&function, &program),
                };
                if let Err(e) = attached {
                    missing.push(format!("{function}: {e}"));
                }
            }
        }
        (bpf, missing)
    }

    fn seen(&self, record: &[u8]) -> (u32, Seen) {
        let word = |i: usize| u32::from_le_bytes(record[4 * i..4 * i + 4].try_into().unwrap());
        let value = i64::from_le_bytes(record[16..24].try_into().unwrap());
        let at = |list: &[String]| list[word(1) as usize - 10].clone();
        let (way, name) = match word(0) {
            0 => ('>', at(&self.functions)),
            1 => ('<', at(&self.returns)),
            _ => ('=', at(&self.tracepoints)),
        };
        (word(2), Seen::new(way, name, value))
    }
}

/// What a function is called where compilers have left only a part of it.
fn real_name(bpf: &Bpf, name: &str) -> Option<String> {
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
    names.get(name).or_else(|| names.iter().find(part)).cloned()
}

/// The version of the kernel that the test runs on.
fn version(bpf: &mut Bpf) -> (u8, u8) {
    let version = bpf.machine().kernel.profile.version;
    ((version >> 16) as u8, (version >> 8) as u8)
}

/// The expansion for a kernel's version.
fn expansion(action: &dyn Action, (major, minor): (u8, u8)) -> Vec<(Option<Role>, Seen)> {
    let mut bpf = machine(Bpf::builder().tier(Tier::Simulator).kernel_version(major, minor, 0));
    let done = bpf.stimulate(action).unwrap();
    done.happened.iter().filter_map(|h| Some((role(&done, h.pid), expected(h)?))).collect()
}

/// What differs, as a test's output; `None` if nothing does.
fn check(name: &str, action: &dyn Action, version: (u8, u8)) -> Option<String> {
    let expected = expansion(action, version);
    let points = Points::of(&expected);
    let (mut bpf, missing) = points.attach();
    let real = bpf.tier() == Tier::Kernel;
    // What happens for the first time only (pages, names of files, the program that is run) is over after this.
    bpf.stimulate(action).unwrap();
    settle(real);
    bpf.take_records("points").unwrap();
    let done = bpf.stimulate(action).unwrap();
    settle(real);
    let records = bpf.take_records("points").unwrap();
    let seen: Vec<_> = records.iter().map(|r| points.seen(r)).collect();
    let mut wrong: Vec<String> = missing.iter().map(|m| format!("  not there: {m}")).collect();
    for role_of in [Role::Actor, Role::Child] {
        let keep = |s: &&Seen| !real || !s.is_anytime();
        let want: Vec<&Seen> =
            expected.iter().filter(|(r, _)| *r == Some(role_of)).map(|(_, s)| s).filter(keep).collect();
        let mut got: Vec<&Seen> = seen
            .iter()
            .filter(|(pid, _)| role(&done, *pid) == Some(role_of))
            .map(|(_, s)| s)
            .filter(keep)
            .collect();
        // The test itself goes on, and makes system calls.
        while got.len() > want.len() && got.last().is_some_and(|s| s.name.starts_with("raw_syscalls:")) {
            got.pop();
        }
        // Whatever a process touches for the first time is a page fault too.
        if real && name == "page_fault" && is_among(&want, &got) {
            continue;
        }
        if want != got {
            let same = want.iter().zip(&got).take_while(|(a, b)| a == b).count();
            let part = |list: &[&Seen]| {
                let from = same.saturating_sub(2);
                list.iter().skip(from).take(8).map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            wrong.push(format!(
                "  {role_of:?}, from {same} of {}: expected [{}], seen [{}]",
                want.len(),
                part(&want),
                part(&got)
            ));
        }
    }
    (!wrong.is_empty()).then(|| format!("{name}:\n{}", wrong.join("\n")))
}

/// Whether all that is wanted was seen, in its order, whatever else was.
fn is_among(want: &[&Seen], got: &[&Seen]) -> bool {
    let mut got = got.iter();
    want.iter().all(|w| got.any(|g| g == w))
}

/// Gives a child the time to end behind its parent's back, without a system call.
fn settle(real: bool) {
    let start = std::time::Instant::now();
    while real && start.elapsed() < std::time::Duration::from_millis(40) {
        std::hint::spin_loop();
    }
}

#[test]
#[serial]
fn every_stimulus_comes_by_the_points_of_its_expansion() {
    if Tier::from_env().unwrap() == Tier::Kernel {
        std::fs::write("/tmp/bpf-file", "hello world\n").unwrap();
    }
    let points = bpf_fixtures::object("points").unwrap();
    let mut bpf = Bpf::builder().object(points).only("entry_10").load().unwrap();
    let version = version(&mut bpf);
    let mut wrong = Vec::new();
    for (name, action) in all() {
        wrong.extend(check(name, &*action, version));
    }
    assert!(wrong.is_empty(), "on {}.{}:\n{}", version.0, version.1, wrong.join("\n"));
}
