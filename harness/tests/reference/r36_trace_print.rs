//! `trace_print(fmt)`.

use bpf_harness::Bpf;

use crate::{load, says};

fn printed(bpf: &mut Bpf, fmt: Option<&str>) -> String {
    let mut out = Vec::new();
    bpf.trace_print_to(&mut out, fmt).unwrap();
    String::from_utf8(out).unwrap()
}

pub(crate) fn with_two_lines() -> Bpf {
    let mut bpf = load();
    bpf.attach_kprobe("f", "print").unwrap();
    bpf.set_clock(1_250_000_000);
    bpf.kprobe("f").task(42).arg(7).fire().unwrap();
    bpf.kprobe("f").cpu(1).arg(8).fire().unwrap();
    bpf
}

#[test]
fn lines_as_they_are() {
    assert_eq!(
        printed(&mut with_two_lines(), None),
        "             cat-42      [000] d..31     1.250000: bpf_trace_printk: arg 7\n        \
         bpf-test-1000    [001] d..31     1.250000: bpf_trace_printk: arg 8\n"
    );
}

#[test]
fn fields_by_number() {
    for (fmt, expected) in [
        ("{1} {5}", "42 arg 7\n1000 arg 8\n"),
        ("{0:<9}{2} {4} {3}", "cat      0 1.25 d..31\nbpf-test 1 1.25 d..31\n"),
        ("{{{5}}}", "{arg 7}\n{arg 8}\n"),
    ] {
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
    bpf.attach_kprobe("do_sys_open", "hello").unwrap();
    bpf.kprobe("do_sys_open").task(42).fire().unwrap();
    assert_eq!(printed(&mut bpf, Some("{1} {5}")), "42 Hello, World!\n");
}
