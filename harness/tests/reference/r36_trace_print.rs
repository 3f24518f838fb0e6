//! `trace_print(fmt)`.

use bpf_harness::Bpf;

use crate::support::on_kernel;
use crate::{load, says};

fn printed(bpf: &mut Bpf, fmt: Option<&str>) -> String {
    let mut out = Vec::new();
    bpf.trace_print_to(&mut out, fmt).unwrap();
    String::from_utf8(out).unwrap()
}

pub(crate) fn with_two_lines() -> Bpf {
    let mut bpf = load();
    bpf.attach_kprobe("vfs_read", "print").unwrap();
    bpf.set_clock(1_250_000_000);
    bpf.kprobe("vfs_read").task(4242).arg(7).fire().unwrap();
    bpf.kprobe("vfs_read").cpu(1).arg(8).fire().unwrap();
    bpf
}

/// A line without what a kernel says of the moment: the state of interrupts, and the time.
fn timeless(line: &str) -> String {
    let (before, rest) = line.split_once("] ").unwrap_or(("", line));
    let (_, after) = rest.split_once(": ").unwrap_or(("", rest));
    format!("{before}] {after}")
}

#[test]
fn lines_as_they_are() {
    let lines = printed(&mut with_two_lines(), None);
    assert_eq!(
        lines.lines().map(timeless).collect::<Vec<_>>(),
        [
            "             cat-4242    [000] bpf_trace_printk: arg 7",
            "        bpf-test-1000    [001] bpf_trace_printk: arg 8"
        ]
    );
    if !on_kernel() {
        assert!(lines.contains("[000] d..31     1.250000: bpf_trace_printk"), "{lines}");
    }
}

#[test]
fn fields_by_number() {
    for (fmt, expected) in [
        ("{1} {5}", "4242 arg 7\n1000 arg 8\n"),
        ("{0:<9}{2} {4} {3}", "cat      0 1.25 d..31\nbpf-test 1 1.25 d..31\n"),
        ("{{{5}}}", "{arg 7}\n{arg 8}\n"),
    ] {
        if on_kernel() && fmt.contains("{4}") {
            continue;
        }
        assert_eq!(printed(&mut with_two_lines(), Some(fmt)), expected, "{fmt}");
    }
}

#[test]
fn what_was_printed_is_gone() {
    let mut bpf = with_two_lines();
    assert_eq!(bpf.trace().len(), 2);
    printed(&mut bpf, None);
    assert_eq!((printed(&mut bpf, None), bpf.trace().len()), (String::new(), 0));
}

#[test]
fn a_wrong_format_takes_nothing() {
    let mut bpf = with_two_lines();
    says(bpf.trace_print(Some("{6}")), "0 task, 1 pid, 2 cpu, 3 flags, 4 ts, 5 msg");
    assert_eq!(bpf.trace().len(), 2);
}

#[test]
fn the_guides_example_says_hello() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kprobe("do_sys_openat2", "hello").unwrap();
    bpf.kprobe("do_sys_openat2").task(4242).fire().unwrap();
    assert_eq!(printed(&mut bpf, Some("{1} {5}")), "4242 Hello, World!\n");
}
