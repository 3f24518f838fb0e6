//! Row 50: reading memory without `bpf_probe_read` is refused before it runs, in the verifier's words.

use crate::support::{on_kernel, refused};
use bpf_harness::Bpf;

const TEXT: &str =
    "int kprobe__vfs_read(struct pt_regs *ctx, struct file *file) {\n    return file->f_flags;\n}\n";

#[test]
fn a_direct_load_is_refused_with_its_line() {
    let kernels = [((6, 12, 0), "scalar"), ((5, 10, 0), "inv")];
    for (version, word) in kernels {
        let builder =
            Bpf::builder().text(TEXT).auto_probe_reads(false).kernel_version(version.0, version.1, version.2);
        let Some(error) = refused(builder) else { return };
        let error = error.to_string();
        // A real kernel is of its own version.
        let words = if on_kernel() { kernels.map(|(_, word)| word).to_vec() } else { vec![word] };
        assert!(error.contains("Failed to load BPF program kprobe__vfs_read"), "{error}");
        assert!(words.iter().any(|w| error.contains(&format!("invalid mem access '{w}'"))), "{error}");
        assert!(error.contains(":2"), "{error}");
    }
}

#[test]
fn the_same_text_loads_with_automatic_reads() {
    let text = format!("BPF_HASH(seen, int);\n{}", TEXT.replace("return", "seen.increment(1 +"));
    let text = text.replace("f_flags;", "f_flags);\n    return 0;");
    let Some(mut bpf) = crate::support::bcc(&text) else { return };
    let file = bpf.kernel_object("file", &[("f_flags", 0o100)]).unwrap();
    bpf.kprobe("vfs_read").args([file.addr]).fire().unwrap();
    assert_eq!(bpf.table("seen").unwrap().get(0o101).unwrap(), &1u64);
}
