//! What programs can do with stimuli: decide, look, keep packets; and stimuli of one's own.

use bpf_harness::profile::Profile;
use bpf_harness::stimulus::{Stimulated, Stimulus};
use bpf_harness::{Bpf, Error, Point};

fn decides(program: &str) -> Bpf {
    let object = bpf_fixtures::object("decides").unwrap();
    let profile = Profile::default_x86_64().unwrap();
    let mut bpf = Bpf::builder().object(object).profile(profile).load().unwrap();
    bpf.attach(program).unwrap();
    bpf
}

#[test]
fn a_hook_that_refuses_makes_the_call_fail() {
    let mut bpf = decides("refuse");
    let done = bpf.stimulate(&Stimulus::read_file("/etc/shadow")).unwrap();
    assert_eq!((done.ret, done.fired), (-1, 1));
    let calls: Vec<_> = done.happened.iter().filter(|h| matches!(h.point, Point::Ksyscall(_))).collect();
    assert_eq!(calls.len(), 1, "nothing is read or closed");
    let exec = bpf.stimulate(&Stimulus::exec()).unwrap();
    assert_eq!(exec.value("exec").map(u64::cast_signed), Some(-1));
    assert!(bpf.machine().kernel.state.tasks.get(exec.child.unwrap()).is_none(), "the child is gone");
}

#[test]
fn programs_at_a_return_see_arguments_and_result() {
    let mut bpf = decides("look");
    bpf.stimulate(&Stimulus::read_file("/etc/hostname").holding("host\n")).unwrap();
    assert_eq!((bpf.global("asked").unwrap(), bpf.global("got").unwrap()), (4096u64.into(), 5u64.into()));
}

#[test]
fn raw_system_calls_come_with_their_registers() {
    let mut bpf = decides("enter");
    bpf.stimulate(&Stimulus::kill_nobody(15)).unwrap();
    for (global, expected) in [("number", 62u64), ("orig_ax", 62), ("first", i32::MAX as u64)] {
        assert_eq!(bpf.global(global).unwrap(), expected, "{global}");
    }
    bpf.stimulate(&Stimulus::tcp()).unwrap();
    insta::assert_yaml_snapshot!(bpf.table("calls").unwrap());
}

#[test]
fn a_packet_goes_as_far_as_it_is_let() {
    let mut packet = vec![0u8; 64];
    packet[12..14].copy_from_slice(&[8, 0]);
    packet[14] = 0x45;
    packet[16..18].copy_from_slice(&[0, 50]);
    for (protocol, ret, fired) in [(6u8, 1, 3), (1, 0, 1)] {
        packet[23] = protocol;
        let mut bpf = Bpf::load(bpf_fixtures::object("packets").unwrap()).unwrap();
        bpf.attach_all().unwrap();
        let done = bpf.stimulate(&Stimulus::packet(packet.clone())).unwrap();
        assert_eq!((done.ret, done.fired), (ret, fired), "protocol {protocol}");
    }
}

#[test]
fn a_fault_on_the_way_ends_the_stimulus_with_its_line() {
    let mut bpf = Bpf::load(bpf_fixtures::object("null_deref").unwrap()).unwrap();
    let program = bpf.program_names().next().unwrap().to_owned();
    bpf.attach_to(&program, &Point::Kprobe("vfs_read".into()), 0).unwrap();
    let before = bpf.machine().kernel.state.current().pid;
    let error = bpf.stimulate(&Stimulus::fork()).unwrap();
    assert_eq!(error.fired, 0);
    assert!(matches!(bpf.stimulate(&Stimulus::read_file("/a")), Err(Error::Fault(_))));
    assert_eq!(bpf.machine().kernel.state.current().pid, before);
}

#[test]
fn tasks_and_time_are_the_same_every_time() {
    let run = || {
        let mut bpf = decides("enter");
        let start = bpf.now();
        let children: Vec<_> = (0..3).map(|_| bpf.stimulate(&Stimulus::fork()).unwrap().child).collect();
        (children, bpf.now() - start)
    };
    assert_eq!(run(), run());
    assert_eq!(run().0, [Some(1001), Some(1002), Some(1003)], "ids go round, as the kernel's do");
}

#[test]
fn stimuli_of_ones_own_are_pairs_of_closures() {
    let mut bpf = Bpf::load(bpf_fixtures::object("hostapi").unwrap()).unwrap();
    bpf.attach_kprobe("ext4_sync_file", "count").unwrap();
    let sync = Stimulus::custom(
        "fsync",
        |_| Err(Error::Invalid("only described".to_owned())),
        |sim| {
            let file = sim.file("/var/lib/db", 2, 0)?;
            let ret = sim.syscall("fsync", &[3], |sim| {
                sim.function("vfs_fsync_range", &[file, 0, u64::MAX >> 1, 0], |sim| {
                    sim.leaf("ext4_sync_file", &[file, 0, u64::MAX >> 1, 0], -5)
                })
            })?;
            Ok(Stimulated::returning(ret).with("file", file))
        },
    );
    let done = bpf.stimulate(&sync).unwrap();
    assert_eq!((done.ret, done.fired, done.pid), (-5, 1, 1000));
    assert!(done.value("file").is_some());
}

#[test]
fn signals_that_end_the_process_are_refused() {
    let mut bpf = decides("enter");
    for signal in [9, 19, 65] {
        assert!(
            bpf.stimulate(&Stimulus::kill(signal)).unwrap_err().to_string().contains("cannot be ignored")
        );
    }
    assert_eq!(bpf.stimulate(&Stimulus::kill_nobody(9)).unwrap().ret, -3);
}
