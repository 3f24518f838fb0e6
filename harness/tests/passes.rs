//! bcc's rewrites and their limits, from object to result.

use bpf_harness::{Bpf, BpfBuilder, Error, Point};
use bpf_helpers_mock::passes::Options;
use bpf_helpers_mock::state::Task;

/// Where `comm` is in the fixtures' `struct task_struct`.
const COMM: u64 = 33;

fn builder() -> BpfBuilder {
    Bpf::builder().object(bpf_fixtures::object("automatic").expect("a fixture"))
}

/// With the passes, and only these programs.
fn automatic(programs: &[&str]) -> Bpf {
    let builder = programs.iter().fold(builder(), |b, p| b.only(*p));
    let mut bpf = builder.passes(Options::default()).load().unwrap();
    bpf.attach_all().unwrap();
    bpf
}

fn number(bpf: &mut Bpf, global: &str) -> i64 {
    let value = bpf.global(global).unwrap();
    value.as_i64().or_else(|| value.as_u64().map(u64::cast_signed)).unwrap()
}

#[test]
fn parameters_and_kernel_memory_are_read_for_the_program() {
    let mut bpf = automatic(&["account"]);
    let parent = bpf.kernel_object("task_struct", &[("pid", 77)]).unwrap();
    let task = bpf.kernel_object("task_struct", &[("real_parent", parent.addr), ("in_iowait", 1)]).unwrap();
    bpf.machine().mem.poke(task.addr + COMM, b"a name of 16 by").unwrap();
    // Only the low bits of a register belong to a narrow parameter.
    bpf.kprobe("account").args([task.addr, 0xdead_be00 | 0xfe, 0x1_0000 + 5]).fire().unwrap();
    assert_eq!(number(&mut bpf, "seen_pid"), 77);
    assert_eq!(number(&mut bpf, "seen_sum"), -2 * 1000 + 5);
    assert_eq!(number(&mut bpf, "seen_bits"), 1);
    assert_eq!(bpf.global("seen_comm").unwrap().as_str(), Some("a name of 16 by"));
}

#[test]
fn a_system_call_s_parameters_are_those_of_the_call() {
    let mut bpf = automatic(&["syscall__openat"]);
    bpf.add_task(Task::new(9, "cat"));
    bpf.run_task(9).unwrap();
    let path = bpf.user_memory(b"/etc\0").unwrap();
    let fired = bpf.ksyscall("openat").args([-100i64 as u64, path, 0x41, 0o644]).fire().unwrap();
    assert_eq!(fired.ret(), Some(u64::from(b'/')), "user memory is read too, as bpf_probe_read does");
    assert_eq!(number(&mut bpf, "seen_sum"), -100);
    assert_eq!(number(&mut bpf, "seen_bits"), 0x41 << 16 | 0o644);
}

#[test]
fn functions_of_the_program_are_moved_along() {
    let mut bpf = automatic(&["visit"]);
    let parent = |bpf: &mut Bpf, pid| bpf.kernel_object("task_struct", &[("pid", pid)]).unwrap().addr;
    let (a, b) = (parent(&mut bpf, 40), parent(&mut bpf, 2));
    let first = bpf.kernel_object("task_struct", &[("real_parent", a), ("prio", 120)]).unwrap();
    let second = bpf.kernel_object("task_struct", &[("real_parent", b)]).unwrap();
    let fired = bpf.kprobe("visit").args([first.addr, second.addr]).fire().unwrap();
    assert_eq!(fired.ret(), Some(120));
    assert_eq!(number(&mut bpf, "seen_pid"), 42);
    let report = bpf.program("visit").unwrap();
    assert_eq!(report.subprogs.last().map(|s| s.end), Some(report.insns.len()));
}

#[test]
fn a_function_becomes_a_program_when_it_is_attached() {
    let mut bpf = automatic(&["later"]);
    bpf.attach_to("later", &Point::Kprobe("wake".to_owned()), 0).unwrap();
    let task = bpf.kernel_object("task_struct", &[("pid", 31)]).unwrap();
    bpf.kprobe("wake").arg(task.addr).fire().unwrap();
    assert_eq!(number(&mut bpf, "seen_pid"), 31);
    // What the kernel would refuse is refused then.
    let off = Options::default().with_probe_reads(false);
    let mut bpf = builder().only("later").passes(off).load().unwrap();
    let error = bpf.attach_to("later", &Point::Kprobe("wake".to_owned()), 0).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
}

#[test]
fn a_fault_in_a_rewritten_program_names_its_line() {
    // Reads by helper do not fault; without arguments the context is all there is.
    let mut bpf = automatic(&["account"]);
    bpf.kprobe("account").args([0x10, 1, 2]).fire().unwrap();
    assert_eq!(number(&mut bpf, "seen_pid"), 0);
    let linked = bpf.program("account").unwrap();
    let line = linked.line(linked.insns.len() - 1).unwrap();
    assert!(line.text.contains("return 0"), "{line:?}");
}

#[test]
fn without_the_pass_the_program_is_refused_as_the_kernel_does() {
    let refused = |version: (u8, u8)| {
        let builder = builder().only("account").kernel_version(version.0, version.1, 0);
        builder.passes(Options::default().with_probe_reads(false)).load().unwrap_err()
    };
    let error = refused((6, 12));
    assert!(matches!(error, Error::Refused(_)));
    insta::assert_snapshot!(error, @"Failed to load BPF program account: R2 invalid mem access 'scalar' at fixtures/progs/automatic.bpf.c:24:19: seen_pid = task->real_parent->pid;");
    insta::assert_snapshot!(format!("{error:?}").trim(), @r"
    Failed to load BPF program account
    error[invalid-mem-access]: R2 invalid mem access 'scalar'
      --> fixtures/progs/automatic.bpf.c:24:19
       |
    24 |     seen_pid = task->real_parent->pid;
       |                      ^^^^^^^^^^^^^^^^^ here
       |
       = note: in program 'account', instruction 5
       = note: R2 holds a number here, also where it came from a pointer
       = note: instructions:
                   2: r3 <<= 0x38
                   3: r3 s>>= 0x38
                   4: w4 = *(u16 *)(r1 + 0x60)
               >   5: r1 = *(u64 *)(r2 + 0x10)
                   6: w1 = *(u32 *)(r1 + 0x8)
                   7: r5 = 0x1 ll
       = help: read kernel memory with bpf_probe_read_kernel() or BPF_CORE_READ(), user memory with bpf_probe_read_user()
    ");
    insta::assert_snapshot!(refused((5, 10)), @"Failed to load BPF program account: R2 invalid mem access 'inv' at fixtures/progs/automatic.bpf.c:24:19: seen_pid = task->real_parent->pid;");
}

#[test]
fn only_loads_through_typed_pointers_read_nothing_as_zero() {
    let mut bpf = builder().load().unwrap();
    for (program, line) in [("typed", "/* null */"), ("current", "/* a number */")] {
        bpf.attach(program).unwrap();
        let error = match program {
            "typed" => bpf.fentry("wake").arg(0).fire().unwrap_err(),
            _ => bpf.kprobe("current").arg(0x10).fire().unwrap_err(),
        };
        let Error::Fault(fault) = error else { panic!("{error:?}") };
        assert!(fault.source.as_ref().unwrap().text.contains(line), "{fault}");
        assert_eq!(number(&mut bpf, "seen_pid"), 1, "{program}");
        bpf.set_global("seen_pid", 0u32).unwrap();
    }
}
