//! Row 7: `bpf_probe_read(dst, size, src)`: 0, or -EFAULT with the destination zeroed.

use crate::support::bcc;

const TEXT: &str = r#"
    struct out_t { long rc; u64 first; u64 second; };
    BPF_ARRAY(out, struct out_t, 1);
    int kprobe__vfs_read(struct pt_regs *ctx, void *from) {
        int zero = 0;
        struct out_t o = {};
        u64 buf[2] = {7, 7};
        o.rc = bpf_probe_read(buf, sizeof(buf), from);
        o.first = buf[0];
        o.second = buf[1];
        out.update(&zero, &o);
        return 0;
    }
"#;

#[test]
fn what_is_there_is_copied_and_what_is_not_is_zeroed() {
    let Some(mut bpf) = bcc(TEXT) else { return };
    let at = bpf.user_memory(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let cases = [
        ("mapped", at, 0, 1u64, 2u64),
        ("its second half is not mapped", (at | 0xfff) - 7, -14, 0, 0),
        ("NULL", 0, -14, 0, 0),
        ("kernel memory that is not mapped", 0xffff_8880_dead_0000, -14, 0, 0),
        // Since 5.8 (`copy_from_kernel_nofault_allowed`).
        ("an address that no memory can have", 0xdead_0000_0000_0000, -34, 0, 0),
    ];
    for (what, from, rc, first, second) in cases {
        bpf.kprobe("vfs_read").args([from]).fire().unwrap();
        let out = bpf.table("out").unwrap();
        let out = out.get(0).unwrap();
        assert_eq!(out["rc"], rc, "{what}");
        assert_eq!(out["first"], first, "{what}");
        assert_eq!(out["second"], second, "{what}");
    }
}
