//! The bundled kernel and its tracepoints.

use bpf_harness::Bpf;
use bpf_harness::profile::Profile;
use bpf_vm_shim::btf::Kind;
use bpf_vm_shim::object::KernelProfile;

#[test]
fn the_bundled_kernel_is_whole() {
    let profile = Profile::default_x86_64().unwrap();
    let (btf, kernel) = (profile.btf(), profile.kernel());
    assert_eq!(kernel.version, KernelProfile::kernel_version(6, 12, 107));
    let task = btf.find(Kind::Struct, "task_struct").unwrap();
    assert_eq!(btf.size_of(task), Ok(9792));
    for name in [
        "vfs_read",
        "tcp_v4_connect",
        "do_nanosleep",
        "__x64_sys_openat",
        "__x64_sys_getpid",
        "__x64_sys_sync",
    ] {
        assert!(kernel.symbols.contains(name), "{name}");
    }
    assert!(!kernel.symbols.contains("no_such_function"));
    assert_eq!((kernel.hz, kernel.config("CONFIG_HZ").as_deref()), (250, Some("250")));
    let header = profile.vmlinux_h().unwrap();
    assert!(header.contains("\nstruct task_struct {\n") && header.contains("\tTCP_ESTABLISHED = 1,\n"));
}

#[test]
fn symbols_have_the_same_addresses_in_every_machine() {
    let object = bpf_fixtures::object("vfsreadlat").unwrap();
    let load = || Bpf::builder().object(object).profile(Profile::default_x86_64().unwrap()).load().unwrap();
    let (mut a, mut b) = (load(), load());
    let (read, write) = (a.symbol("vfs_read"), a.symbol("vfs_write"));
    assert_eq!((b.symbol("vfs_write"), b.symbol("vfs_read")), (write, read));
    assert_eq!(a.ksym_with(read + 4, true, true), "vfs_read+0x4 [kernel]");
    assert_eq!(a.ksymname("no_such_function"), None);
    assert!(a.attach_kprobe("no_such_function", "vfs_read_entry").is_err());
}

#[test]
fn what_is_no_btf_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vmlinux");
    for (content, expected) in [(None, "No such file"), (Some("nonsense"), "magic")] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let error = Profile::from_btf_file(&path).unwrap_err().to_string();
        assert!(error.contains("vmlinux: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn the_running_kernel_is_read_or_named_as_the_reason() {
    match Profile::from_running_kernel() {
        Ok(profile) => assert!(profile.kernel().symbols.contains("vfs_read")),
        Err(error) => assert!(error.to_string().contains("/sys/kernel/btf/vmlinux"), "{error}"),
    }
}
