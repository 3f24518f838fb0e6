//! `attach_kprobe(event, fn_name)`, `event_re`.

use bpf_harness::stimulus::Stimulus;
use bpf_vm_shim::object::{KernelProfile, ProgType};

use crate::support::{lacks, me, on_kernel, simulator_only};
use crate::{builder, live, load, number, says};

#[test]
fn a_program_without_a_type_becomes_a_kprobe() {
    let mut bpf = load();
    assert_eq!(bpf.program_type("count"), ProgType::Unspec);
    bpf.attach_kprobe("vfs_read", "count").unwrap();
    assert_eq!(bpf.program_type("count"), ProgType::Kprobe);
    bpf.kprobe("vfs_read").task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(1));
    // Once it has a type, it keeps it, as a program that is loaded does.
    says(bpf.attach_tracepoint("sched:sched_switch", "count"), "it is of type kprobe, tracepoint is needed");
}

#[test]
fn one_program_for_several_functions_and_several_for_one() {
    let mut bpf = load();
    for (event, program) in [("vfs_read", "count"), ("vfs_write", "count"), ("vfs_read", "count_more")] {
        bpf.attach_kprobe(event, program).unwrap();
    }
    assert_eq!(bpf.kprobe("vfs_read").task(4242).fire().unwrap().reports.len(), 2);
    bpf.kprobe("vfs_write").task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(3));
}

#[test]
fn attached_twice_runs_twice() {
    let mut bpf = load();
    bpf.attach_kprobe("vfs_read", "count").unwrap();
    bpf.attach_kprobe("vfs_read", "count").unwrap();
    bpf.kprobe("vfs_read").task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(2));
    assert_eq!(bpf.num_open_kprobes(), 1);
    bpf.detach_kprobe("vfs_read").unwrap();
    says(bpf.kprobe("vfs_read").fire(), "nothing is attached to kprobe/vfs_read");
    says(bpf.detach_kprobe("vfs_read"), "nothing is attached to kprobe/vfs_read");
}

#[test]
fn one_of_several_programs_is_detached() {
    let mut bpf = load();
    bpf.attach_kprobe("vfs_read", "count").unwrap();
    bpf.attach_kprobe("vfs_read", "count_more").unwrap();
    bpf.detach_kprobe_fn("vfs_read", "count").unwrap();
    let fired = bpf.kprobe("vfs_read").fire().unwrap();
    assert_eq!(fired.reports.iter().map(|r| r.program.as_str()).collect::<Vec<_>>(), ["count_more"]);
    says(bpf.detach_kprobe_fn("vfs_read", "count"), "nothing is attached");
}

fn kernel() -> KernelProfile {
    let symbols = ["vfs_read", "vfs_readv", "vfs_write", "do_exit"].map(str::to_owned).into_iter().collect();
    KernelProfile { symbols, ..KernelProfile::default() }
}

#[test]
fn patterns_match_whole_names() {
    if lacks("bpf_get_func_ip", 5, 15) {
        return;
    }
    let mut bpf = builder().kernel(kernel()).load().unwrap();
    for (pattern, names) in [
        ("vfs_.*", &["vfs_read", "vfs_readv", "vfs_write"][..]),
        ("vfs_read", &["vfs_read"]),
        ("vfs_(read|write)", &["vfs_read", "vfs_write"]),
        ("read", &[]),
    ] {
        let found = bpf.get_kprobe_functions(pattern).unwrap();
        if on_kernel() && pattern == "vfs_.*" {
            assert!(names.iter().all(|n| found.iter().any(|f| f == n)), "{found:?}");
            assert!(found.iter().all(|f| f.starts_with("vfs_")), "{found:?}");
            continue;
        }
        assert_eq!(found, names, "{pattern}");
        assert_eq!(bpf.attach_kprobe_re(pattern, "by_ip").unwrap(), names.len());
    }
    bpf.kprobe("vfs_write").fire().unwrap();
    // The instruction pointer says which of the functions it is; what is made up happens at a probe of the test's own.
    if on_kernel() {
        return;
    }
    let ip = bpf.get_table("counts").unwrap().keys().unwrap()[0].as_u64().unwrap();
    assert_eq!(bpf.ksym(ip), "vfs_write");
}

#[test]
fn what_cannot_be_attached_says_why() {
    let mut bpf = builder().kernel(kernel()).load().unwrap();
    says(bpf.attach_kprobe("vfs_raed", "count"), "no kernel function 'vfs_raed'; did you mean 'vfs_read'");
    says(bpf.attach_kprobe("vfs_read", "cuont"), "no program 'cuont'");
    says(
        bpf.attach_kprobe("vfs_read", "traced"),
        "'traced' cannot be attached to kprobe/vfs_read: it is of type tracepoint",
    );
    says(bpf.attach_kprobe_re("vfs_(", "count"), "no regular expression");
    says(bpf.attach_kprobe_re("nothing", "cuont"), "no program 'cuont'");
}

#[test]
fn a_kernel_of_which_nothing_is_known() {
    if simulator_only("a real kernel's functions are known") {
        return;
    }
    says(load().attach_kprobe_re("vfs_.*", "count"), "nothing is known of this kernel's functions");
    // A kernel of which no functions are known has all.
    load().attach_kprobe("whatever", "count").unwrap();
}

#[test]
fn a_place_inside_a_function() {
    let mut bpf = load();
    // Behind the first instruction, which marks the target of a jump (endbr64) or calls the tracer.
    let places = ["vfs_read+0x4", "vfs_read+0x5"];
    let place = places.into_iter().find(|p| bpf.attach_kprobe(p, "count").is_ok()).unwrap();
    bpf.kprobe("vfs_read").fire().unwrap();
    assert!(bpf.detach_kprobe("vfs_read").is_err());
    bpf.detach_kprobe(place).unwrap();
}

#[test]
fn system_calls_have_functions_of_their_own() {
    let mut bpf = load();
    let function = bpf.get_syscall_fnname("clone");
    assert_eq!(function, "__x64_sys_clone");
    bpf.attach_kprobe(&function, "count").unwrap();
    bpf.kprobe(&function).task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(1));
    if on_kernel() {
        return;
    }
    bpf.ksyscall("clone").task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(2));
}

#[test]
fn what_really_happens_is_counted() {
    let mut bpf = live();
    let (pid, read) = (u64::from(me()), Stimulus::read_file("/proc/self/stat"));
    let function = bpf.get_syscall_fnname("getpgid");
    bpf.attach_kprobe(&function, "count").unwrap();
    bpf.stimulate(&read).unwrap();
    assert_eq!(number(&mut bpf, "counts", pid), None, "of another function");
    bpf.attach_kprobe("vfs_read", "count").unwrap();
    bpf.stimulate(&read).unwrap();
    bpf.stimulate(&read).unwrap();
    assert_eq!(number(&mut bpf, "counts", pid), Some(2));
    bpf.detach_kprobe("vfs_read").unwrap();
    bpf.stimulate(&read).unwrap();
    assert_eq!(number(&mut bpf, "counts", pid), Some(2), "it is detached");
}

#[test]
fn the_guides_example_counts_system_calls() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    let clone = bpf.get_syscall_fnname("clone");
    bpf.attach_kprobe(&clone, "count_calls").unwrap();
    for _ in 0..3 {
        bpf.kprobe(&clone).task(4242).fire().unwrap();
    }
    let calls = bpf.get_table("calls").unwrap().typed::<u32, u64>().items().unwrap();
    assert_eq!(calls, [(4242, 3)]);
}
