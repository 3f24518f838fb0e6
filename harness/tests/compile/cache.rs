//! What was compiled once is not compiled again, unless it would come out differently.

use crate::support::{clang, kernel};
use bpf_harness::compile::bcc::Text;

#[test]
fn the_same_input_is_compiled_once() {
    if !clang() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let header = dir.path().join("n.h");
    // Nobody else compiles a text of this name.
    let text =
        format!("#include \"n.h\"\nint kprobe__f(void *ctx) {{ return N; }}\n// {}\n", dir.path().display());
    let file = dir.path().join("text.c");
    std::fs::write(&header, "#define N 1\n").unwrap();
    std::fs::write(&file, text).unwrap();
    let compile = |flags: &[&str]| {
        Text::from_file(&file).unwrap().cflags(flags.iter().copied()).compile(&kernel()).unwrap()
    };
    let first = compile(&[]);
    assert!(!first.cached);
    let again = compile(&[]);
    assert!(again.cached);
    assert_eq!(first.object, again.object);
    assert!(!compile(&["-DX"]).cached, "other flags");
    std::fs::write(&header, "#define N 2\n").unwrap();
    let changed = compile(&[]);
    assert!(!changed.cached, "an included file has changed");
    assert_ne!(first.object, changed.object);
}

#[test]
fn objects_are_the_same_wherever_they_are_compiled() {
    if !clang() {
        return;
    }
    const TEXT: &str = "BPF_HASH(h); int kprobe__f(struct pt_regs *ctx) { h.increment(1); return 0; }";
    let compile = || Text::new(TEXT).compile(&kernel()).unwrap().object;
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(compile)).collect();
    let objects: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(objects.windows(2).all(|two| two[0] == two[1]));
}
