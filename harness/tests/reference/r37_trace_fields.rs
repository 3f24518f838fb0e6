//! `trace_fields(nonblocking)`.

use crate::r36_trace_print::with_two_lines;
use crate::support::{on_kernel, simulator_only};
use crate::{load, says};

#[test]
fn one_line_at_a_time() {
    let mut bpf = with_two_lines();
    let first = bpf.trace_fields(false).unwrap().unwrap();
    assert_eq!((first.task.as_str(), first.pid, first.cpu), ("cat", 4242, 0));
    assert_eq!(first.msg, "arg 7");
    if on_kernel() {
        assert!(first.ts > 0.0 && first.flags.len() >= 4, "{first:?}");
    } else {
        assert_eq!((first.flags.as_str(), first.ts), ("d..31", 1.25));
    }
    assert_eq!(bpf.trace_fields(true).unwrap().map(|f| f.msg), Some("arg 8".to_owned()));
    assert_eq!(bpf.trace_fields(true).unwrap(), None);
}

#[test]
fn overlong_names_are_cut_as_the_kernel_cuts_them() {
    let mut bpf = load();
    bpf.add_task(bpf_helpers_mock::state::Task::new(4243, "a-name-of-more-than-15-bytes"));
    bpf.attach_kprobe("vfs_read", "print").unwrap();
    bpf.kprobe("vfs_read").task(4243).arg(1).fire().unwrap();
    let fields = bpf.trace_fields(true).unwrap().unwrap();
    assert_eq!((fields.task.as_str(), fields.pid), ("a-name-of-more-", 4243));
}

#[test]
fn waiting_for_nothing_is_an_error() {
    if simulator_only("a kernel is waited for") {
        return;
    }
    says(load().trace_fields(false), "the trace is empty");
}

#[test]
fn what_is_no_line_of_a_program_is_skipped() {
    if simulator_only("it puts lines into the trace itself") {
        return;
    }
    let mut bpf = with_two_lines();
    let mut line = bpf.machine().kernel.state.trace_pipe.lines()[0].clone();
    line.text = "one\ntwo\n".to_owned();
    bpf.machine().kernel.state.trace_pipe.push(line);
    bpf.trace_readline().unwrap();
    bpf.trace_readline().unwrap();
    let mut copy = bpf.fork();
    let lines: Vec<_> = std::iter::from_fn(|| copy.trace_readline()).collect();
    assert_eq!((lines.len(), lines[1].as_str()), (2, "two"));
    assert_eq!(bpf.trace_fields(true).unwrap().map(|f| f.msg), Some("one".to_owned()));
    assert_eq!(bpf.trace_fields(true).unwrap(), None);
}

#[test]
fn copies_of_a_machine_read_for_themselves() {
    if simulator_only("a kernel's state cannot be copied") {
        return;
    }
    let mut bpf = with_two_lines();
    bpf.trace_readline().unwrap();
    let mut copy = bpf.fork();
    assert!(bpf.trace_readline().is_some() && bpf.trace_readline().is_none());
    assert!(copy.trace_readline().is_some());
}

#[test]
fn the_guides_example_has_fields() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kprobe("do_sys_openat2", "hello").unwrap();
    bpf.set_clock(2_500_000_000);
    bpf.kprobe("do_sys_openat2").task(4242).cpu(1).fire().unwrap();
    let f = bpf.trace_fields(false).unwrap().unwrap();
    assert_eq!((f.task.as_str(), f.pid, f.cpu), ("cat", 4242, 1));
    assert!(if on_kernel() { f.ts > 0.0 } else { f.ts == 2.5 }, "{}", f.ts);
    assert_eq!(f.msg, "Hello, World!");
}
