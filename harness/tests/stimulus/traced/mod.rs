//! The expansions against real kernels: the same tracing programs on both tiers, at the points of the expansion.
//!
//! On the simulator they must see exactly what the expansion says. On a kernel (`BPF_HARNESS_TIER=kernel`) they must see
//! the same in the same order, in each task for itself, as the expansion for this kernel's version says, with the same
//! arguments and results; only the scheduler and the timer come in between as they like ([`compare`]).
//!
//! Arguments are compared by their types in the kernel's own BTF ([`look`]): numbers by value, texts by what they say,
//! structures by the members in [`meaning`], other pointers by whether there is one. What cannot be the same is in
//! [`exceptions`], with the reason.

mod compare;
mod exceptions;
pub(crate) mod look;
mod meaning;
mod points;
pub(crate) mod say;

use std::collections::BTreeMap;
use std::path::Path;

use bpf_harness::profile::Profile;
use bpf_harness::stimulus::{Action, Stimulated};
use bpf_harness::{Bpf, Tier};
use bpf_helpers_mock::state::Task;
use serial_test::serial;

use crate::support::{all, machine};
use compare::{Comparison, Count, Role, Run};
use look::Plan;
use points::{Points, Seen, syscall_plan};
use say::{Names, Told};

/// The idle task is nobody.
fn role(done: &Stimulated, pid: u32) -> Option<Role> {
    match pid {
        _ if pid == done.pid => Some(Role::Actor),
        _ if Some(pid) == done.child => Some(Role::Child),
        _ => (pid != 0).then_some(Role::Worker),
    }
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

/// How many values are compared at least: there are about 4700, a few more or less from kernel to kernel.
const ENOUGH: usize = 4000;

/// A kernel that is short of time leaves packets to a thread of its own, and what they bring comes elsewhere: then it is
/// done again.
const ATTEMPTS: usize = 3;

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
    if !real {
        return None;
    }
    let want = Run { names: names(&done, &mut simulated.bpf, &calls), traced: expected };

    let mut tracer = points.attach(Tier::Kernel, kernel);
    // What happens for the first time only (pages, names of files, the program that is run) is over after this.
    tracer.trace(action);
    let missing = tracer.missing.iter().map(|m| format!("  not there: {m}")).collect();
    let mut comparison =
        Comparison { points: &points, wrong: missing, count: Count::default(), shifted: false };
    for _ in 0..ATTEMPTS {
        if name == "write_file" {
            std::fs::write("/tmp/bpf-file", "").unwrap();
        }
        let (done, told) = tracer.trace(action);
        let got = Run {
            names: names(&done, &mut simulated.bpf, &calls),
            traced: told.into_iter().map(|(s, t)| (role(&done, t.pid), s, t)).collect(),
        };
        // Whatever a process touches for the first time is a page fault too.
        comparison.compare(want.clone(), got, name == "page_fault");
        if !comparison.shifted {
            break;
        }
    }
    *count += comparison.count;
    let mut wrong = comparison.wrong;
    wrong.dedup();
    (!wrong.is_empty()).then(|| format!("{name}:\n{}", wrong.join("\n")))
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
    let mut count = Count::default();
    let mut wrong = Vec::new();
    for (name, action) in all() {
        if name == "read_disk" && real && !Path::new("/dev/loop-control").exists() {
            // Kernels that came without their modules; `cargo xtask kernel` sets the variable where all is there.
            let why = "this kernel has no loop devices";
            assert!(std::env::var_os("BPF_TEST_ALL_KINDS").is_none(), "{why}");
            eprintln!("{name} is skipped: {why}");
            continue;
        }
        wrong.extend(check(name, &*action, &kernel, &mut count));
    }
    let version = kernel.kernel().version;
    println!("on {}.{}: {count:?}", version >> 16, version >> 8 & 0xff);
    assert!(!real || count.values > ENOUGH, "little was compared");
    assert!(wrong.is_empty(), "on {}.{}:\n{}", version >> 16, version >> 8 & 0xff, wrong.join("\n"));
}
