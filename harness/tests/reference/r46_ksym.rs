//! `ksym(addr)`.

use bpf_helpers_mock::state::Task;

use crate::load;
use crate::support::simulator_only;

#[test]
fn an_address_has_its_functions_name() {
    let mut bpf = load();
    let addr = bpf.symbol("vfs_read");
    for (addr, module, offset, expected) in [
        (addr, false, false, "vfs_read"),
        (addr + 7, false, true, "vfs_read+0x7"),
        (addr, true, true, "vfs_read+0x0 [kernel]"),
        (0x1000, true, true, "[unknown]"),
        (0, false, false, "[unknown]"),
    ] {
        assert_eq!(bpf.ksym_with(addr, module, offset), expected, "{addr:#x}");
        assert_eq!(bpf.sym(addr, -1, module, offset), expected, "a pid below 0 is the kernel");
    }
    assert_eq!(bpf.ksym(addr + 7), "vfs_read");
}

#[test]
fn the_function_at_an_address() {
    if simulator_only("a kernel has its functions where they are") {
        return;
    }
    let mut bpf = load();
    let symbols = &mut bpf.machine().kernel.state.symbols;
    symbols.define("vfs_read", 0xffff_ffff_8123_4560);
    symbols.define_in_module("nf_tables", "nft_do_chain", 0xffff_ffff_c000_1000);
    for (addr, module, offset, expected) in [
        (0xffff_ffff_8123_4560, false, false, "vfs_read"),
        (0xffff_ffff_8123_4567, false, true, "vfs_read+0x7"),
        (0xffff_ffff_8123_4560, true, true, "vfs_read+0x0 [kernel]"),
        (0xffff_ffff_c000_1010, true, false, "nft_do_chain [nf_tables]"),
        (0x1000, true, true, "[unknown]"),
        (0, false, false, "[unknown]"),
        (u64::MAX, false, true, "[unknown]"),
    ] {
        assert_eq!(bpf.ksym_with(addr, module, offset), expected, "{addr:#x}");
        assert_eq!(bpf.sym(addr, -1, module, offset), expected, "a pid below 0 is the kernel");
    }
    assert_eq!(bpf.ksym(0xffff_ffff_8123_4567), "vfs_read");
}

#[test]
fn the_guides_example_names_the_frames_of_stacks() {
    if simulator_only("tasks of a kernel have stacks of their own; row 26 names their frames") {
        return;
    }
    let Some(mut bpf) = crate::bcc::guide() else { return };
    let frames: Vec<u64> =
        ["vfs_read", "ksys_read", "do_syscall_64"].iter().map(|f| bpf.symbol(f) + 4).collect();
    bpf.add_task(Task { kernel_stack: frames, ..Task::new(4242, "cat") });
    bpf.attach_kprobe("vfs_read", "count_stacks").unwrap();
    for _ in 0..2 {
        bpf.kprobe("vfs_read").task(4242).fire().unwrap();
    }
    let stacks = bpf.get_table("stacks").unwrap().typed::<i64, u64>().items().unwrap();
    assert_eq!(stacks.len(), 1, "the same stack has the same id: {stacks:?}");
    let (id, count) = stacks[0];
    let walked = bpf.get_table("stack_traces").unwrap().walk(id).unwrap();
    let names: Vec<_> = walked.iter().map(|ip| bpf.ksym_with(*ip, false, true)).collect();
    assert_eq!((names.join(" "), count), ("vfs_read+0x4 ksys_read+0x4 do_syscall_64+0x4".to_owned(), 2));
}
