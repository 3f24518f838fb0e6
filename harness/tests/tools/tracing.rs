//! Probes, tracepoints and typed programs.

use bpf_harness::Bpf;
use bpf_helpers_mock::state::Task;

use crate::object;

/// One `openat` of a task: path, result, duration.
fn open(bpf: &mut Bpf, pid: u32, path: &str, ret: i64, micros: u64) {
    bpf.run_task(pid).unwrap();
    let path = bpf.user_memory(&[path.as_bytes(), b"\0"].concat()).unwrap();
    let fd = u64::MAX - 99;
    bpf.tracepoint("syscalls", "sys_enter_openat").args([fd, path]).fire().unwrap();
    bpf.set_clock(bpf.now() + micros * 1000);
    bpf.tracepoint("syscalls", "sys_exit_openat").ret(ret).fire().unwrap();
}

#[test]
fn slow_opens_are_records_and_all_are_in_the_histogram() {
    let mut bpf = Bpf::builder().object(object("openlat")).global("slow_ns", 500_000).load().unwrap();
    bpf.attach_all().unwrap();
    bpf.add_task(Task { uid: 1000, ..Task::new(31, "cat") });
    bpf.add_task(Task { tgid: 40, ..Task::new(42, "worker") });
    open(&mut bpf, 31, "/etc/passwd", 3, 12);
    open(&mut bpf, 31, "/nfs/slow", 4, 700);
    open(&mut bpf, 42, "/missing", -2, 1500);
    assert_eq!(bpf.global("opened").unwrap().as_u64(), Some(2));
    assert_eq!(bpf.global("failed").unwrap().as_u64(), Some(1));
    assert!(bpf.table("starts").unwrap().is_empty(), "every start has an end");
    insta::assert_yaml_snapshot!(bpf.table("latency").unwrap());
}

#[test]
fn switches_add_up_to_time_on_cpu() {
    let mut bpf = Bpf::builder().object(object("sched")).cpus(2).load().unwrap();
    bpf.attach("switched").unwrap();
    let mut switch = |cpu, ns, from: (u64, &str), to: (u64, &str)| {
        bpf.set_clock(ns);
        let event = bpf.tracepoint("sched", "sched_switch").cpu(cpu);
        let event = event.set("prev_pid", from.0).set("prev_comm", from.1);
        event.set("next_pid", to.0).set("next_comm", to.1).fire().unwrap();
    };
    let (idle, a, b) = ((0, "swapper/0"), (7, "alpha"), (9, "beta"));
    switch(0, 1_000, idle, a);
    switch(1, 1_500, idle, b);
    switch(0, 3_000, a, b);
    switch(1, 9_500, b, a);
    switch(0, 10_000, b, idle);
    insta::assert_yaml_snapshot!(bpf.table("totals").unwrap());
}

#[test]
fn a_security_hook_decides_by_typed_members() {
    let mut bpf = Bpf::load(object("execs")).unwrap();
    bpf.attach("guard").unwrap();
    for (argc, verdict) in [(3, 0), (101, -1)] {
        let bprm = bpf.kernel_object("linux_binprm", &[("argc", argc)]).unwrap();
        let fired = bpf.lsm("bprm_check_security").arg(bprm.addr).fire().unwrap();
        assert_eq!(fired.ret().unwrap() as i32, verdict);
    }
}
