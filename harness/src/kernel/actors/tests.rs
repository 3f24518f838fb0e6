//! Actors on the running kernel, with the programs of `fixtures/progs/made_up.bpf.c`.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bpf_helpers_mock::state::{Task, Tasks};
use libbpf_rs::{MapCore, MapFlags, Object, ObjectBuilder, ProgramMut};

use super::body::Call;
use super::job::{Job, Limit};
use super::{ActorError, Actors, Firing, Registers, Role, TestRun};
use crate::kernel::testing;

/// An object of which only some programs are loaded.
fn load(fixture: &str, programs: &[&str]) -> Object {
    let mut open = ObjectBuilder::default().open_memory(bpf_fixtures::object(fixture).unwrap()).unwrap();
    for mut prog in open.progs_mut() {
        let wanted = programs.iter().any(|p| *p == prog.name());
        prog.set_autoload(wanted);
    }
    open.load().unwrap()
}

fn program<'a>(object: &'a mut Object, name: &str) -> ProgramMut<'a> {
    object.progs_mut().find(|p| p.name() == name).unwrap()
}

/// `struct sight` of the fixture.
#[derive(Debug)]
struct Sight {
    tgid: u32,
    pid: u32,
    uid: u32,
    gid: u32,
    cpu: u64,
    args: [u64; 7],
    ret: u64,
    cookie: u64,
    comm: String,
    text: String,
}

fn sight(object: &Object) -> Sight {
    let map = object.maps().find(|m| m.name() == "seen").unwrap();
    let bytes = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).unwrap().unwrap();
    let word = |i: usize| u64::from_ne_bytes(bytes[i * 8..i * 8 + 8].try_into().unwrap());
    let text =
        |at: usize| bytes[at..at + 16].iter().take_while(|b| **b != 0).map(|b| char::from(*b)).collect();
    Sight {
        tgid: (word(0) >> 32) as u32,
        pid: word(0) as u32,
        gid: (word(1) >> 32) as u32,
        uid: word(1) as u32,
        cpu: word(2),
        args: std::array::from_fn(|i| word(3 + i)),
        ret: word(10),
        cookie: word(11),
        comm: text(96),
        text: text(112),
    }
}

fn default_role() -> Role {
    Role::of(&Tasks::default(), 1000, 0).unwrap()
}

#[test]
fn a_probe_sees_the_described_task_and_the_registers() {
    if !testing::kernel() {
        return;
    }
    let mut object = load("made_up", &["probe"]);
    let mut actors = Actors::new().unwrap();
    let path = actors.place(b"/etc/passwd\0").unwrap();
    let mut tasks = Tasks::default();
    tasks.insert(Task { uid: 33, gid: 44, ..Task::new(4242, "a-rather-long-name") });
    let role = Role::of(&tasks, 4242, 0).unwrap();
    let firing = Firing::entry(&[path, 2, 3, 4, 5, 6, 7]).unwrap();
    let ran = actors.fire(&program(&mut object, "probe"), &firing, &role).unwrap();
    assert_eq!(ran.retval, None);
    let seen = sight(&object);
    assert_eq!((seen.pid, seen.tgid, seen.uid, seen.gid, seen.cpu), (4242, 4242, 33, 44, 0));
    assert_eq!((seen.comm.as_str(), seen.text.as_str()), ("a-rather-long-n", "/etc/passwd"));
    assert_eq!(seen.args, [path, 2, 3, 4, 5, 6, 7]);

    // The task that a test gets if it says nothing.
    let firing = Firing::entry(&[0, u64::MAX]).unwrap();
    actors.fire(&program(&mut object, "probe"), &firing, &default_role()).unwrap();
    let seen = sight(&object);
    assert_eq!((seen.pid, seen.uid, seen.comm.as_str(), seen.args[1]), (1000, 0, "bpf-test", u64::MAX));
}

