//! clang's own words, with the names and lines of the text.

use crate::support::{builder, clang, kernel};
use bpf_harness::compile::{Clang, CompileError};
use bpf_harness::{Bpf, Error};

#[test]
fn errors_point_into_the_text() {
    if !clang() {
        return;
    }
    let text = "int kprobe__f(struct pt_regs *ctx)\n{\n\treturn ctx->zz + unheard_of();\n}\n";
    let error = builder(text).load().unwrap_err();
    assert!(matches!(&error, Error::Compile(e) if matches!(**e, CompileError::Diagnostics { .. })));
    let words = error.to_string();
    assert!(words.contains("<text>:3:14: error: no member named 'zz' in 'struct pt_regs'"), "{words}");
    assert!(words.contains("return ctx->zz + unheard_of();"), "{words}");
    assert!(words.contains("profile of such a kernel"), "{words}");
    assert!(!words.contains("/tmp") && !words.contains("cache"), "{words}");
}

#[test]
fn errors_of_a_file_have_its_name() {
    if !clang() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a-tool-with-a-long-name-that-is-longer-than-many-others.c");
    std::fs::write(dir.path().join("mine.h"), "#define FOUND 1\n").unwrap();
    std::fs::write(&path, "#include \"mine.h\"\nint kprobe__f(void *ctx) { return FOUND + zz; }\n").unwrap();
    let load = || Bpf::builder().bcc_kernel(kernel()).source_file(&path).load();
    let words = load().unwrap_err().to_string();
    assert!(words.contains(&format!("{}:2:43: error: use of undeclared", path.display())), "{words}");

    std::fs::write(&path, "#include \"mine.h\"\nint kprobe__f(void *ctx)\n{\n  return FOUND;\n}\n").unwrap();
    let bpf = load().unwrap();
    let line = bpf.program("kprobe__f").unwrap().lines.last().unwrap().clone();
    assert_eq!((&*line.file, line.line, line.text.trim()), (&*path.to_string_lossy(), 4, "return FOUND;"));
}

#[test]
fn flags_macros_and_directories_reach_the_compiler() {
    if !clang() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("given.h"), "#define GIVEN 1000\n").unwrap();
    let text = "#include <given.h>\nint kprobe__f(void *ctx) { return GIVEN + A + B; }\n";
    let builder = builder(text).include_dir(dir.path()).define("A", "20").cflags(["-DB=3"]);
    let mut bpf = builder.load().unwrap();
    assert_eq!(bpf.kprobe("f").fire().unwrap().ret(), Some(1023));
}

#[test]
fn what_is_no_clang_is_named() {
    let error = Clang::at("/nonexistent/clang").unwrap_err().to_string();
    assert!(error.contains("'/nonexistent/clang' cannot be used as clang"), "{error}");
    let error = CompileError::NoClang { tried: "clang".to_owned() }.to_string();
    assert!(error.contains("apt install clang") && error.contains("BPF_CLANG"), "{error}");
}

#[test]
fn a_text_without_a_kernel_gets_the_bundled_one() {
    if !clang() {
        return;
    }
    let text =
        "#include <linux/sched.h>\nint f(struct pt_regs *ctx, struct task_struct *t) { return t->pid; }";
    let bpf = Bpf::from_text(text).unwrap();
    assert!(bpf.program("f").is_ok());
    let error = Bpf::from_text("int f(struct task_struct *t) { return t->state; }").unwrap_err().to_string();
    assert!(error.contains("no member named 'state' in 'struct task_struct'"), "{error}");
    assert!(error.contains("Linux 6.12"), "{error}");
}
