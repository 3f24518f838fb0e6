//! Row 12: `bpf_log2l(v)` and `bpf_log2(v)`: bcc's bucket index, equal for every input.

use crate::support::bcc;

const TEXT: &str = r#"
    struct logs_t { u32 log2; u32 log2l; };
    BPF_ARRAY(logs, struct logs_t, 1);
    int kprobe__vfs_read(struct pt_regs *ctx, u64 v) {
        int zero = 0;
        struct logs_t l = {};
        l.log2 = bpf_log2(v);
        l.log2l = bpf_log2l(v);
        logs.update(&zero, &l);
        return 0;
    }
"#;

/// What both are, by their definition: `bpf_log2` is the floor of the logarithm of the low 32 bits, 0 for 0; `bpf_log2l`
/// is the length in bits, 1 for 0.
fn expected(v: u64) -> (u32, u32) {
    ((v as u32).checked_ilog2().unwrap_or(0), v.checked_ilog2().unwrap_or(0) + 1)
}

#[test]
fn buckets_are_bccs() {
    let Some(mut bpf) = bcc(TEXT) else { return };
    let edges = (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) - 1, (1u64 << bit) + 1]);
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let random = std::iter::repeat_with(move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed >> (seed & 63)
    });
    for v in edges.chain([u64::MAX]).chain(random.take(300)) {
        bpf.kprobe("vfs_read").args([v]).fire().unwrap();
        let logs = bpf.table("logs").unwrap();
        let (log2, log2l) = expected(v);
        assert_eq!(logs.get(0).unwrap()["log2"], log2, "bpf_log2({v:#x})");
        assert_eq!(logs.get(0).unwrap()["log2l"], log2l, "bpf_log2l({v:#x})");
    }
}
