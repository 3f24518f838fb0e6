//! `ksymname(name)`: an address, or none (-1 in bcc).

use bpf_vm_shim::object::KernelProfile;

use crate::{builder, load};

#[test]
fn the_address_of_a_name() {
    let mut bpf = load();
    bpf.machine().kernel.state.symbols.define("vfs_read", 0xffff_ffff_8123_4560);
    assert_eq!(bpf.ksymname("vfs_read"), Some(0xffff_ffff_8123_4560));
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
