//! `ksymname(name)`: an address, or none (-1 in bcc).

use bpf_vm_shim::object::KernelProfile;

use crate::support::on_kernel;
use crate::{builder, load};

#[test]
fn the_address_of_a_name() {
    let mut bpf = load();
    if !on_kernel() {
        bpf.machine().kernel.state.symbols.define("vfs_read", 0xffff_ffff_8123_4560);
        assert_eq!(bpf.ksymname("vfs_read"), Some(0xffff_ffff_8123_4560));
    }
    let addr = bpf.ksymname("vfs_read").unwrap();
    assert_eq!((bpf.ksym(addr).as_str(), bpf.ksym(addr + 3).as_str()), ("vfs_read", "vfs_read"));
    assert_eq!(bpf.ksymname("no_such_function"), None);
    assert_eq!(bpf.ksymname(""), None);
}

#[test]
fn functions_of_the_profile_have_addresses() {
    let kernel =
        KernelProfile { symbols: ["do_exit".to_owned()].into_iter().collect(), ..KernelProfile::default() };
    let mut bpf = builder().kernel(kernel).load().unwrap();
    let addr = bpf.ksymname("do_exit").unwrap();
    assert_eq!((bpf.ksym(addr).as_str(), bpf.ksymname("do_exit")), ("do_exit", Some(addr)));
}
