//! `trace_fields(nonblocking)`.

use crate::r36_trace_print::with_two_lines;
use crate::{load, says};

#[test]
fn one_line_at_a_time() {
    let mut bpf = with_two_lines();
    let first = bpf.trace_fields(false).unwrap().unwrap();
    assert_eq!((first.task.as_str(), first.pid, first.cpu), ("cat", 42, 0));
    assert_eq!((first.flags.as_str(), first.ts, first.msg.as_str()), ("d..31", 1.25, "arg 7"));
    assert_eq!(bpf.trace_fields(true).unwrap().map(|f| f.msg), Some("arg 8".to_owned()));
    assert_eq!(bpf.trace_fields(true).unwrap(), None);
}

#[test]
fn waiting_for_nothing_is_an_error() {
    says(load().trace_fields(false), "the trace is empty");
}

#[test]
fn copies_of_a_machine_read_for_themselves() {
    let mut bpf = with_two_lines();
    bpf.trace_readline().unwrap();
    let mut copy = bpf.fork();
    assert!(bpf.trace_readline().is_some() && bpf.trace_readline().is_none());
    assert!(copy.trace_readline().is_some());
}
