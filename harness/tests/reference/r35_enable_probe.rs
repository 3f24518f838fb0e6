//! `USDT.enable_probe(probe, fn_name)`.

use bpf_harness::symbols::{Binary, Process};
use bpf_harness::usdt::Usdt;

use crate::r29_usdt::server;
use crate::support::{me, on_kernel, simulator_only};
use crate::{live, load, number, says};

#[test]
fn arguments_are_where_the_notes_say() {
    let mut bpf = load();
    let mut usdt = Usdt::from_binary(server()).unwrap();
    // The program reads %rdi and four bytes at -20(%rbp).
    usdt.enable_probe("http:request", "usdt_request").unwrap();
    bpf.attach_usdt(&usdt).unwrap();
    assert_eq!(bpf.usdt_semaphore("http", "request"), 1);
    let minus_one = u64::MAX;
    bpf.usdt("http", "request").task(4242).args([11, minus_one]).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 11), Some(0xffff_ffff));
    bpf.usdt("http", "request").task(4242).args([12]).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 12), Some(0), "arguments that are not given are zero");
}

#[test]
fn each_place_has_arguments_of_its_own() {
    let mut bpf = load();
    bpf.add_process(4242, Process::new().map(server(), 0x7000_0000, 0x10000));
    let mut usdt = Usdt::from_binary(server()).unwrap();
    usdt.enable_probe("request", "count").unwrap();
    bpf.attach_usdt(&usdt).unwrap();
    says(
        bpf.usdt("http", "request").task(4242).location(1).args([8, 1]).fire(),
        "it is always 7, and cannot be 8",
    );
    let fired = bpf.usdt("http", "request").task(4242).location(1).args([7, 99]).fire().unwrap();
    assert_eq!(fired.reports.len(), 1);
    // The second argument is a variable of the library.
    if on_kernel() {
        return;
    }
    let address = 0x7000_0000 + server().address("requests").unwrap();
    let mut bytes = [0; 4];
    let task = bpf.machine().kernel.state.tasks.get(4242).unwrap();
    task.user.read(address, &mut bytes).unwrap();
    assert_eq!(u32::from_le_bytes(bytes), 99);
    assert!(bpf.usdt("http", "request").location(2).fire().unwrap().reports.is_empty(), "no such place");
}

#[test]
fn only_in_the_process_that_was_looked_at() {
    let mut bpf = load();
    let process = Process::new().map(server(), 0x7000_0000, 0x10000);
    let mut usdt = Usdt::from_process(4242, &process).unwrap();
    usdt.enable_probe("done", "count").unwrap();
    bpf.attach_usdt(&usdt).unwrap();
    assert!(bpf.usdt("http", "done").task(1).fire().unwrap().reports.is_empty());
    bpf.usdt("http", "done").task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(1));
}

#[test]
fn real_probes_are_passed() {
    let library = crate::server::server();
    let mut bpf = live();
    let mut usdt = Usdt::from_path(library.path()).unwrap();
    usdt.enable_probe("request", "count").unwrap();
    usdt.enable_probe("done", "count_more").unwrap();
    bpf.attach_usdt(&usdt).unwrap();
    if on_kernel() {
        library.handle(1);
        library.handle_again(1);
        library.finish();
    } else {
        bpf.usdt("http", "request").fire().unwrap();
        bpf.usdt("http", "request").location(1).args([7]).fire().unwrap();
        bpf.usdt("http", "done").fire().unwrap();
    }
    assert_eq!(number(&mut bpf, "counts", me().into()), Some(3));
}

#[test]
fn what_cannot_be_enabled_says_why() {
    let mut usdt = Usdt::from_binary(server()).unwrap();
    says(usdt.enable_probe("respond", "f"), "no USDT probe 'respond'; there are: http:request, http:done");
    says(usdt.enable_probe("other:request", "f"), "no USDT probe");
    says(usdt.enable_probe_or_bail("respond", "f"), "has to be built with this probe");
    let two = Binary::declared("/x").probe("a", "go", 1, "").unwrap().probe("b", "go", 2, "").unwrap();
    says(
        Usdt::from_binary(two).unwrap().enable_probe("go", "f"),
        "a:go in /x, b:go in /x; say PROVIDER:NAME",
    );
    assert!(Binary::declared("/x").probe("a", "go", 1, "8@%xmm0").is_err());
    let mut bpf = load();
    usdt.enable_probe("done", "no_such_program").unwrap();
    says(bpf.attach_usdt(&usdt), "no program 'no_such_program'");
    says(bpf.usdt("http", "done").fire(), "nothing is attached to usdt/http:done");
}

#[test]
fn too_many_or_too_large_arguments_are_refused() {
    let mut bpf = load();
    let mut usdt = Usdt::from_binary(server()).unwrap();
    usdt.enable_probe("request", "count").unwrap();
    bpf.attach_usdt(&usdt).unwrap();
    says(bpf.usdt("http", "request").args([1, 2, 3]).fire(), "has 2 arguments only");
    says(bpf.usdt("http", "request").args([1, 1 << 40]).fire(), "does not fit 4 bytes");
}

#[test]
fn libbpfs_programs_find_their_arguments() {
    if simulator_only("its binary is made up; the tests of stimuli pass a probe of a real one") {
        return;
    }
    let args = "-4@%edi 8@-16(%rbp) 2@$7";
    let server = Binary::declared("/usr/bin/server").probe("http", "request", 0x1200, args).unwrap();
    let mut bpf = bpf_harness::Bpf::load(bpf_fixtures::object("usdt").unwrap()).unwrap();
    bpf.add_binary(server);
    bpf.attach("on_request").unwrap();
    let minus_two = -2i64 as u64;
    let fired = bpf.usdt("http", "request").args([minus_two, 1 << 40, 7]).fire().unwrap();
    assert_eq!(fired.ret(), Some(3));
    let seen = bpf.get_table("seen").unwrap().typed::<u32, i64>().items().unwrap();
    assert_eq!(seen, [(0, -2), (1, 1 << 40), (2, 7)]);
    for (args, why) in
        [("8@(%rax,%rbx,2)", "no index registers"), ("8@x(%rip)", "a symbol"), ("1@%ah", "second byte")]
    {
        let binary = Binary::declared("/usr/bin/server").probe("http", "request", 0x1200, args).unwrap();
        bpf.add_binary(binary);
        says(bpf.attach("on_request"), why);
    }
}

#[test]
fn the_guides_example_reads_arguments_by_their_number() {
    if simulator_only(
        "a made-up event has the test's instruction pointer; row 6 passes these probes for real",
    ) {
        return;
    }
    let text = "
        BPF_HASH(seen, u64, int);
        int on_request(struct pt_regs *ctx)
        {
            u64 first = 0;
            int second = 0;
            bpf_usdt_readarg(1, ctx, &first);
            bpf_usdt_readarg(2, ctx, &second);
            seen.update(&first, &second);
            return 0;
        }
    ";
    let mut usdt = Usdt::from_binary(server()).unwrap();
    usdt.enable_probe("request", "on_request").unwrap();
    let Some(builder) = crate::bcc::text(text) else { return };
    let mut bpf = builder.usdt_context(usdt).load().unwrap();
    // The first place has a register and memory, the second a constant and a variable.
    let minus_three = -3i64 as u64;
    bpf.usdt("http", "request").args([10, minus_three]).fire().unwrap();
    bpf.usdt("http", "request").location(1).args([7, 99]).fire().unwrap();
    let seen = bpf.get_table("seen").unwrap().typed::<u64, i32>().items().unwrap();
    assert_eq!(seen, [(7, 99), (10, -3)]);
}
