//! Row 15: `name.perf_submit(ctx, &data, size)`: 0 or the kernel's error.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::bcc;

#[test]
fn what_is_submitted_arrives_typed() {
    let Some(mut bpf) = bcc(r#"
        BPF_PERF_OUTPUT(events);
        BPF_ARRAY(rc, s64, 1);
        struct data_t { u32 pid; u64 ts; char comm[16]; };
        int kprobe__vfs_read(struct pt_regs *ctx) {
            int zero = 0;
            struct data_t data = {};
            data.pid = bpf_get_current_pid_tgid();
            data.ts = bpf_ktime_get_ns();
            bpf_get_current_comm(&data.comm, sizeof(data.comm));
            s64 r = events.perf_submit(ctx, &data, sizeof(data));
            rc.update(&zero, &r);
            return 0;
        }
    "#) else {
        return;
    };
    let comms = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&comms);
    bpf.open_perf_buffer("events", move |_, record| {
        let value = record.value().unwrap();
        to.lock().unwrap().push(value["comm"].as_str().unwrap().to_owned());
    })
    .unwrap();
    bpf.add_task(bpf_helpers_mock::state::Task::new(4242, "sshd"));
    bpf.kprobe("vfs_read").task(4242).fire().unwrap();
    assert_eq!(bpf.table("rc").unwrap().get(0).unwrap(), &0);
    bpf.perf_buffer_poll(Duration::ZERO).unwrap();
    assert_eq!(*comms.lock().unwrap(), ["sshd"]);
}

/// A ring without room: `-ENOSPC` (`perf_output_begin`).
#[test]
fn a_full_ring_is_enospc() {
    let Some(mut bpf) = bcc(r#"
        struct big_t { char c[3000]; };
        BPF_PERCPU_ARRAY(scratch, struct big_t, 1);
        BPF_PERF_OUTPUT(events);
        BPF_HASH(rc, s64);
        int kprobe__vfs_read(struct pt_regs *ctx) {
            int zero = 0;
            struct big_t *big = scratch.lookup(&zero);
            if (!big)
                return 0;
            s64 r = events.perf_submit(ctx, big, sizeof(*big));
            rc.increment(r);
            return 0;
        }
    "#) else {
        return;
    };
    let options = bpf_harness::PerfBufferOptions::new().page_cnt(1);
    bpf.open_perf_buffer_with("events", options, |_, _| {}).unwrap();
    for _ in 0..3 {
        bpf.kprobe("vfs_read").fire().unwrap();
    }
    let rc = bpf.table("rc").unwrap();
    assert_eq!((rc.get(0).unwrap(), rc.get(-28).unwrap()), (&1u64.into(), &2u64.into()));
}
