//! Row 14: `BPF_PERF_OUTPUT(name)`: per-CPU rings with capacity and lost-event accounting.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::bcc;
use bpf_harness::PerfBufferOptions;

const TEXT: &str = r#"
    struct event_t { u64 n; char pad[2000]; };
    BPF_PERCPU_ARRAY(scratch, struct event_t, 1);
    BPF_PERF_OUTPUT(events);
    int kprobe__vfs_read(struct pt_regs *ctx, u64 n) {
        int zero = 0;
        struct event_t *e = scratch.lookup(&zero);
        if (!e)
            return 0;
        e->n = n;
        events.perf_submit(ctx, e, sizeof(*e));
        return 0;
    }
"#;

#[test]
fn each_cpu_has_its_own_ring_and_counts_what_it_lost() {
    let Some(mut bpf) = crate::support::load(bpf_harness::Bpf::builder().text(TEXT).cpus(2)) else { return };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let lost = Arc::new(Mutex::new(0));
    let (to, count) = (Arc::clone(&seen), Arc::clone(&lost));
    let options = PerfBufferOptions::new().page_cnt(1).lost_cb(move |n| *count.lock().unwrap() += n);
    bpf.open_perf_buffer_with("events", options, move |cpu, record| {
        to.lock().unwrap().push((cpu, u64::from_le_bytes(record.data()[..8].try_into().unwrap())));
    })
    .unwrap();
    // A page holds one record of 2000 bytes and a second; the third does not fit.
    for n in 0..5 {
        bpf.kprobe("vfs_read").cpu(0).args([n]).fire().unwrap();
    }
    bpf.kprobe("vfs_read").cpu(1).args([9]).fire().unwrap();
    bpf.perf_buffer_poll(Duration::ZERO).unwrap();
    // The kernel tells of losses with the next record that fits (`PERF_RECORD_LOST`).
    bpf.kprobe("vfs_read").cpu(0).args([5]).fire().unwrap();
    bpf.perf_buffer_poll(Duration::ZERO).unwrap();
    let mut got = seen.lock().unwrap().clone();
    got.sort_unstable();
    assert_eq!(got.last(), Some(&(1, 9)));
    let on_first = got.iter().filter(|(cpu, _)| *cpu == 0).count() as u64;
    assert_eq!(on_first + *lost.lock().unwrap(), 6, "every event came or was counted as lost");
    assert!(*lost.lock().unwrap() > 0);
}

#[test]
fn nothing_reads_an_unopened_buffer() {
    let Some(mut bpf) = bcc(TEXT) else { return };
    bpf.kprobe("vfs_read").args([1]).fire().unwrap();
    assert_eq!(bpf.perf_buffer_poll(Duration::ZERO).unwrap(), 0);
}
