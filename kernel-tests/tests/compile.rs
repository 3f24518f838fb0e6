//! C that is compiled by the host for programs in a guest. The tests below run in a virtual machine, started by the last
//! one through `bpf-vm`; on the host they have nothing to do.

mod support;

use std::env;
use std::thread;

use bpf_harness::compile::bcc::{BccKernel, Text};
use bpf_harness::compile::remote::booted_kernel;
use bpf_harness::compile::{Clang, CompileError};
use serial_test::serial;
use support::{KERNEL, or_skip, tool};

const TEXT: &str = "
    BPF_HASH(seen, u32);
    TRACEPOINT_PROBE(sched, sched_switch) { u32 pid = args->next_pid; seen.increment(pid); return 0; }
    int kprobe__vfs_read(struct pt_regs *ctx, struct file *file) { return file->f_flags > 7; }";

/// In a guest only.
fn guest() -> Option<BccKernel> {
    booted_kernel()
}

#[test]
fn guest_text_becomes_an_object_for_its_own_kernel() {
    let Some(kernel) = guest() else { return };
    let compiled = Text::new(TEXT).compile(&kernel).expect("the host compiles it");
    let object = compiled.parse().expect("it is an object");
    assert_eq!(object.programs.len(), 2);
    let again = Text::new(TEXT).compile(&kernel).expect("the host compiles it");
    assert!(again.cached && again.object == compiled.object);
}

#[test]
fn guest_version_is_that_of_the_running_kernel() {
    let Some(kernel) = guest() else { return };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut parts = release.split('.');
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok()).expect("a number");
    let series = number() << 8 | number();
    let check = format!("_Static_assert(LINUX_VERSION_CODE >> 8 == {series}, \"another kernel\");");
    Text::new(check).compile(&kernel).expect("it is the same kernel");
}

#[test]
fn guest_learns_of_tracepoints_that_macros_name() {
    let Some(kernel) = guest() else { return };
    // The name is in the text nowhere: the host asks for it after clang's first complaint.
    let text = "#define RECORD(c, e) struct tracepoint__##c##__##e
        int f(RECORD(sched, sched_process_exit) *record) { return record->pid; }";
    let object = Text::new(text).compile(&kernel).expect("the host compiles it").parse().expect("an object");
    assert_eq!(object.programs.len(), 1);
}

#[test]
fn guest_errors_are_those_of_the_compiler() {
    let Some(kernel) = guest() else { return };
    let error = Text::new("int f(void *ctx) { return nowhere; }").compile(&kernel).expect_err("it is wrong");
    let CompileError::Diagnostics { name, diagnostics, .. } = &error else { panic!("{error}") };
    assert_eq!(name, "<text>");
    assert!(
        diagnostics.contains("<text>:1:27: error: use of undeclared identifier 'nowhere'"),
        "{diagnostics}"
    );
    let error = Text::new("").cflags(["-fplugin=/x.so"]).compile(&kernel).expect_err("it is refused");
    assert!(error.to_string().contains("with the flag '-fplugin=/x.so'"), "{error}");
}

#[test]
fn guest_asks_for_several_texts_at_once() {
    let Some(kernel) = guest() else { return };
    let threads: Vec<_> = (0..6)
        .map(|number| {
            let kernel = kernel.clone();
            let text = format!("int f{number}(void *ctx) {{ return {number}; }}");
            thread::spawn(move || Text::new(text).compile(&kernel).map(|compiled| compiled.object))
        })
        .collect();
    let mut objects: Vec<_> =
        threads.into_iter().map(|thread| thread.join().expect("no panic").expect("compiled")).collect();
    objects.dedup();
    assert_eq!(objects.len(), 6);
}

#[test]
fn guest_has_headers_that_the_host_has_not() {
    let Some(kernel) = guest() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(dir.path().join("far")).expect("a folder");
    std::fs::write(dir.path().join("near.h"), "#include <far.h>\n#define NEAR (FAR + 1)\n").expect("a file");
    std::fs::write(dir.path().join("far/far.h"), "#define FAR 41\n").expect("a file");
    let path = dir.path().join("tool.c");
    std::fs::write(&path, "#include \"near.h\"\nint f(void *ctx) { return NEAR; }").expect("a file");
    let flags = ["-I".to_owned(), dir.path().join("far").display().to_string()];
    let text = Text::from_file(&path).expect("it is there").cflags(flags.clone());
    text.compile(&kernel).expect("the host finds what the guest has");
    std::fs::write(dir.path().join("near.h"), "#define NEAR nowhere\n").expect("a file");
    let error = Text::from_file(&path).expect("it is there").cflags(flags).compile(&kernel);
    let error = error.expect_err("it is wrong").to_string();
    let near = dir.path().join("near.h:1:14");
    assert!(error.contains(&format!("{}: note: expanded from macro", near.display())), "{error}");
}

#[test]
fn guest_may_bring_the_types_of_another_kernel() {
    let Some(mut kernel) = guest() else { return };
    kernel.vmlinux_h = "typedef unsigned int u32; struct pt_regs { long ax; };".into();
    let error = Text::new("struct task_struct t; int f(void *ctx) { return sizeof(t); }").compile(&kernel);
    assert!(error.is_err(), "these types have no tasks");
}

/// Runs all of the above.
#[test]
#[serial(vm)]
fn the_host_compiles_for_programs_in_a_guest() {
    if env::var_os("BPF_VM_HOST_SOCKET").is_some() {
        return;
    }
    if or_skip(KERNEL, Clang::find().map_err(|error| error.to_string())).is_none() {
        return;
    }
    let Some(mut command) = tool() else { return };
    command.arg("--").arg(env::current_exe().expect("this test's path")).args(["guest_", "--test-threads=2"]);
    let finished = command.output().expect("the tool starts");
    let text = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.status.success(), "{text}{}", String::from_utf8_lossy(&finished.stderr));
    assert!(text.contains("7 passed"), "{text}");
}
