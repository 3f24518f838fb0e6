//! `attach_tracepoint("category:event", fn_name)`.

use std::time::Duration;

use bpf_harness::stimulus::Stimulus;
use bpf_vm_shim::object::ProgType;

use crate::support::{me, simulator_only};
use crate::{live, load, number, says};

#[test]
fn a_tracepoint_by_name() {
    let mut bpf = live();
    bpf.attach_tracepoint("sched:sched_switch", "traced").unwrap();
    bpf.stimulate(&Stimulus::sleep(Duration::from_millis(50))).unwrap();
    assert_eq!((number(&mut bpf, "counts", 1), bpf.num_open_tracepoints()), (Some(1), 1));
    assert!(bpf.tracepoint("sched", "sched_wakeup").fire().is_err());
    bpf.detach_tracepoint("sched:sched_switch").unwrap();
    says(bpf.detach_tracepoint("sched:sched_switch"), "nothing is attached to tracepoint/sched/sched_switch");
}

#[test]
fn a_program_without_a_type_becomes_a_tracepoint() {
    let mut bpf = live();
    bpf.attach_tracepoint("syscalls:sys_enter_openat", "count").unwrap();
    assert_eq!(bpf.program_type("count"), ProgType::Tracepoint);
    bpf.stimulate(&Stimulus::read_file("/proc/self/stat")).unwrap();
    assert_eq!(number(&mut bpf, "counts", me().into()), Some(1));
}

#[test]
fn raw_tracepoints_have_no_category() {
    let mut bpf = load();
    bpf.attach_raw_tracepoint("sched_switch", "count").unwrap();
    assert_eq!(bpf.program_type("count"), ProgType::RawTracepoint);
    bpf.raw_tp("sched_switch").task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(1));
    bpf.detach_raw_tracepoint("sched_switch").unwrap();
    assert!(bpf.raw_tp("sched_switch").fire().is_err());
}

#[test]
fn names_are_checked() {
    let mut bpf = load();
    for tp in ["sched_switch", "sched:", ":sched_switch", "a:b:c", ""] {
        says(bpf.attach_tracepoint(tp, "traced"), "category:event");
    }
    says(bpf.attach_tracepoint("sched:sched_switch", "send"), "it is of type kprobe, tracepoint is needed");
}

#[test]
fn the_guides_example_has_a_structure_of_its_own() {
    if simulator_only("kernels have no random:urandom_read since 5.18") {
        return;
    }
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_tracepoint("random:urandom_read", "got_bits").unwrap();
    let event = bpf.tracepoint("random", "urandom_read");
    event.set("got_bits", 512).set("pool_left", 3).task(4242).fire().unwrap();
    let line = bpf.trace_fields(false).unwrap().unwrap();
    assert_eq!((line.pid, line.msg.as_str()), (4242, "512"));
}

#[test]
fn the_kernels_own_tracepoints_are_known() {
    if simulator_only("kernels have no random:urandom_read since 5.18") {
        return;
    }
    let Some(mut bpf) = crate::bcc::guide() else { return };
    says(bpf.attach_tracepoint("random:urandom_raed", "got_bits"), "did you mean 'random:urandom_read'");
    says(bpf.attach_tracepoint("sched:urandom_read", "got_bits"), "did you mean 'random:urandom_read'");
    says(bpf.attach_tracepoint("syscalls:sys_enter_opneat", "got_bits"), "'syscalls:sys_enter_openat'");
    says(bpf.attach_raw_tracepoint("sched_swich", "got_bits"), "no tracepoint 'sched_swich'");
    assert_eq!(bpf.attach_tracepoint_re("sched:sched_(switch|wakeup)", "got_bits").unwrap(), 2);
    assert_eq!(bpf.attach_tracepoint_re("sched:nothing", "got_bits").unwrap(), 0);
    assert_eq!(bpf.num_open_tracepoints(), 2);
    says(load().attach_tracepoint_re("sched:.*", "traced"), "nothing is known of this kernel's tracepoints");
}
