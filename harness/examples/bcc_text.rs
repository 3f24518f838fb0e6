//! Program text in the dialect of bcc's reference guide: compiled, attached by its names, and polled, as in Python.
//!
//! `cargo run -p bpf-harness --example bcc_text`. Needs clang, and neither a kernel nor its headers.

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;

use bpf_harness::Bpf;
use bpf_harness::compile::Clang;
use bpf_helpers_mock::state::Task;

/// Reports reads that take longer than a millisecond, and counts the others.
const TEXT: &str = r#"
    #include <uapi/linux/ptrace.h>

    struct event_t {
        u32 pid;
        u64 delta_us;
        char comm[TASK_COMM_LEN];
    };

    BPF_HASH(start, u32);
    BPF_HISTOGRAM(dist);
    BPF_PERF_OUTPUT(slow);

    int kprobe__vfs_read(struct pt_regs *ctx, struct file *file, char *buf, size_t count)
    {
        u32 tid = bpf_get_current_pid_tgid();
        u64 ts = bpf_ktime_get_ns();

        if (count > 0)
            start.update(&tid, &ts);
        return 0;
    }

    int kretprobe__vfs_read(struct pt_regs *ctx)
    {
        u32 tid = bpf_get_current_pid_tgid();
        u64 *ts = start.lookup(&tid);
        struct event_t event = {};

        if (!ts)
            return 0;
        event.delta_us = (bpf_ktime_get_ns() - *ts) / 1000;
        start.delete(&tid);
        dist.increment(bpf_log2l(event.delta_us));
        if (event.delta_us > 1000) {
            event.pid = bpf_get_current_pid_tgid() >> 32;
            bpf_get_current_comm(&event.comm, sizeof(event.comm));
            slow.perf_submit(ctx, &event, sizeof(event));
        }
        return 0;
    }
"#;

/// A record, by the names of its members.
#[derive(serde::Deserialize)]
struct Event {
    pid: u32,
    delta_us: u64,
    comm: String,
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    if let Err(why) = Clang::find() {
        println!("skipped: {why}");
        return Ok(());
    }
    // Both programs are attached by their names. The types are those of the kernel that comes with the crate.
    let mut bpf = Bpf::from_text(TEXT)?;
    assert_eq!(bpf.num_open_kprobes(), 2);

    let (tx, rx) = mpsc::channel();
    bpf.open_perf_buffer("slow", move |_cpu, data| {
        tx.send(data.event::<Event>()?)?;
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    })?;

    // The kernel is the test's to play.
    bpf.add_task(Task::new(4001, "cat"));
    for (count, micros) in [(4096, 12), (4096, 2500), (0, 1)] {
        bpf.kprobe("vfs_read").task(4001).args([0, 0, count]).fire()?;
        bpf.advance(micros * 1000)?;
        bpf.kretprobe("vfs_read").task(4001).fire()?;
    }

    assert_eq!(bpf.perf_buffer_poll(Duration::ZERO)?, 1);
    let event = rx.recv()?;
    println!("{} ({}): {} us", event.comm, event.pid, event.delta_us);
    assert_eq!((event.pid, event.delta_us, event.comm.as_str()), (4001, 2500, "cat"));

    let dist = bpf.table("dist")?.nonzero();
    print!("{}", dist.log2_hist("usecs", ""));
    assert_eq!(dist.len(), 2, "the read of nothing is not counted");
    Ok(())
}
