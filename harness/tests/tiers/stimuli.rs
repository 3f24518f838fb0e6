//! Stimuli in which something goes wrong: they end all the same, and say what it was.

use std::time::{Duration, Instant};

use bpf_harness::stimulus::{Stimulated, Stimulus};
use bpf_harness::{Bpf, Tier};

fn on_kernel() -> bool {
    Tier::from_env().unwrap() == Tier::Kernel
}

fn bare() -> Bpf {
    Bpf::builder().object(bpf_fixtures::object("hostapi").unwrap()).only("count").load().unwrap()
}

fn value(done: &Stimulated, name: &str) -> Option<i64> {
    done.value(name).map(u64::cast_signed)
}

#[test]
fn what_was_sent_and_received_is_told() {
    let mut bpf = bare();
    for bytes in [&b"hello"[..], b""] {
        let len = Some(bytes.len() as i64);
        let udp = bpf.stimulate(&Stimulus::udp().sending(bytes)).unwrap();
        assert_eq!((Some(udp.ret), value(&udp, "recvfrom")), (len, len));
        // A stream that nothing is sent into is not waited for.
        let tcp = bpf.stimulate(&Stimulus::tcp().sending(bytes)).unwrap();
        assert_eq!((tcp.ret, value(&tcp, "sendto"), value(&tcp, "recvfrom")), (0, len, len));
    }
}

#[test]
fn a_datagram_that_a_program_drops_is_not_waited_for_for_ever() {
    // On the simulator control groups see no packets of sockets.
    if !on_kernel() {
        return;
    }
    let object = bpf_fixtures::object("drops").unwrap();
    let mut bpf = Bpf::builder().object(object).load().unwrap();
    bpf.attach_all().unwrap();
    let begin = Instant::now();
    let done = bpf.stimulate(&Stimulus::udp().sending(*b"thirteen byte")).unwrap();
    assert_eq!((done.ret, value(&done, "recvfrom")), (13, Some(-11)));
    assert!(begin.elapsed() < Duration::from_secs(60));
    let others = bpf.stimulate(&Stimulus::udp()).unwrap();
    assert_eq!(value(&others, "recvfrom"), Some(4));
}

#[test]
fn a_program_that_cannot_be_run_says_why() {
    // A simulated machine has any program.
    if !on_kernel() {
        return;
    }
    let mut bpf = bare();
    for (program, errno) in [("/no/such/program", -2), ("/proc/self/stat", -13), ("/", -13)] {
        let done = bpf.stimulate(&Stimulus::exec().program(program)).unwrap();
        assert_eq!(value(&done, "exec"), Some(errno), "{program}");
    }
    let done = bpf.stimulate(&Stimulus::exec()).unwrap();
    assert_eq!(value(&done, "exec"), Some(0));
}

#[test]
fn disks_of_several_tests_do_not_get_in_each_others_way() {
    if on_kernel() && !std::path::Path::new("/dev/loop-control").exists() {
        eprintln!("skipped: there are no loop devices");
        return;
    }
    std::thread::scope(|s| {
        let disk = || {
            let mut bpf = bare();
            for _ in 0..5 {
                assert_eq!(bpf.stimulate(&Stimulus::read_disk(1024)).unwrap().ret, 1024);
            }
        };
        let all: Vec<_> = (0..4).map(|_| s.spawn(disk)).collect();
        all.into_iter().for_each(|t| t.join().unwrap());
    });
}
