//! Row 28: `BPF(text= | src_file=, usdt_contexts, cflags)`: compile, load, attach rows 1 to 3.

use bpf_harness::Bpf;

use crate::support::{bcc, load, refused};

const TEXT: &str = "BPF_ARRAY(out, u64, 1);\nint kprobe__vfs_read(void *ctx) {\n    int zero = 0;\n    u64 v = VALUE;\n    out.update(&zero, &v);\n    return 0;\n}\n";

#[test]
fn flags_and_definitions_reach_the_compiler() {
    let builders = [
        Bpf::builder().text(TEXT).cflags(["-DVALUE=7"]),
        Bpf::builder().text(TEXT).cflag("-DVALUE=7"),
        Bpf::builder().text(TEXT).define("VALUE", "7"),
    ];
    for builder in builders {
        let Some(mut bpf) = load(builder) else { return };
        bpf.kprobe("vfs_read").fire().unwrap();
        assert_eq!(bpf.table("out").unwrap().get(0).unwrap(), &7u64);
    }
}

#[test]
fn a_file_includes_from_its_own_folder_and_from_others() {
    // Committed, and not made here: a guest's text is compiled by its host, where its headers are.
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/data");
    let builder = Bpf::builder().source_file(data.join("includes.c")).include_dir(data.join("far"));
    let Some(mut bpf) = load(builder) else { return };
    bpf.kprobe("vfs_read").fire().unwrap();
    assert_eq!(bpf.table("out").unwrap().get(0).unwrap(), &21u64);
}

#[test]
fn clangs_own_diagnostics_name_the_users_line() {
    let Some(error) = refused(Bpf::builder().text(TEXT)) else { return };
    let error = error.to_string();
    assert!(error.contains(":4:13: error: use of undeclared identifier 'VALUE'"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_an_error_with_its_path() {
    let error = Bpf::from_file("/no/such/tool.c").unwrap_err().to_string();
    assert!(error.contains("/no/such/tool.c"), "{error}");
}

/// The headers that the guide's examples include need not be installed.
#[test]
fn kernel_headers_are_not_needed() {
    let Some(bpf) = bcc(
        "#include <uapi/linux/ptrace.h>\n#include <linux/sched.h>\n#include <linux/fs.h>\n#include <net/sock.h>\n#include <bcc/proto.h>\nint kprobe__vfs_read(struct pt_regs *ctx) { return 0; }\n",
    ) else {
        return;
    };
    assert_eq!(bpf.num_open_kprobes(), 1);
}

/// The same text, loaded by tests that run at the same time, is compiled by one and taken by all.
#[test]
fn tests_in_parallel_load_the_same_text() {
    let text = TEXT.replace("VALUE", "__LINE__");
    let results: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| bcc(&text).is_some())).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(results.iter().all(|loaded| *loaded == results[0]));
}
