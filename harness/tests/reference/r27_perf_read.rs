//! Row 27: `perf_read(cpu)`: the counter's value, or an error as a huge number.

use crate::support::{bcc, on_kernel, simulator_only};
use bpf_harness::perf;

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
    let read = |bpf: &mut bpf_harness::Bpf| {
        bpf.kprobe("vfs_read").fire().unwrap();
        bpf.table("out").unwrap().get(0).unwrap().as_u64().unwrap()
    };
    if on_kernel() {
        assert_eq!(read(&mut bpf) as i64, -2, "no counter is open: ENOENT");
    }
    let mut cycles = bpf.get_table("cycles").unwrap();
    cycles.open_perf_event(perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK).unwrap();
    if !on_kernel() {
        bpf.set_perf_counter("cycles", 0, 500, 25).unwrap();
    }
    let values = [(); 3].map(|()| {
        // A processor whose clock the kernel does not trust has one that moves with the ticks.
        bpf.advance(20_000_000).unwrap();
        read(&mut bpf)
    });
    assert!(values.is_sorted_by(|a, b| a < b) && values[2] < 1 << 50, "{values:?}");
}

#[test]
fn each_reading_takes_a_step() {
    if simulator_only("counters of a kernel count by themselves") {
        return;
    }
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
