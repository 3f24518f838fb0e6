//! Well-known tools, made to see something by stimuli and not by events written down for them. Those that say who did it
//! run on both tiers, with one snapshot; one after another, since on a kernel they would see each other.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bpf_fixtures::bcc_tools;
use bpf_harness::profile::Profile;
use bpf_harness::redact::{Redact, Redaction};
use bpf_harness::stimulus::{Action, Stimulus};
use bpf_harness::value::Value;
use bpf_harness::{Bpf, BpfBuilder, Tier};
use bpf_helpers_mock::state::Task;
use serial_test::serial;

fn builder(tool: &str) -> BpfBuilder {
    let tool = bcc_tools().iter().find(|t| t.name == tool).unwrap();
    match Tier::from_env().unwrap() {
        // What was compiled for another kernel is compiled again for this one.
        Tier::Kernel => Bpf::builder().text(tool.source),
        _ => Bpf::builder().bcc_object(tool.object).profile(Profile::default_x86_64().unwrap()),
    }
}

/// A tool, and the records that it sends.
struct Tool {
    bpf: Bpf,
    records: Receiver<Value>,
    seen: Vec<Value>,
}

impl Tool {
    fn new(name: &str, map: &str) -> Self {
        let mut bpf = builder(name).load().unwrap();
        let (tx, records) = mpsc::channel();
        let ring = name == "killsnoop";
        if ring {
            bpf.open_ring_buffer(map, move |r| tx.send(r.value().unwrap()).unwrap()).unwrap();
        } else {
            bpf.open_perf_buffer(map, move |_, r| tx.send(r.value().unwrap()).unwrap()).unwrap();
        }
        Self { bpf, records, seen: Vec::new() }
    }

    /// Does something, and keeps the records about whoever did it; gives its result.
    fn see(&mut self, action: &dyn Action) -> i64 {
        let done = self.bpf.stimulate(action).unwrap();
        let wait = Duration::from_millis(if self.bpf.tier() == Tier::Kernel { 100 } else { 0 });
        self.bpf.perf_buffer_poll(wait).unwrap();
        self.bpf.ring_buffer_poll(wait).unwrap();
        let ours = |r: &Value| {
            let pid = r["pid"].as_u64().and_then(|p| u32::try_from(p).ok());
            pid == Some(done.tgid) || pid.is_some() && pid == done.child
        };
        self.seen.extend(self.records.try_iter().filter(ours));
        done.ret
    }
}

#[test]
#[serial]
fn opensnoop_sees_the_paths() {
    let mut tool = Tool::new("opensnoop", "events");
    tool.bpf.attach_kprobe("do_sys_openat2", "trace_entry").unwrap();
    tool.bpf.attach_kretprobe("do_sys_openat2", "trace_return").unwrap();
    tool.see(&Stimulus::write_file("/tmp/bpf-out", "x"));
    tool.see(&Stimulus::read_file("/tmp/bpf-out"));
    tool.see(&Stimulus::open_missing("/tmp/bpf-nothing"));
    let mut redaction = Redaction::new().pids().times().comms().c_texts().numbered(".ret", "fd");
    insta::assert_yaml_snapshot!(tool.seen.redact(&mut redaction));
}

#[test]
#[serial]
fn execsnoop_sees_the_arguments() {
    let mut tool = Tool::new("execsnoop", "events");
    tool.bpf.attach_kprobe("__x64_sys_execve", "syscall__execve").unwrap();
    tool.bpf.attach_kretprobe("__x64_sys_execve", "do_ret_sys_execve").unwrap();
    tool.see(&Stimulus::exec().arg("-Tutf8").arg("x.1"));
    insta::assert_yaml_snapshot!(tool.seen.redact(&mut Redaction::new().pids().comms().c_texts()));
}

#[test]
#[serial]
fn tcpconnect_sees_addresses_and_ports() {
    let mut tool = Tool::new("tcpconnect", "ipv4_events");
    tool.see(&Stimulus::tcp());
    assert_eq!(tool.see(&Stimulus::tcp().refused()), -111);
    tool.see(&Stimulus::tcp6());
    insta::assert_yaml_snapshot!(tool.seen.redact(&mut Redaction::new().pids().comms().ports()));
}

#[test]
#[serial]
fn tcplife_sees_what_was_sent_each_way() {
    let mut tool = Tool::new("tcplife", "events");
    tool.see(&Stimulus::tcp().sending(vec![0; 5000]));
    insta::assert_yaml_snapshot!(tool.seen.redact(&mut Redaction::new().pids().comms().ports().times()));
}

#[test]
#[serial]
fn killsnoop_sees_results() {
    let mut tool = Tool::new("killsnoop", "events");
    tool.see(&Stimulus::kill(10));
    tool.see(&Stimulus::kill_nobody(15));
    insta::assert_yaml_snapshot!(tool.seen.redact(&mut Redaction::new().pids().comms()));
}

#[test]
fn vfsreadlat_and_vfsstat_count_reads() {
    if !Tier::Simulator.only("they count what all processes do, and how long it takes").unwrap() {
        return;
    }
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
    if !Tier::Simulator.only("they count how long tasks wait").unwrap() {
        return;
    }
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
    if !Tier::Simulator.only("libc chooses its strlen() when it is loaded").unwrap() {
        return;
    }
    let mut bpf = builder("strlen").load().unwrap();
    let libc = bpf_harness::symbols::Binary::declared("/usr/lib/x86_64-linux-gnu/libc.so.6");
    bpf.add_binary(libc.symbol("strlen", 0x9d000, 0x100));
    bpf.attach_uprobe("c", "strlen", "count").unwrap();
    bpf.attach_uretprobe("c", "strlen", "measure").unwrap();
    let done = bpf.stimulate(&Stimulus::strlen("hello")).unwrap();
    assert_eq!((done.ret, done.fired), (5, 2));
    assert_eq!(bpf.table("counts").unwrap().items()[0].key["c"], "hello");
}
