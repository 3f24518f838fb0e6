//! `attach_uprobe(name, sym, fn_name)`: short names and paths; `sym`, `sym_re`, address; pid.

use bpf_harness::symbols::{Binary, Process};
use bpf_harness::{Bpf, UprobeTarget};
use bpf_helpers_mock::state::Task;

use crate::server::server;
use crate::support::{lacks, me, on_kernel, simulator_only};
use crate::{live, load, number, says};

fn libc() -> Binary {
    Binary::declared("/usr/lib/libc.so.6")
        .symbol("strlen", 0x1000, 64)
        .symbol("strchr", 0x2000, 64)
        .symbol("index", 0x2000, 64)
        .symbol("malloc", 0x3000, 64)
}

pub(crate) fn with_libc() -> Bpf {
    let mut bpf = load();
    bpf.add_binary(libc());
    bpf
}

#[test]
fn a_library_by_short_name_or_path() {
    for name in ["c", "libc.so.6", "/usr/lib/libc.so.6"] {
        let mut bpf = with_libc();
        bpf.attach_uprobe(name, "strlen", "count").unwrap();
        bpf.uprobe("strlen").task(4242).fire().unwrap();
        bpf.uprobe("c:strlen").task(4242).fire().unwrap();
        assert_eq!(number(&mut bpf, "counts", 4242), Some(2), "{name}");
        assert!(bpf.uprobe("m:strlen").fire().is_err() && bpf.uprobe("malloc").fire().is_err());
    }
}

#[test]
fn only_in_one_process() {
    let mut bpf = with_libc();
    bpf.add_task(Task { tgid: 4242, ..Task::new(4243, "thread") });
    let target = UprobeTarget::symbol("c", "strlen").pid(4242);
    assert_eq!(bpf.attach_uprobe_to(&target, "count").unwrap(), 1);
    assert!(bpf.uprobe("strlen").task(1).fire().unwrap().reports.is_empty(), "another process");
    bpf.uprobe("strlen").task(4243).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(1), "a thread of it");
    says(bpf.detach_uprobe(&UprobeTarget::symbol("c", "strlen")), "nothing is attached");
    bpf.detach_uprobe(&target).unwrap();
    assert!(bpf.uprobe("strlen").fire().is_err());
}

#[test]
fn patterns_take_each_function_once() {
    if lacks("bpf_get_func_ip", 5, 15) {
        return;
    }
    let mut bpf = with_libc();
    // `index` is another name of `strchr`.
    let count = bpf.attach_uprobe_to(&UprobeTarget::pattern("c", "str.*|index"), "by_ip").unwrap();
    assert_eq!((count, bpf.num_open_uprobes()), (2, 2));
    assert_eq!(bpf.attach_uprobe_to(&UprobeTarget::pattern("c", "len"), "by_ip").unwrap(), 0);
    bpf.uprobe("strlen").fire().unwrap();
    // What is made up happens at a probe of the test's own.
    if on_kernel() {
        return;
    }
    let ip = bpf.get_table("counts").unwrap().keys().unwrap()[0].as_u64().unwrap();
    assert_eq!(bpf.sym(ip, 4242, true, false), "strlen [libc.so.6]");
}

#[test]
fn addresses_and_places_inside_functions() {
    let mut bpf = with_libc();
    bpf.attach_uprobe_to(&UprobeTarget::address("c", 0x3000), "count").unwrap();
    bpf.attach_uprobe_to(&UprobeTarget::symbol("c", "malloc").sym_off(8), "count_more").unwrap();
    let fired = bpf.uprobe("malloc").task(4242).fire().unwrap();
    assert_eq!(fired.reports.len(), 2, "the whole function runs past both places");
    let fired = bpf.uprobe("malloc+0x8").fire().unwrap();
    assert_eq!(fired.reports.iter().map(|r| r.program.as_str()).collect::<Vec<_>>(), ["count_more"]);
}

#[test]
fn the_instruction_pointer_is_where_the_process_has_the_library() {
    if simulator_only("processes of a kernel have libraries where they are") {
        return;
    }
    let mut bpf = with_libc();
    bpf.add_process(4242, Process::new().map(libc(), 0x7100_0000, 0x10000));
    bpf.attach_uprobe("c", "strlen", "by_ip").unwrap();
    bpf.uprobe("strlen").task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 0x7100_1000), Some(1));
}

#[test]
fn what_cannot_be_found_says_why() {
    let mut bpf = with_libc();
    says(bpf.attach_uprobe("c", "strlne", "count"), "'/usr/lib/libc.so.6:strlne'; did you mean 'strlen'");
    says(bpf.attach_uprobe("no-such-thing", "f", "count"), "no library 'no-such-thing'");
    says(bpf.attach_uprobe("no-such-thing", "f", "count"), "add_binary()");
    says(bpf.attach_uprobe("/nowhere", "f", "count"), "/nowhere");
    says(bpf.attach_uprobe("c", "strlen", "cuont"), "no program 'cuont'");
    says(bpf.attach_uprobe("c", "strlen", "traced"), "it is of type tracepoint");
    says(bpf.attach_uprobe_to(&UprobeTarget::pattern("c", "("), "count"), "no regular expression");
}

#[test]
fn real_files_are_found_too() {
    let mut bpf = load();
    bpf.add_binary(crate::r29_usdt::server());
    bpf.attach_uprobe("server", "handle", "count").unwrap();
    bpf.uprobe("server:handle").task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(1));
    // By its path, as any file of this machine.
    bpf.attach_uprobe(server().path(), "finish", "count").unwrap();
    bpf.uprobe("finish").task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(2));
}

#[test]
fn real_calls_are_counted() {
    let mut bpf = live();
    bpf.attach_uprobe(server().path(), "handle", "count").unwrap();
    let elsewhere = UprobeTarget::symbol(server().path(), "finish").pid(1);
    bpf.attach_uprobe_to(&elsewhere, "count").unwrap();
    for fd in 1..=3 {
        if on_kernel() {
            server().handle(fd);
            server().finish();
        } else {
            bpf.uprobe("handle").arg(fd as u64).fire().unwrap();
            bpf.uprobe("finish").fire().unwrap();
        }
    }
    assert_eq!(number(&mut bpf, "counts", me().into()), Some(3), "and none of what is for another process");
    bpf.detach_uprobe(&UprobeTarget::symbol(server().path(), "handle")).unwrap();
    if on_kernel() {
        server().handle(4);
    }
    assert_eq!(number(&mut bpf, "counts", me().into()), Some(3));
}

#[test]
fn the_machines_own_libraries_have_short_names() {
    match bpf_harness::symbols::find_binary("c") {
        Ok(libc) => assert!(libc.address("strlen").is_some() && libc.is_called("c"), "{}", libc.path()),
        Err(why) => eprintln!("skipped: {why}"),
    }
}

#[test]
fn the_guides_example_counts_strings() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.add_binary(libc());
    bpf.attach_uprobe("c", "strlen", "count_strlen").unwrap();
    bpf.run_task(4242).unwrap();
    for text in ["abc\0", "abc\0", "a text that is longer\0"] {
        let addr = bpf.user_memory(text.as_bytes()).unwrap();
        bpf.uprobe("strlen").arg(addr).fire().unwrap();
    }
    bpf.uprobe("strlen").arg(0).fire().unwrap();
    let counts = bpf.table("counts").unwrap();
    let found: Vec<_> = counts.items().iter().map(|e| (e.key["c"].as_str(), e.value.as_u64())).collect();
    assert_eq!(found, [(Some("a text that is l"), Some(1)), (Some("abc"), Some(2))]);
}
