//! Several programs at one place: the order in which they run, and whose verdict counts, are the kernel's on both tiers.

use std::time::Duration;

use bpf_harness::stimulus::{Action, Stimulated, Stimulus};
use bpf_harness::{Bpf, Tier};

fn on_kernel() -> bool {
    Tier::from_env().unwrap() == Tier::Kernel
}

/// The number of this thread.
fn thread() -> u32 {
    let path = std::fs::read_link("/proc/thread-self").unwrap();
    path.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// Whether the kernel is of such a version; the simulated one is of 6.12.
fn since(version: (u32, u32)) -> bool {
    let simulated = "6.12".to_owned();
    let real = || std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let release = if on_kernel() { real() } else { simulated };
    let mut numbers = release.split('.').map(|n| n.trim().parse().unwrap_or(0u32));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= version
}

/// The three programs at a place, attached in their order; `None` with the reason where this kernel has no such place.
fn at(place: &str) -> Option<Bpf> {
    let names: Vec<String> = (1..=3).map(|n| format!("{place}_{n}")).collect();
    let me = if on_kernel() { thread() } else { 0 };
    let mut builder = Bpf::builder().object(bpf_fixtures::object("order").unwrap()).global("me", me);
    for name in &names {
        builder = builder.only(name);
    }
    let mut bpf = builder.load().unwrap();
    for name in &names {
        if let Err(e) = bpf.attach(name) {
            // Functions by many at once take CONFIG_FPROBE, hooks the security module, traffic control its modules.
            let said = e.to_string();
            let missing = place.contains("multi") && said.contains("EOPNOTSUPP")
                || place.contains("multi") && !since((5, 18))
                || said.contains("lsm=")
                || said.contains("CONFIG_NET_CLS_BPF");
            assert!(on_kernel() && missing, "{said}");
            eprintln!("skipped: {said}");
            return None;
        }
    }
    Some(bpf)
}

/// Lets something happen, with what the programs answer, and gives their order.
fn run(bpf: &mut Bpf, answers: [i32; 3], happening: &dyn Action) -> (String, Stimulated) {
    for (n, answer) in (1..).zip(answers) {
        bpf.set_global(&format!("answer_{n}"), answer).unwrap();
    }
    bpf.set_global("order", 0u64).unwrap();
    let done = bpf.stimulate(happening).unwrap();
    let order = bpf.global("order").unwrap().as_u64().unwrap();
    (format!("{:x}", order as u32), done)
}

fn runs_in(order: &str, places: &[&str], happening: &dyn Action) {
    for place in places {
        if let Some(mut bpf) = at(place) {
            assert_eq!(run(&mut bpf, [0; 3], happening).0, order, "{place}");
        }
    }
}

#[test]
fn functions_run_the_last_attached_program_first_and_their_returns_the_first() {
    let sleep = Stimulus::sleep(Duration::from_millis(1));
    runs_in("321", &["kprobe", "multi", "ksyscall", "fentry", "fexit"], &sleep);
    runs_in("123", &["kretprobe", "kretsyscall"], &sleep);
    runs_in(if since((6, 14)) { "321" } else { "123" }, &["retmulti"], &sleep);
}

#[test]
fn user_functions_and_their_returns_run_the_last_attached_program_first() {
    let call = Stimulus::user_call("c:getenv").text("BPF_NOT_THERE");
    runs_in("321", &["uprobe", "uretprobe"], &call);
}

#[test]
fn tracepoints_run_programs_in_the_order_of_attaching() {
    runs_in("123", &["tracepoint", "raw_tp", "tp_btf"], &Stimulus::fork());
}

#[test]
fn packet_sockets_run_the_last_attached_program_first() {
    let mut bpf = at("socket").unwrap();
    // A loopback device both sends and receives a packet.
    let order = if bpf.network().unwrap().is_loopback() { "321321" } else { "321" };
    assert_eq!(run(&mut bpf, [0; 3], &Stimulus::packet([0u8; 60])).0, order);
}

#[test]
fn a_hook_refuses_as_the_first_program_says_and_asks_no_other() {
    let Some(mut bpf) = at("lsm") else { return };
    let read = Stimulus::read_file("/proc/self/stat");
    for (answers, order) in
        [([0, 0, 0], "321"), ([-1, -13, 0], "32"), ([-1, -13, -2], "3"), ([-1, 0, 0], "321")]
    {
        let (ran, done) = run(&mut bpf, answers, &read);
        let refused = answers.into_iter().rev().find(|a| *a != 0);
        assert_eq!((ran.as_str(), done.ret.min(0)), (order, refused.unwrap_or(0).into()), "{answers:?}");
    }
}

#[test]
fn traffic_control_asks_until_a_program_decides() {
    let Some(mut bpf) = at("tc") else { return };
    let packet = Stimulus::packet([0u8; 60]);
    // OK, SHOT, STOLEN, REDIRECT and TRAP decide; RECLASSIFY, PIPE, QUEUED, REPEAT and what does not exist do not.
    for (answer, passes) in [(0, 1), (2, 0), (4, 0), (7, 0), (8, 0)] {
        for (answers, order) in [([answer, 0, 0], "1"), ([-1, answer, 2], "12"), ([1, 3, answer], "123")] {
            let (ran, done) = run(&mut bpf, answers, &packet);
            assert_eq!((ran.as_str(), done.ret), (order, passes), "{answers:?}");
        }
    }
    for undecided in [-1, 1, 3, 5, 6, 9, 100] {
        let (ran, done) = run(&mut bpf, [undecided; 3], &packet);
        assert_eq!((ran.as_str(), done.ret), ("123", 1), "{undecided}");
        let others = bpf.global("others").unwrap();
        assert_eq!(others, bpf_harness::value::Value::List(vec![0x123u32.into(); 3]));
        assert_eq!(bpf.global("order").unwrap().as_u64(), Some(0x123_0000_0123));
    }
}

#[test]
fn all_programs_of_a_control_group_see_a_packet_and_each_can_keep_it() {
    let mut bpf = at("cgroup").unwrap();
    for (answers, arrives) in [([0, 0, 0], true), ([1, 0, 0], false), ([0, 0, 1], false), ([1, 1, 1], false)]
    {
        let (ran, done) = run(&mut bpf, answers, &Stimulus::udp().sending([7; 33]));
        assert_eq!((ran.as_str(), done.ret == 33), ("123", arrives), "{answers:?}");
    }
}

#[test]
fn traffic_control_finds_what_xdp_has_left_in_front_of_a_packet() {
    let builder = Bpf::builder().object(bpf_fixtures::object("order").unwrap());
    let mut bpf = builder.only("leave").only("find").load().unwrap();
    if bpf.network().unwrap().is_loopback() {
        eprintln!("skipped: this kernel has no veth");
        return;
    }
    bpf.attach("find").unwrap();
    for (attached, found) in [(false, 0), (true, 0xfeed)] {
        if attached {
            bpf.attach("leave").unwrap();
        }
        assert_eq!(bpf.stimulate(&Stimulus::packet([0u8; 60])).unwrap().ret, 1);
        assert_eq!(bpf.global("order").unwrap().as_u64(), Some(found));
    }
}
