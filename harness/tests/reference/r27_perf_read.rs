//! Row 27: `perf_read(cpu)`: the counter's value, or an error as a huge number.

use crate::support::bcc;

const TEXT: &str = r#"
    BPF_PERF_ARRAY(cycles, 4);
    BPF_ARRAY(out, u64, 1);
    int kprobe__vfs_read(void *ctx) {
        int zero = 0;
        u64 v = cycles.perf_read(bpf_get_smp_processor_id());
        out.update(&zero, &v);
        return 0;
    }
"#;

#[test]
fn the_value_counts_up() {
    let Some(mut bpf) = bcc(TEXT) else { return };
    bpf.set_perf_counter("cycles", 0, 500, 25).unwrap();
    for expected in [500u64, 525, 550] {
        bpf.kprobe("vfs_read").fire().unwrap();
        assert_eq!(bpf.table("out").unwrap().get(0).unwrap(), &expected);
    }
}

#[test]
fn an_index_beyond_the_map_is_e2big() {
    let Some(mut bpf) = bcc(&TEXT.replace("bpf_get_smp_processor_id()", "99")) else { return };
    bpf.kprobe("vfs_read").fire().unwrap();
    assert_eq!(bpf.table("out").unwrap().get(0).unwrap(), &(-7i64 as u64));
}
