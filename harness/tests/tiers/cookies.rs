//! What an attachment says of itself reaches the program, wherever programs can ask for it.

use std::time::Duration;

use bpf_harness::stimulus::{Action, Stimulus};
use bpf_harness::{Bpf, Point, Tier};

const COOKIE: u64 = 0xc001_c0de;

fn load(program: &str) -> Bpf {
    let object = bpf_fixtures::object("cookies").unwrap();
    Bpf::builder().object(object).only(program).load().unwrap()
}

fn on_kernel() -> bool {
    Tier::from_env().unwrap() == Tier::Kernel
}

fn load_if(program: &str, version: (u32, u32)) -> Option<Bpf> {
    since(version).then(|| load(program))
}

/// Whether the kernel is of such a version; a simulated one always is.
fn since(version: (u32, u32)) -> bool {
    if !on_kernel() {
        return true;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|n| n.parse().unwrap_or(0u32));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= version
}

fn arrives(program: &str, point: &Point, version: (u32, u32), happening: &dyn Action) {
    if !since(version) {
        return;
    }
    let mut bpf = load(program);
    bpf.attach_to(program, point, COOKIE).unwrap();
    bpf.stimulate(happening).unwrap();
    assert_eq!(bpf.global("cookie").unwrap(), COOKIE, "{program}");
}

fn sleep() -> impl Action {
    Stimulus::sleep(Duration::from_millis(1))
}

#[test]
fn at_system_calls() {
    arrives("at_ksyscall", &Point::Ksyscall("nanosleep".into()), (5, 15), &sleep());
    arrives("at_kretsyscall", &Point::Kretsyscall("nanosleep".into()), (5, 15), &sleep());
}

#[test]
fn at_functions() {
    arrives("at_fentry", &Point::Fentry("do_nanosleep".into()), (6, 0), &sleep());
    arrives("at_fexit", &Point::Fexit("do_nanosleep".into()), (6, 0), &sleep());
}

#[test]
fn at_raw_tracepoints_with_types() {
    arrives("at_tp_btf", &Point::RawTp("sched_process_fork".into()), (6, 10), &Stimulus::fork());
}

#[test]
fn at_hooks_of_security_modules() {
    let active = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if Tier::from_env().unwrap() == Tier::Simulator || active.split(',').any(|m| m == "bpf") {
        let read = Stimulus::read_file("/proc/self/stat");
        arrives("at_lsm", &Point::Lsm("file_open".into()), (6, 0), &read);
    }
}

#[test]
fn at_one_function_of_many() {
    let (mut bpf, point) = (load_if("at_multi", (5, 18)), Point::Kprobe("do_nanosleep".into()));
    // It takes CONFIG_FPROBE, which distributions leave out here and there.
    if let Some(Err(e)) = bpf.as_mut().map(|bpf| bpf.attach_to("at_multi", &point, COOKIE)) {
        assert!(on_kernel() && e.to_string().contains("EOPNOTSUPP"), "{e}");
        return;
    }
    drop(bpf);
    arrives("at_multi", &point, (5, 18), &sleep());
}
