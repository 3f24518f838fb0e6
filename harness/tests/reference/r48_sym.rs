//! `sym(addr, pid, show_module, show_offset)`.

use bpf_harness::symbols::{Binary, Process};
use bpf_harness::usdt::Usdt;

use crate::load;
use crate::r29_usdt::server;
use crate::support::simulator_only;

#[test]
fn symbols_of_a_process() {
    let mut bpf = load();
    let app = Binary::declared("/usr/bin/app")
        .symbol("_ZN4http7requestEi", 0x1200, 0x40)
        .symbol("main", 0x1000, 0x10);
    bpf.add_process(4242, Process::new().map(app, 0x5555_0000, 0x4000).map(server(), 0x7000_0000, 0x10000));
    let handle = 0x7000_0000 + server().address("handle").unwrap();
    for (addr, module, offset, expected) in [
        (0x5555_1000, false, false, "main"),
        (0x5555_1208, true, true, "http::request(int)+0x8 [app]"),
        (handle + 1, true, true, "handle+0x1 [libserver.so.1]"),
        (0x5555_3000, true, true, "[unknown] [app]"),
        (0x10, true, true, "[unknown]"),
        (0, false, false, "[unknown]"),
    ] {
        assert_eq!(bpf.sym(addr, 4242, module, offset), expected, "{addr:#x}");
    }
    assert_eq!(bpf.resolve(0x5555_1200, 4242).name.as_deref(), Some("_ZN4http7requestEi"));
    assert_eq!(bpf.sym(0x5555_1000, 43, true, true), "[unknown]", "another process");
}

#[test]
fn a_process_of_which_nothing_is_said_has_all_binaries() {
    if simulator_only("processes of a kernel have binaries of their own") {
        return;
    }
    let mut bpf = load();
    bpf.add_binary(Binary::declared("/lib/liba.so").symbol("a", 0x100, 8));
    bpf.add_binary(Binary::declared("/lib/libb.so").symbol("b", 0x100, 8));
    bpf.attach_uprobe("b", "b", "by_ip").unwrap();
    bpf.uprobe("b").task(4242).fire().unwrap();
    let ip = bpf.get_table("counts").unwrap().keys().unwrap()[0].as_u64().unwrap();
    assert_eq!(bpf.sym(ip, 4242, true, true), "b+0x0 [libb.so]");
}

#[test]
fn real_processes_can_be_described() {
    // An address of the test's own code is in the test's own file.
    let pid = std::process::id();
    let mut bpf = load();
    let process = Process::from_pid(pid).unwrap();
    // Whatever probes it has, reading them must work.
    assert_eq!(Usdt::from_process(pid, &process).unwrap().pid(), Some(pid));
    bpf.add_process(pid, process);
    let here = real_processes_can_be_described as fn() as usize as u64;
    let name = bpf.sym(here, pid as i32, false, false);
    assert!(name.contains("real_processes_can_be_described"), "{name}");
}
