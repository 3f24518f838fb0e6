//! What compiled programs send, hold and schedule.

use bpf_helpers_mock::maps::RingBuf;
use bpf_helpers_mock::state::DeferredKind;
use bpf_helpers_mock::{LoadOptions, Machine, RunInput};
use bpf_vm_shim::exec::Outcome;
use bpf_vm_shim::object::{KernelProfile, Object};

fn load(fixture: &str) -> Machine {
    let object = Object::parse(bpf_fixtures::object(fixture).unwrap()).unwrap();
    let mut machine = Machine::new(KernelProfile::default());
    let loaded = machine.load(&object, &LoadOptions::default()).unwrap();
    assert!(loaded.rejected.is_empty(), "{:?}", loaded.rejected);
    machine
}

#[track_caller]
fn run(machine: &mut Machine, prog: &str) -> Outcome {
    let id = machine.kernel.progs.by_name(prog).unwrap().id;
    machine.run(id, RunInput::default()).unwrap().outcome
}

#[test]
fn ring_buffer_records_arrive_in_order() {
    let mut m = load("ringbuf");
    for prog in ["reserve", "output", "dynptr_record"] {
        assert_eq!(run(&mut m, prog), Outcome::Returned(0), "{prog}");
    }
    let map = m.kernel.maps.by_name("events").unwrap();
    let got = m.take_ringbuf(map).unwrap();
    assert!(!got.records.is_empty());
    assert!(got.wakeups >= 1);
    assert_eq!(m.take_ringbuf(map).unwrap().records, Vec::<Vec<u8>>::new());
}

#[test]
fn a_fork_has_rings_of_its_own() {
    let mut m = load("ringbuf");
    let mut fork = m.fork();
    run(&mut fork, "reserve");
    let map = m.kernel.maps.by_name("events").unwrap();
    assert_eq!(m.take_ringbuf(map).unwrap().records.len(), 0);
    assert_eq!(fork.take_ringbuf(map).unwrap().records.len(), 1);
}

#[test]
fn a_faulting_run_does_not_block_its_ring() {
    let mut m = load("unreleased_reference");
    assert!(matches!(run(&mut m, "forgets_record"), Outcome::Fault(_)));
    let map = m.kernel.maps.by_name("events").unwrap();
    assert_eq!(m.take_ringbuf(map).unwrap().records.len(), 0);
    let ring = m.kernel.maps.get(map).unwrap().ops.as_any().downcast_ref::<RingBuf>().unwrap().ring().clone();
    assert_eq!((ring.producer(), ring.consumer()), (16, 16));
}

#[test]
fn misuse_is_a_fault_with_its_id() {
    // (fixture, program, id)
    let table = [
        ("unreleased_reference", "forgets_record", "unreleased-reference"),
        ("use_after_free", "submitted_record", "use-after-free"),
        ("lock", "keeps_lock", "lock"),
        ("lock", "locks_twice", "lock"),
        ("lock", "unlocks_only", "lock"),
        ("not_allowed", "calls_with_lock", "not-allowed"),
    ];
    for (fixture, prog, id) in table {
        match run(&mut load(fixture), prog) {
            Outcome::Fault(fault) => assert_eq!(fault.kind.id(), id, "{prog}"),
            other => panic!("{prog}: {other:?}"),
        }
    }
}

#[test]
fn advancing_the_clock_fires_timers_at_their_times() {
    let mut m = load("timers");
    assert_eq!(run(&mut m, "start"), Outcome::Returned(0));
    let from = m.kernel.state.clock.now();
    let fired = m.advance(10_000_000_000).unwrap();
    assert!(!fired.is_empty());
    assert!(fired.iter().all(|f| f.kind == DeferredKind::Timer && f.at > from));
    assert!(fired.iter().all(|f| f.report.outcome == Outcome::Returned(0)), "{fired:?}");
    assert!(fired.windows(2).all(|w| w[0].at <= w[1].at));
    assert_eq!(m.kernel.state.clock.now(), from + 10_000_000_000);
    assert_eq!(run(&mut m, "cancel"), Outcome::Returned(0));
}
