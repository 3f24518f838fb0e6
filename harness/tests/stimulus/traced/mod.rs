//! The expansions against real kernels: the same tracing programs on both tiers, at the points of the expansion.
//!
//! On the simulator they must see exactly what the expansion says. On a kernel (`BPF_HARNESS_TIER=kernel`) they must see
//! the same in the same order, in each task for itself, as the expansion for this kernel's version says, with the same
//! arguments and results; only the scheduler and the timer come in between as they like.
//!
//! Arguments are compared by their types in the kernel's own BTF ([`look`]): numbers by value, texts by what they say,
//! structures by the members in [`meaning`], other pointers by whether there is one. What cannot be the same is in
//! [`exceptions`], with the reason.

mod exceptions;
mod look;
mod meaning;
mod points;
mod say;

use std::collections::BTreeMap;

use bpf_harness::profile::Profile;
use bpf_harness::stimulus::{Action, Stimulated};
use bpf_harness::{Bpf, Tier};
use bpf_helpers_mock::state::Task;
use serial_test::serial;

use crate::support::{all, machine};
use look::Plan;
use points::{Points, Seen, syscall_plan};
use say::{Names, Told};

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

impl Seen {
    /// Whether a kernel may have it at other times, or miss it: it keeps as many returns of a function in mind as it has
    /// CPUs, and this one calls itself by way of the loopback.
    fn is_anytime(&self) -> bool {
        ANYTIME.contains(&self.name.as_str()) || self.way == '<' && self.name == "tcp_rcv_state_process"
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

/// How much was compared.
#[derive(Clone, Copy, Default, Debug)]
struct Count {
    points: usize,
    values: usize,
    excepted: usize,
    /// Values of functions whose types the kernel does not tell.
    untyped: usize,
}

/// The test's own task, as it is on the kernel.
fn describe_actor(bpf: &mut Bpf, real: bool) {
    let state = &mut bpf.machine().kernel.state;
    let (cpu, me) = (state.cpus.current, Task::clone(state.current()));
    if real {
        // Two ids, and a name for each of the two threads.
        let of = |path: &str| {
            std::fs::read_link(path).unwrap().file_name().unwrap().to_string_lossy().into_owned()
        };
        let (tgid, pid) = (of("/proc/self"), of("/proc/thread-self"));
        let comm = std::fs::read_to_string("/proc/thread-self/comm").unwrap().trim_end().to_owned();
        let (pid, tgid) = (pid.parse().unwrap(), tgid.parse().unwrap());
        let leader = std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned();
        state.tasks.insert(Task { pid: tgid, tgid, comm: leader, ..me.clone() });
        state.tasks.insert(Task { pid, tgid, comm, ..me });
        state.tasks.run_on(cpu, pid);
    }
}

/// What numbers and names are called, by what the simulator has been told of the tasks.
fn names(done: &Stimulated, simulated: &mut Bpf, calls: &BTreeMap<u64, (String, Plan)>) -> Names {
    let tasks = &simulated.machine().kernel.state.tasks;
    let comm = |pid: u32| tasks.get(pid).map_or_else(String::new, |t| t.shown_comm().to_owned());
    Names {
        actor: done.pid,
        process: done.tgid,
        child: done.child,
        comm: comm(done.pid),
        process_comm: comm(done.tgid),
        calls: calls.clone(),
        ..Names::default()
    }
}

/// The system calls that an expansion has, by their numbers in its records.
fn calls(expected: &[(Option<Role>, Seen, Told)], kernel: &Profile) -> BTreeMap<u64, (String, Plan)> {
    let call = |(_, seen, told): &(Option<Role>, Seen, Told)| {
        let name = seen.name.strip_prefix("syscalls:sys_")?.split_once('_')?.1;
        let plan = syscall_plan(kernel, name)?;
        Some((told.in_record(8, 4), (name.to_owned(), plan)))
    };
    expected.iter().filter_map(call).collect()
}

/// What differs, as a test's output; `None` if nothing does.
fn check(name: &str, action: &dyn Action, kernel: &Profile, count: &mut Count) -> Option<String> {
    let real = Tier::from_env().unwrap() == Tier::Kernel;
    let mut bpf = machine(Bpf::builder().tier(Tier::Simulator).profile(kernel.clone()));
    describe_actor(&mut bpf, real);
    let done = bpf.stimulate(action).unwrap();
    let happened: Vec<(Option<Role>, Seen)> =
        done.happened.iter().filter_map(|h| Some((role(&done, h.pid), Seen::expected(h)?))).collect();
    let points = Points::of(happened.iter().map(|(_, s)| s), kernel);

    let mut simulated = points.attach(Tier::Simulator, kernel);
    describe_actor(&mut simulated.bpf, real);
    let (done, told) = simulated.trace(action);
    let expected: Vec<(Option<Role>, Seen, Told)> =
        told.into_iter().map(|(s, t)| (role(&done, t.pid), s, t)).collect();
    let traced: Vec<(Option<Role>, Seen)> = expected.iter().map(|(r, s, _)| (*r, s.clone())).collect();
    assert_eq!(simulated.missing, [""; 0], "{name}");
    assert_eq!(traced, happened, "{name}: programs on the simulator see what the expansion says");
    let calls = calls(&expected, kernel);
    let mut want_names = names(&done, &mut simulated.bpf, &calls);
    if !real {
        return None;
    }

    let mut tracer = points.attach(Tier::Kernel, kernel);
    // What happens for the first time only (pages, names of files, the program that is run) is over after this.
    tracer.trace(action);
    if name == "write_file" {
        std::fs::write("/tmp/bpf-file", "").unwrap();
    }
    let (done, told) = tracer.trace(action);
    let mut got_names = names(&done, &mut simulated.bpf, &calls);
    let seen: Vec<(Option<Role>, Seen, Told)> =
        told.into_iter().map(|(s, t)| (role(&done, t.pid), s, t)).collect();
    let mut wrong: Vec<String> = tracer.missing.iter().map(|m| format!("  not there: {m}")).collect();
    for role_of in [Role::Actor, Role::Child] {
        let of = |list: &[(Option<Role>, Seen, Told)]| -> Vec<(Seen, Told)> {
            let list = list.iter().filter(|(r, s, _)| *r == Some(role_of) && !s.is_anytime());
            list.map(|(_, s, t)| (s.clone(), t.clone())).collect()
        };
        let (want, mut got) = (of(&expected), of(&seen));
        // The test itself goes on, and makes system calls.
        while got.len() > want.len() && got.last().is_some_and(|(s, _)| s.name.starts_with("raw_syscalls:")) {
            got.pop();
        }
        // Whatever a process touches for the first time is a page fault too.
        if name == "page_fault" {
            keep_wanted(&want, &mut got);
        }
        if !want.iter().map(|(s, _)| s).eq(got.iter().map(|(s, _)| s)) {
            let same = want.iter().zip(&got).take_while(|(a, b)| a.0 == b.0).count();
            let part = |list: &[(Seen, Told)]| {
                let list = list.iter().skip(same.saturating_sub(2)).take(8);
                list.map(|(s, _)| s.to_string()).collect::<Vec<_>>().join(", ")
            };
            wrong.push(format!(
                "  {role_of:?}, from {same} of {}: expected [{}], seen [{}]",
                want.len(),
                part(&want),
                part(&got)
            ));
            continue;
        }
        for ((seen, w), (_, g)) in want.iter().zip(&got) {
            count.points += 1;
            let Some(plan) = points.plan(w) else {
                count.untyped += 1;
                continue;
            };
            let (want, got) = (want_names.all(plan, w), got_names.all(plan, g));
            for (arg, w) in &want {
                if exceptions::is_excepted(seen, arg) {
                    count.excepted += 1;
                    continue;
                }
                count.values += 1;
                // What a pointer that is none points at is in neither list.
                let g = got.iter().find(|(name, _)| name == arg).map_or("nothing", |(_, g)| g);
                if w != g {
                    wrong.push(format!("  {role_of:?}, {seen}: {arg}: expected {w}, seen {g}"));
                }
            }
        }
    }
    wrong.dedup();
    (!wrong.is_empty()).then(|| format!("{name}:\n{}", wrong.join("\n")))
}

/// Drops what was seen besides what is wanted, which keeps its order.
fn keep_wanted(want: &[(Seen, Told)], got: &mut Vec<(Seen, Told)>) {
    let mut rest = want.iter();
    let mut next = rest.next();
    got.retain(|(s, _)| {
        let wanted = next.is_some_and(|(w, _)| w == s);
        if wanted {
            next = rest.next();
        }
        wanted
    });
}

#[test]
#[serial]
fn every_stimulus_comes_by_the_points_of_its_expansion() {
    let real = Tier::from_env().unwrap() == Tier::Kernel;
    let kernel = if real {
        std::fs::write("/tmp/bpf-file", "hello world\n").unwrap();
        Profile::from_running_kernel().unwrap()
    } else {
        Profile::default_x86_64().unwrap()
    };
    // Which functions there are is left to the version: lists of them lack what compilers have cut in parts.
    let kernel = kernel.with_kernel(|k| k.symbols = Default::default());
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut count = Count::default();
    let mut wrong = Vec::new();
    for (name, action) in all() {
        if name.contains(&only) {
            wrong.extend(check(name, &*action, &kernel, &mut count));
        }
    }
    let version = kernel.kernel().version;
    println!("on {}.{}: {count:?}", version >> 16, version >> 8 & 0xff);
    assert!(wrong.is_empty(), "on {}.{}:\n{}", version >> 16, version >> 8 & 0xff, wrong.join("\n"));
}
