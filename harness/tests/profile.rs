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

/// Texts need clang; where there is none, the test says that it did nothing.
fn clang() -> bool {
    let found = bpf_harness::compile::Clang::find();
    if let Err(why) = &found {
        eprintln!("skipped: {why}");
    }
    found.is_ok()
}

#[test]
fn texts_are_compiled_for_the_bundled_kernel_and_its_tracepoints() {
    if !clang() {
        return;
    }
    let text = r#"
        #include <linux/sched.h>
        struct key { u32 pid; char file[16]; };
        BPF_HASH(opened, struct key);
        BPF_HASH(bits, u32);
        BPF_ARRAY(jiffy, u64, 1);
        TRACEPOINT_PROBE(syscalls, sys_enter_openat) {
            struct key key = {};
            key.pid = args->dfd;
            bpf_probe_read_user_str(key.file, sizeof(key.file), args->filename);
            opened.increment(key);
            return 0;
        }
        TRACEPOINT_PROBE(random, urandom_read) {
            u32 n = args->got_bits;
            bits.increment(n);
            return 0;
        }
        TRACEPOINT_PROBE(sched, sched_process_exit) {
            u32 n = args->pid;
            bits.increment(n);
            return 0;
        }
        int kprobe__vfs_read(struct pt_regs *ctx, struct file *file) {
            int zero = 0;
            u64 hz = CONFIG_HZ;
            jiffy.update(&zero, &hz);
            return 0;
        }
    "#;
    let mut bpf = Bpf::builder().text(text).load().unwrap();
    bpf.add_task(bpf_helpers_mock::state::Task::new(7, "cat"));
    bpf.run_task(7).unwrap();
    let name = bpf.user_memory(b"/etc/passwd\0").unwrap();
    bpf.tracepoint("syscalls", "sys_enter_openat").args([3, name, 0, 0]).fire().unwrap();
    bpf.tracepoint("syscalls", "sys_enter_openat").set("dfd", 3u64).set("filename", name).fire().unwrap();
    bpf.tracepoint("random", "urandom_read").set("got_bits", 64u32).fire().unwrap();
    bpf.tracepoint("sched", "sched_process_exit").set("comm", "cat").set("pid", 7u32).fire().unwrap();
    bpf.kprobe("vfs_read").fire().unwrap();
    let opened = bpf.table("opened").unwrap();
    let item = &opened.items()[0];
    assert_eq!((opened.len(), &item.key["file"], &item.value), (1, &"/etc/passwd".into(), &2u64.into()));
    let bits = bpf.table("bits").unwrap();
    assert_eq!((bits.get(64u32).unwrap(), bits.get(7u32).unwrap()), (&1u64.into(), &1u64.into()));
    assert_eq!(bpf.table("jiffy").unwrap().get(0u32).unwrap(), &250u64);
}
