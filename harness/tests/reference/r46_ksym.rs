//! `ksym(addr)`.

use crate::load;

#[test]
fn the_function_at_an_address() {
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