#[test]
fn a_return_probe_sees_the_value_and_all_registers_can_be_chosen() {
    if !testing::kernel() {
        return;
    }
    let mut object = load("made_up", &["probe"]);
    let mut actors = Actors::new().unwrap();
    let prog = program(&mut object, "probe");
    actors.fire(&prog, &Firing::exit(-2i64 as u64), &default_role()).unwrap();
    assert_eq!(sight(&object).ret as i64, -2);

    // Of `struct pt_regs`: R9 is word 8, RCX is word 11.
    let bytes: Vec<u8> = (500..521u64).flat_map(u64::to_ne_bytes).collect();
    for on_return in [false, true] {
        let firing = Firing { on_return, cookie: 0, registers: Registers::from_pt_regs(&bytes) };
        actors.fire(&program(&mut object, "probe"), &firing, &default_role()).unwrap();
        let seen = sight(&object);
        assert_eq!((seen.args[5], seen.args[3], seen.ret), (508, 511, 510), "on return: {on_return}");
    }
}

#[test]
fn threads_run_in_the_process_they_are_described_in() {
    if !testing::kernel() {
        return;
    }
    let mut object = load("made_up", &["probe"]);
    let mut actors = Actors::new().unwrap();
    let mut tasks = Tasks::default();
    tasks.insert(Task { parent: 4300, ..Task::new(4242, "main") });
    tasks.insert(Task { tgid: 4242, uid: 9, ..Task::new(4243, "worker") });
    tasks.insert(Task { tgid: 4250, ..Task::new(4251, "orphan") });
    let firing = Firing::entry(&[]).unwrap();
    for (pid, tgid, uid, comm) in [
        (4243, 4242, 9, "worker"),
        (4242, 4242, 0, "main"),
        (4251, 4250, 0, "orphan"),
        (4243, 4242, 9, "worker"),
    ] {
        let role = Role::of(&tasks, pid, 0).unwrap();
        actors.fire(&program(&mut object, "probe"), &firing, &role).unwrap();
        let seen = sight(&object);
        assert_eq!((seen.pid, seen.tgid, seen.uid, seen.comm.as_str()), (pid, tgid, uid, comm));
    }
    let status = fs::read_to_string("/proc/4242/status").unwrap();
    assert!(status.contains("PPid:\t4300\n"), "{status}");

    // The same pid in another process is another task: the old one is ended.
    tasks.insert(Task::new(4243, "alone"));
    actors.fire(&program(&mut object, "probe"), &firing, &Role::of(&tasks, 4243, 0).unwrap()).unwrap();
    assert_eq!(sight(&object).tgid, 4243);
}

