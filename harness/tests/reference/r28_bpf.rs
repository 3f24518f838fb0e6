//! `BPF(text= | src_file=, cflags)`: compile, load, attach what is named after its place.

use bpf_harness::{Bpf, Error};

use crate::bcc::{self, text};

const TEXT: &str = "
    BPF_HASH(calls, u32);
    #ifndef KEY
    #define KEY 1
    #endif

    int kprobe__vfs_read(struct pt_regs *ctx)
    {
        u32 key = KEY;
        calls.increment(key);
        return 0;
    }
";

fn calls(bpf: &mut Bpf) -> Vec<(u32, u64)> {
    bpf.kprobe("vfs_read").fire().unwrap();
    bpf.get_table("calls").unwrap().typed().items().unwrap()
}

#[test]
fn a_text_is_compiled_loaded_and_attached() {
    let Some(builder) = text(TEXT) else { return };
    let mut bpf = builder.load().unwrap();
    assert_eq!(bpf.num_open_kprobes(), 1);
    assert_eq!(calls(&mut bpf), [(1, 1)]);
}

#[test]
fn flags_reach_the_compiler() {
    let Some(builder) = text(TEXT) else { return };
    assert_eq!(calls(&mut builder.cflag("-DKEY=7").load().unwrap()), [(7, 1)]);
}

#[test]
fn a_file_is_as_good_and_finds_what_lies_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key.h"), "#define KEY 9\n").unwrap();
    let file = dir.path().join("prog.c");
    std::fs::write(&file, format!("#include \"key.h\"\n{TEXT}")).unwrap();
    let Some(builder) = bcc::builder() else { return };
    assert_eq!(calls(&mut builder.source_file(file).load().unwrap()), [(9, 1)]);
}

#[test]
fn the_compilers_own_words_come_through() {
    let Some(builder) = text("int f(struct pt_regs *ctx)\n{\n\treturn nobody;\n}\n") else { return };
    let error = builder.load().unwrap_err();
    assert!(matches!(error, Error::Compile(_)), "{error}");
    let words = error.to_string();
    assert!(words.contains("3:9: error: use of undeclared identifier 'nobody'"), "{words}");
}

#[test]
fn no_file_no_program() {
    let Some(builder) = bcc::builder() else { return };
    let words = builder.source_file("/nowhere/prog.c").load().unwrap_err().to_string();
    assert!(words.contains("/nowhere/prog.c"), "{words}");
}
