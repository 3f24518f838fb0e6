//! `USDT(pid= | path=)`: probes of a binary or of a process.

use bpf_harness::symbols::{Binary, Process};
use bpf_harness::usdt::{ArgKind, Usdt};

use crate::support::{me, on_kernel};
use crate::{number, says};

/// Two probes in `.note.stapsdt`; see `data/server.c`.
pub(crate) fn server() -> Binary {
    Binary::parse("/usr/lib/libserver.so.1", include_bytes!("data/libserver.so")).unwrap()
}

#[test]
fn probes_are_read_from_the_notes() {
    let usdt = Usdt::from_binary(server()).unwrap();
    let found: Vec<_> = usdt
        .enumerate_probes()
        .map(|(path, p)| (path, p.provider.as_str(), p.name.as_str(), p.locations.len(), p.num_arguments()))
        .collect();
    assert_eq!(
        found,
        [
            ("/usr/lib/libserver.so.1", "http", "request", 2, 2),
            ("/usr/lib/libserver.so.1", "http", "done", 1, 0)
        ]
    );
    let (_, request) = usdt.enumerate_probes().next().unwrap();
    let handle = server().address("handle").unwrap();
    assert!(request.locations.iter().all(|l| l.addr > handle && l.addr < handle + 0x40), "{request:?}");
    assert!(request.locations.iter().all(|l| l.semaphore == request.locations[0].semaphore));
    assert!(request.locations[0].semaphore.is_some());
    let args: Vec<_> = request.locations.iter().flat_map(|l| &l.args).map(ToString::to_string).collect();
    assert_eq!(args, ["8@%rdi", "-4@-20(%rbp)", "8@$7", "-4@requests(%rip)"]);
    assert!(matches!(request.locations[1].args[0].kind, ArgKind::Const(7)));
    let (_, done) = usdt.enumerate_probes().nth(1).unwrap();
    assert_eq!(done.locations[0].semaphore, None);
}

#[test]
fn a_process_has_the_probes_of_all_that_it_has_mapped() {
    let process = Process::new()
        .map(
            Binary::declared("/usr/bin/app").probe("app", "start", 0x1000, "").unwrap(),
            0x5555_0000,
            0x10000,
        )
        .map(server(), 0x7000_0000, 0x10000);
    let usdt = Usdt::from_process(4242, &process).unwrap();
    assert_eq!(usdt.pid(), Some(4242));
    let names: Vec<_> = usdt.enumerate_probes().map(|(_, p)| p.name.as_str()).collect();
    assert_eq!(names, ["start", "request", "done"]);
}

#[test]
fn what_is_not_there_or_no_binary_is_an_error() {
    says(Usdt::from_path("/nowhere/at/all"), "/nowhere/at/all");
    says(Usdt::from_path("/proc/self/cmdline"), "no ELF file");
    says(Usdt::from_path("no-such-library"), "no library 'no-such-library'");
    says(Usdt::from_pid(u32::MAX), "/proc/4294967295/maps");
    let truncated = &include_bytes!("data/libserver.so")[..100];
    says(Binary::parse("/x", truncated), "/x");
}

#[test]
fn no_cut_of_a_file_is_a_disaster() {
    let whole = include_bytes!("data/libserver.so");
    for end in (0..whole.len()).step_by(97) {
        let _ = Binary::parse("/x", &whole[..end]).map(Usdt::from_binary);
    }
    for at in (0..whole.len()).step_by(41) {
        let mut changed = whole.to_vec();
        changed[at] ^= 0xff;
        let _ = Binary::parse("/x", &changed).map(Usdt::from_binary);
    }
}

/// A file of this machine, mapped into this process, whose probes are passed.
#[test]
fn probes_of_a_real_file_are_passed() {
    let library = crate::server::server();
    let mut usdt = Usdt::from_path(library.path()).unwrap();
    let names: Vec<_> = usdt.enumerate_probes().map(|(_, p)| p.name.clone()).collect();
    assert_eq!(names, ["request", "done"]);
    usdt.enable_probe("http:done", "count").unwrap();
    let mut bpf = crate::live();
    bpf.attach_usdt(&usdt).unwrap();
    for _ in 0..2 {
        if on_kernel() {
            library.finish();
        } else {
            bpf.usdt("http", "done").fire().unwrap();
        }
    }
    assert_eq!(number(&mut bpf, "counts", me().into()), Some(2));
}
