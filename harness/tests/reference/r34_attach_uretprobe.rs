//! `attach_uretprobe(name, sym, fn_name)`.

use bpf_harness::UprobeTarget;
use bpf_harness::symbols::Binary;

use crate::r33_attach_uprobe::with_libc;
use crate::server::server;
use crate::support::{me, on_kernel};
use crate::{live, number, says};

#[test]
fn returns_of_a_function() {
    let mut bpf = with_libc();
    bpf.attach_uretprobe("c", "strlen", "count").unwrap();
    assert!(bpf.uprobe("strlen").fire().is_err());
    bpf.uretprobe("c:strlen").task(4242).ret(5).fire().unwrap();
    assert_eq!((number(&mut bpf, "counts", 4242), bpf.num_open_uprobes()), (Some(1), 1));
    says(bpf.detach_uprobe(&UprobeTarget::symbol("c", "strlen")), "nothing is attached");
    bpf.detach_uretprobe(&UprobeTarget::symbol("c", "strlen")).unwrap();
    assert_eq!(bpf.num_open_uprobes(), 0);
}

#[test]
fn real_returns_are_counted() {
    let mut bpf = live();
    bpf.attach_uretprobe(server().path(), "handle", "count").unwrap();
    if on_kernel() {
        assert_eq!(server().handle(5), 5);
    } else {
        bpf.uretprobe("handle").ret(5).fire().unwrap();
    }
    assert_eq!(number(&mut bpf, "counts", me().into()), Some(1));
}

#[test]
fn only_whole_functions_return() {
    let target = UprobeTarget::symbol("c", "strlen").sym_off(4);
    says(with_libc().attach_uretprobe_to(&target, "count"), "only a function as a whole returns");
    assert_eq!(with_libc().attach_uretprobe_to(&UprobeTarget::pattern("c", ".*"), "count").unwrap(), 3);
}

#[test]
fn the_guides_example_prints_what_is_returned() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.add_binary(Binary::declared("/bin/bash").symbol("readline", 0x1000, 64));
    bpf.attach_uretprobe("/bin/bash", "readline", "read_line").unwrap();
    bpf.run_task(4242).unwrap();
    let line = bpf.user_memory(b"echo hi\0").unwrap();
    bpf.uretprobe("readline").ret(line as i64).fire().unwrap();
    bpf.uretprobe("readline").ret(0).fire().unwrap();
    let mut out = Vec::new();
    bpf.trace_print_to(&mut out, Some("{0}: {5}")).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), "cat: echo hi\n");
}
