//! Well-known tools, made to see something by stimuli and not by events written down for them.

use std::time::Duration;

use bpf_fixtures::bcc_tools;
use bpf_harness::profile::Profile;
use bpf_harness::stimulus::Stimulus;
use bpf_harness::{Bpf, BpfBuilder};
use bpf_helpers_mock::state::Task;

fn builder(tool: &str) -> BpfBuilder {
    let tool = bcc_tools().iter().find(|t| t.name == tool).unwrap();
    Bpf::builder().bcc_object(tool.object).profile(Profile::default_x86_64().unwrap())
}

/// The tool's records, as a YAML snapshot shows them.
fn records(bpf: &mut Bpf, map: &str, ty: &str) -> Vec<bpf_harness::value::Value> {
    bpf.records(map, Some(ty)).unwrap()
}

#[test]
fn opensnoop_sees_the_paths() {
    let mut bpf = builder("opensnoop").load().unwrap();
    bpf.attach_kprobe("do_sys_openat2", "trace_entry").unwrap();
    bpf.attach_kretprobe("do_sys_openat2", "trace_return").unwrap();
    bpf.stimulate(&Stimulus::read_file("/etc/hostname")).unwrap();
    bpf.stimulate(&Stimulus::open_missing("/etc/nothing")).unwrap();
    bpf.stimulate(&Stimulus::write_file("/tmp/out", "x")).unwrap();
    insta::assert_yaml_snapshot!(records(&mut bpf, "events", "data_t"));
}

#[test]
fn execsnoop_sees_the_arguments() {
    let mut bpf = builder("execsnoop").load().unwrap();
    bpf.attach_kprobe("__x64_sys_execve", "syscall__execve").unwrap();
    bpf.attach_kretprobe("__x64_sys_execve", "do_ret_sys_execve").unwrap();
    let exec = Stimulus::exec().program("/usr/bin/tbl").arg("-Tutf8").arg("x.1");
    let done = bpf.stimulate(&exec).unwrap();
    assert_eq!((done.pid, done.child), (1000, Some(1001)));
    insta::assert_yaml_snapshot!(records(&mut bpf, "events", "data_t"));
}

#[test]
fn tcpconnect_sees_addresses_and_ports() {
    let mut bpf = builder("tcpconnect").load().unwrap();
    bpf.stimulate(&Stimulus::tcp()).unwrap();
    assert_eq!(bpf.stimulate(&Stimulus::tcp().refused()).unwrap().ret, -111);
    bpf.stimulate(&Stimulus::tcp6()).unwrap();
    insta::assert_yaml_snapshot!(records(&mut bpf, "ipv4_events", "ipv4_data_t"));
}

#[test]
fn tcplife_sees_what_was_sent_each_way() {
    let mut bpf = builder("tcplife").load().unwrap();
    bpf.stimulate(&Stimulus::tcp().sending(vec![0; 5000])).unwrap();
    insta::assert_yaml_snapshot!(records(&mut bpf, "events", "data_t"));
}

#[test]
fn killsnoop_sees_results() {
    let mut bpf = builder("killsnoop").load().unwrap();
    bpf.stimulate(&Stimulus::kill(10)).unwrap();
    bpf.stimulate(&Stimulus::kill_nobody(15)).unwrap();
    insta::assert_yaml_snapshot!(records(&mut bpf, "events", "data_t"));
}

#[test]
fn vfsreadlat_and_vfsstat_count_reads() {
    let mut bpf = builder("vfsreadlat").load().unwrap();
    bpf.attach_kprobe("vfs_read", "do_entry").unwrap();
    bpf.attach_kretprobe("vfs_read", "do_return").unwrap();
    bpf.stimulate(&Stimulus::read_file("/etc/hostname")).unwrap();
    let slots = bpf.table("dist").unwrap();
    let filled: Vec<_> = slots.items().iter().filter(|i| i.value != 0).map(|i| i.key.clone()).collect();
    assert_eq!(filled, [3], "5 steps between the entry and the return: 4 to 7 microseconds");

    let mut bpf = builder("vfsstat").load().unwrap();
    for (function, program) in [("vfs_read", "do_read"), ("vfs_write", "do_write"), ("vfs_open", "do_open")] {
        bpf.attach_kprobe(function, program).unwrap();
    }
    bpf.stimulate(&Stimulus::read_file("/a")).unwrap();
    bpf.stimulate(&Stimulus::write_file("/b", "x")).unwrap();
    let counts: Vec<_> = bpf.table("stats").unwrap().items().iter().map(|i| i.value.clone()).collect();
    assert_eq!(counts, [0, 1, 1, 2, 0]);
}

#[test]
fn scheduling_tools_see_who_waits() {
    let mut bpf = builder("runqlat").load().unwrap();
    bpf.add_task(Task::new(42, "worker"));
    bpf.run_task(42).unwrap();
    bpf.stimulate(&Stimulus::sleep(Duration::from_millis(3))).unwrap();
    bpf.stimulate(&Stimulus::fork()).unwrap();
    insta::assert_yaml_snapshot!("runqlat", bpf.table("dist").unwrap());

    let mut bpf = builder("offcputime").load().unwrap();
    bpf.attach_kprobe("finish_task_switch", "oncpu").unwrap();
    bpf.stimulate(&Stimulus::sleep(Duration::from_millis(3))).unwrap();
    let counts = bpf.table("counts").unwrap();
    let slept: Vec<_> = counts.items().iter().map(|i| (i.key["name"].clone(), i.value.as_u64())).collect();
    assert_eq!(slept, [("bpf-test".into(), Some(3005))]);
}

#[test]
fn strlen_is_called_with_its_text() {
    let mut bpf = builder("strlen").load().unwrap();
    let libc = bpf_harness::symbols::Binary::declared("/usr/lib/x86_64-linux-gnu/libc.so.6");
    bpf.add_binary(libc.symbol("strlen", 0x9d000, 0x100));
    bpf.attach_uprobe("c", "strlen", "count").unwrap();
    bpf.attach_uretprobe("c", "strlen", "measure").unwrap();
    let done = bpf.stimulate(&Stimulus::strlen("hello")).unwrap();
    assert_eq!((done.ret, done.fired), (5, 2));
    assert_eq!(bpf.table("counts").unwrap().items()[0].key["c"], "hello");
}
