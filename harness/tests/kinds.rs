//! Every kind of attachment: what happens reaches the program while it is attached, and no longer; on both tiers.

use std::time::Duration;

use bpf_harness::stimulus::{Action, Stimulus};
use bpf_harness::{Bpf, Error, PerfEventSpec, Tier, UprobeTarget, perf};

/// What happens, as often as a test wants.
type Happening = fn() -> Box<dyn Action>;

fn sleep() -> Box<dyn Action> {
    Box::new(Stimulus::sleep(Duration::from_millis(1)))
}

fn fork() -> Box<dyn Action> {
    Box::new(Stimulus::fork())
}

fn read() -> Box<dyn Action> {
    Box::new(Stimulus::read_file("/proc/self/stat"))
}

fn strlen() -> Box<dyn Action> {
    Box::new(Stimulus::strlen("hello"))
}

fn datagram() -> Box<dyn Action> {
    Box::new(Stimulus::udp())
}

fn packet() -> Box<dyn Action> {
    let mut frame = vec![0xff; 12];
    frame.extend([0x88, 0xb5]);
    frame.resize(64, 7);
    Box::new(Stimulus::packet(frame))
}

/// Program, its place among the counts, what reaches it, a security module or option that it takes.
#[rustfmt::skip]
const KINDS: [(&str, u32, Happening, Option<&str>); 17] = [
    ("at_kprobe", 0, sleep, None),
    ("at_kretprobe", 1, sleep, None),
    ("at_ksyscall", 2, sleep, None),
    ("at_tracepoint", 3, sleep, None),
    ("at_raw_tp", 4, fork, None),
    ("at_tp_btf", 5, fork, None),
    ("at_fentry", 6, sleep, None),
    ("at_fexit", 7, sleep, None),
    ("at_lsm", 8, read, Some("lsm")),
    ("at_uprobe", 10, strlen, None),
    ("at_uretprobe", 11, strlen, None),
    ("at_xdp", 12, packet, None),
    ("at_tc_ingress", 13, packet, Some("CONFIG_NET_SCH_INGRESS")),
    ("at_tc_egress", 14, packet, Some("CONFIG_NET_SCH_INGRESS")),
    ("at_socket", 15, packet, None),
    ("at_cgroup_ingress", 16, datagram, None),
    ("at_cgroup_egress", 17, datagram, None),
];

/// Loads one program: kernels that cannot load the others are no matter.
fn load(program: &str) -> Bpf {
    let object = bpf_fixtures::object("kinds").expect("a fixture of this name");
    Bpf::builder().object(object).only(program).load().unwrap()
}

fn attach(bpf: &mut Bpf, program: &str) -> Result<(), Error> {
    let strlen = UprobeTarget::symbol("c", "strlen");
    match program {
        "at_uprobe" => bpf.attach_uprobe_to(&strlen, program).map(drop),
        "at_uretprobe" => bpf.attach_uretprobe_to(&strlen, program).map(drop),
        _ => bpf.attach(program),
    }
}

fn count(bpf: &mut Bpf, kind: u32) -> u64 {
    bpf.map("runs").unwrap().sum(kind).unwrap().unwrap()
}

/// Whether the running kernel lacks what a kind takes besides its version, going by what attaching has said. What is missing
/// is said, and is a failure where the kernel is known to have it: `cargo xtask kernel` sets the variable.
fn lacks(what: Option<&str>, attached: &Result<(), Error>) -> bool {
    if Tier::from_env().unwrap() == Tier::Simulator {
        return false;
    }
    let said = attached.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let missing = match what {
        Some("lsm") => {
            let active = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
            (!active.split(',').any(|m| m == "bpf"))
                .then_some("'bpf' is no active security module: boot with lsm=...,bpf")
        }
        Some(option) => said.contains(option).then_some("traffic control is not there"),
        None => None,
    };
    if let Some(why) = missing {
        assert!(std::env::var_os("BPF_TEST_ALL_KINDS").is_none(), "{why}");
        eprintln!("skipped: {why}");
    }
    missing.is_some()
}

fn reaches(program: &str) {
    let (_, kind, happening, takes) = *KINDS.iter().find(|k| k.0 == program).unwrap();
    let mut bpf = load(program);
    let attached = attach(&mut bpf, program);
    if lacks(takes, &attached) {
        return;
    }
    attached.unwrap();
    bpf.stimulate(&*happening()).unwrap();
    let seen = count(&mut bpf, kind);
    assert!(seen > 0, "{program} has not run");
    bpf.detach(program).unwrap();
    let seen = count(&mut bpf, kind);
    bpf.stimulate(&*happening()).unwrap();
    assert_eq!(count(&mut bpf, kind), seen, "{program} has run though it is attached no longer");
}

macro_rules! kinds {
    ($($program:ident)*) => {
        $(#[test] fn $program() { reaches(stringify!($program)); })*

        #[test]
        fn every_kind_has_a_test() {
            assert_eq!([$(stringify!($program)),*], KINDS.map(|k| k.0));
        }
    };
}

kinds! {
    at_kprobe at_kretprobe at_ksyscall at_tracepoint at_raw_tp at_tp_btf at_fentry at_fexit at_lsm at_uprobe
    at_uretprobe at_xdp at_tc_ingress at_tc_egress at_socket at_cgroup_ingress at_cgroup_egress
}

/// The clock's samples come by themselves on a kernel; a simulated machine takes one when it is told.
#[test]
fn at_perf_event() {
    let mut bpf = load("at_perf_event");
    let clock = PerfEventSpec::new(perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK).sample_period(100_000);
    bpf.attach_perf_event(&clock, "at_perf_event").unwrap();
    if bpf.tier() == Tier::Simulator {
        bpf.perf_event().fire().unwrap();
    } else {
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
    }
    assert!(count(&mut bpf, 9) > 0);
    bpf.detach("at_perf_event").unwrap();
}

/// Nothing is left behind: what a test has attached goes with it.
#[test]
fn a_test_leaves_nothing_attached() {
    let mut first = load("at_kprobe");
    attach(&mut first, "at_kprobe").unwrap();
    drop(first);
    let mut second = load("at_kprobe");
    second.stimulate(&*sleep()).unwrap();
    assert_eq!(count(&mut second, 0), 0);
}