#[test]
fn no_task_stays_after_the_last_user_and_tests_can_share_a_pid() {
    if !testing::kernel() {
        return;
    }
    let mut tasks = Tasks::default();
    tasks.insert(Task { parent: 4401, ..Task::new(4400, "child") });
    tasks.insert(Task { tgid: 4401, ..Task::new(4402, "thread") });
    std::thread::scope(|scope| {
        for uid in 1..=4 {
            let mut tasks = tasks.clone();
            scope.spawn(move || {
                let mut object = load("made_up", &["probe"]);
                let mut actors = Actors::new().unwrap();
                tasks.insert(Task { uid, ..Task::new(1000, format!("user{uid}")) });
                for _ in 0..20 {
                    for (pid, uid) in [(1000, uid), (4400, 0), (4402, 0)] {
                        let role = Role::of(&tasks, pid, 0).unwrap();
                        let firing = Firing::entry(&[0, u64::from(uid)]).unwrap();
                        actors.fire(&program(&mut object, "probe"), &firing, &role).unwrap();
                        let seen = sight(&object);
                        assert_eq!((seen.pid, seen.uid, seen.args[1]), (pid, uid, u64::from(uid)));
                    }
                }
            });
        }
    });
    // Other tests of this process may run and use 1000, but none uses these; tests of other processes may.
    let ours = |pid: u32| {
        let mut pid = pid.to_string();
        while pid != "0" && pid != std::process::id().to_string() {
            let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
            pid = status.lines().find_map(|l| l.strip_prefix("PPid:\t")).unwrap_or("0").to_owned();
        }
        pid != "0"
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    for pid in [4400, 4401, 4402] {
        while ours(pid) {
            assert!(Instant::now() < deadline, "{pid} stays");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn what_cannot_be_had_is_an_error_that_says_what_to_do() {
    if !testing::kernel() {
        return;
    }
    let mut actors = Actors::new().unwrap();
    let mut tasks = Tasks::default();
    let own = std::process::id();
    tasks.insert(Task::new(own, "taken"));
    tasks.insert(Task::new(2, "kthreadd"));
    tasks.insert(Task::new(3_999_999_999, "beyond"));
    tasks.insert(Task::new(4_100_000, "high"));
    let mut message = |pid, cpu| {
        let error = Role::of(&tasks, pid, cpu).and_then(|role| actors.prepare(&role)).unwrap_err();
        (error.to_string(), error)
    };
    let (text, error) = message(1, 0);
    assert!(text.contains("it is the pid of process '") && text.contains("bpf-vm run"), "{text}");
    assert!(matches!(error, ActorError::PidInUse { pid: 1, .. }));
    assert!(message(0, 0).0.contains("only the kernel can make"));
    assert!(message(4_100_000, 0).0.contains("kernel.pid_max"), "{}", message(4_100_000, 0).0);
    assert!(message(3_999_999_999, 0).0.contains("ids are numbers"));
    let (text, _) = message(1000, 500);
    assert!(text.contains("no CPU 500") && text.contains("this machine has"), "{text}");
    let (text, _) = message(2, 0);
    assert!(text.contains("from 1000 on"), "{text}");
    // The actor still works after a refused CPU.
    actors.prepare(&default_role()).unwrap();
}

#[test]
fn a_task_that_somebody_killed_is_made_anew() {
    if !testing::kernel() {
        return;
    }
    let mut actors = Actors::new().unwrap();
    let mut tasks = Tasks::default();
    tasks.insert(Task::new(4500, "victim"));
    let role = Role::of(&tasks, 4500, 0).unwrap();
    for _ in 0..3 {
        actors.prepare(&role).unwrap();
        assert_eq!(fs::read_to_string("/proc/4500/comm").unwrap(), "victim\n");
        // SAFETY: ends the task that this test made.
        unsafe { libc::kill(4500, libc::SIGKILL) };
    }
}

#[test]
fn a_job_that_ends_its_task_or_never_ends_is_an_error_and_the_next_one_works() {
    if !testing::kernel() {
        return;
    }
    let mut actors = Actors::new().unwrap();
    let mut tasks = Tasks::default();
    tasks.insert(Task::new(4510, "stubborn"));
    let role = Role::of(&tasks, 4510, 0).unwrap();
    let exit = Call::system("exit", libc::SYS_exit_group, [3, 0, 0, 0, 0, 0]);
    let error = actors.member.perform(&role, Job { calls: vec![exit], ..Job::default() }).unwrap_err();
    assert!(matches!(&error, ActorError::Died { begun: true, .. }), "{error}");
    assert!(error.to_string().contains("task 4510 of the test ended while"), "{error}");

    let pause = Call::system("wait for ever", libc::SYS_ppoll, [0; 6]);
    let limit = Limit(Duration::from_millis(100));
    let error =
        actors.member.perform(&role, Job { calls: vec![pause], limit, ..Job::default() }).unwrap_err();
    assert!(error.to_string().contains("did not finish within 100ms"), "{error}");
    actors.prepare(&role).unwrap();
}

#[test]
fn a_program_stays_attached_between_events() {
    if !testing::kernel() {
        return;
    }
    let mut object = load("made_up", &["probe"]);
    let mut actors = Actors::new().unwrap();
    let prog = program(&mut object, "probe");
    let start = Instant::now();
    actors.fire(&prog, &Firing::entry(&[]).unwrap(), &default_role()).unwrap();
    let first = start.elapsed();
    let start = Instant::now();
    for i in 0..100 {
        actors.fire(&prog, &Firing::entry(&[0, i]).unwrap(), &default_role()).unwrap();
    }
    let later = start.elapsed() / 100;
    let start = Instant::now();
    actors.detach(&prog).unwrap();
    println!("first event {first:?}, later events {later:?}, detaching {:?}", start.elapsed());
    assert_eq!(sight(&object).args[1], 99);
}

#[test]
fn more_attachments_than_there_may_be_take_turns() {
    if !testing::kernel() || testing::older_than((5, 15)) {
        return;
    }
    let mut object = load("made_up", &["cookie"]);
    let mut actors = Actors::new().unwrap();
    actors.most = 2;
    for cookie in [1, 2, 3, 1] {
        let firing = Firing { cookie, ..Firing::entry(&[]).unwrap() };
        actors.fire(&program(&mut object, "cookie"), &firing, &default_role()).unwrap();
        assert_eq!(sight(&object).cookie, cookie);
        assert!(actors.attached.len() <= 2);
    }
}

#[test]
fn the_task_runs_on_the_chosen_cpu() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    if !testing::kernel() || cpus < 2 {
        return;
    }
    let mut object = load("made_up", &["probe", "raw"]);
    let mut actors = Actors::new().unwrap();
    let run = TestRun { ctx: vec![0; 16], ..TestRun::default() };
    for cpu in [1, 0, 1] {
        let role = Role::of(&Tasks::default(), 1000, cpu).unwrap();
        actors.fire(&program(&mut object, "probe"), &Firing::exit(0), &role).unwrap();
        assert_eq!(sight(&object).cpu, u64::from(cpu));
        actors.test_run(program(&mut object, "raw"), &run, &role).unwrap();
        assert_eq!(sight(&object).cpu, u64::from(cpu));
    }
}

/// Not a test of its own: what `no_task_outlives_its_test` runs and kills.
#[test]
fn plays_until_it_is_killed() {
    if std::env::var_os("BPF_HARNESS_PLAYS_UNTIL_KILLED").is_none() {
        return;
    }
    let mut tasks = Tasks::default();
    tasks.insert(Task { tgid: 4700, ..Task::new(4701, "left-over") });
    let mut actors = Actors::new().unwrap();
    actors.prepare(&Role::of(&tasks, 4701, 0).unwrap()).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn no_task_outlives_its_test() {
    if !testing::kernel() {
        return;
    }
    let alive = || {
        let state = fs::read_to_string("/proc/4700/status").unwrap_or_default();
        state.contains("left-over") && !state.contains("State:\tZ")
    };
    let wait_for = |wanted: bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while alive() != wanted {
            assert!(Instant::now() < deadline, "alive: {}", !wanted);
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kernel::actors::tests::plays_until_it_is_killed"])
        .env("BPF_HARNESS_PLAYS_UNTIL_KILLED", "1")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(true);
    test.kill().unwrap();
    test.wait().unwrap();
    wait_for(false);
}

#[test]
fn cookies_reach_the_program_where_the_kernel_has_them() {
    if !testing::kernel() {
        return;
    }
    if testing::older_than((5, 15)) {
        let mut object = load("made_up", &["probe"]);
        let firing = Firing { cookie: 5, ..Firing::entry(&[]).unwrap() };
        let error = Actors::new().unwrap().fire(&program(&mut object, "probe"), &firing, &default_role());
        let text = error.unwrap_err().to_string();
        assert!(text.contains("cookies need Linux 5.15"), "{text}");
        return;
    }
    let mut object = load("made_up", &["cookie"]);
    let mut actors = Actors::new().unwrap();
    for (cookie, on_return) in [(5, false), (6, true), (5, true), (0, false)] {
        let firing = Firing { cookie, on_return, registers: Registers::default() };
        actors.fire(&program(&mut object, "cookie"), &firing, &default_role()).unwrap();
        assert_eq!(sight(&object).cookie, cookie);
    }
}

#[test]
fn a_raw_tracepoint_is_test_run_in_the_described_task() {
    if !testing::kernel() {
        return;
    }
    let mut object = load("made_up", &["raw"]);
    let mut actors = Actors::new().unwrap();
    let mut tasks = Tasks::default();
    tasks.insert(Task { tgid: 4600, uid: 12, ..Task::new(4601, "thread") });
    let ctx: Vec<u8> = [11u64, 22].into_iter().flat_map(u64::to_ne_bytes).collect();
    let input = TestRun { ctx, ..TestRun::default() };
    let role = Role::of(&tasks, 4601, 0).unwrap();
    let out = actors.test_run(program(&mut object, "raw"), &input, &role).unwrap();
    let seen = sight(&object);
    assert_eq!(out.retval, Some(7));
    assert_eq!((seen.pid, seen.tgid, seen.uid, seen.comm.as_str()), (4601, 4600, 12, "thread"));
    assert_eq!(seen.args[..2], [11, 22]);

    let short = TestRun { ctx: vec![0; 8], ..TestRun::default() };
    let text = actors.test_run(program(&mut object, "raw"), &short, &role).unwrap_err().to_string();
    assert!(text.contains("raw_tracepoint") && text.contains("the context has 8 bytes"), "{text}");
}

#[test]
fn packets_go_in_and_come_out() {
    if !testing::kernel() {
        return;
    }
    let mut object = load("packets", &["count", "classify", "filter"]);
    let mut actors = Actors::new().unwrap();
    let mut packet = vec![0u8; 64];
    packet[12..14].copy_from_slice(&[8, 0]);
    packet[14] = 0x45;
    packet[17] = 50;
    packet[23] = 1;
    let input = TestRun { data: packet.clone(), repeat: 3, ..TestRun::default() };
    for (name, verdict) in [("count", 1), ("classify", 2), ("filter", 0)] {
        let out = actors.test_run(program(&mut object, name), &input, &default_role()).unwrap();
        assert_eq!((out.retval, out.data.len()), (Some(verdict), 64), "{name}");
    }
    // The program marks the packet, which the context shows.
    let input = TestRun { ctx: vec![0; 192], ..input };
    let out = actors.test_run(program(&mut object, "classify"), &input, &default_role()).unwrap();
    assert_eq!(out.ctx[8..12], [1, 0, 0, 0]);

    let short = TestRun { data: vec![0; 4], ..TestRun::default() };
    let text =
        actors.test_run(program(&mut object, "classify"), &short, &default_role()).unwrap_err().to_string();
    assert!(text.contains("type sched_cls") && text.contains("needs 14 at least"), "{text}");
}

#[test]
fn types_that_the_kernel_cannot_test_run_are_named_with_the_version_that_can() {
    if !testing::kernel() {
        return;
    }
    let mut actors = Actors::new().unwrap();
    let mut object = load("made_up", &["probe"]);
    let run = TestRun { ctx: vec![0; 16], ..TestRun::default() };
    let text = actors.test_run(program(&mut object, "probe"), &run, &default_role()).unwrap_err().to_string();
    assert!(text.contains("type kprobe: no kernel can; let a Stimulus"), "{text}");
    if testing::older_than((5, 14)) {
        return;
    }
    let mut object = load("made_up", &["context"]);
    let run =
        TestRun { ctx: [1u64, 2].into_iter().flat_map(u64::to_ne_bytes).collect(), ..TestRun::default() };
    let out = actors.test_run(program(&mut object, "context"), &run, &default_role()).unwrap();
    assert_eq!((out.retval, &out.ctx[..9]), (Some(9), &[1, 0, 0, 0, 0, 0, 0, 0, 88][..]));
}
