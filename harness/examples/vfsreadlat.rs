//! The main job: a compiled tracing program, driven by described events, prints its maps as histograms.
//!
//! `cargo run -p bpf-harness --example vfsreadlat [OBJECT]`. The object is that of `fixtures/progs/vfsreadlat.bpf.c`, or
//! another one with the same programs and maps. Nothing here needs a kernel, and every run prints the same bytes.

use bpf_harness::{Bpf, Error};
use bpf_helpers_mock::state::Task;

/// Who reads: thread, name, how many times, the first size and latency (in µs); later ones vary around them.
const READERS: [(u32, &str, u32, i64, u64); 3] =
    [(4001, "cat", 200, 131_072, 40), (4002, "sshd", 90, 48, 3), (4003, "postgres", 150, 8192, 900)];

fn main() -> Result<(), Error> {
    let object = match std::env::args().nth(1) {
        Some(path) => {
            std::fs::read(&path).map_err(|e| Error::Read { path: path.into(), why: e.to_string() })?
        }
        None => bpf_fixtures::object("vfsreadlat").unwrap_or_default().to_vec(),
    };
    print!("{}", report(object)?);
    Ok(())
}

/// Drives the program and gives what its author's tool would print.
pub(crate) fn report(object: Vec<u8>) -> Result<String, Error> {
    let mut bpf = Bpf::load(object)?;
    bpf.attach_all()?;
    for (pid, comm, reads, size, micros) in READERS {
        bpf.add_task(Task::new(pid, comm));
        for i in 0..reads {
            // Some spread, the same on every machine: every 16th read is slow, every 7th is short.
            let slow = if i % 16 == 0 { 50 } else { 1 };
            let micros = micros * slow + u64::from(i % 5) * micros / 4;
            let size = if i % 7 == 0 { i64::from(i) } else { size };
            read(&mut bpf, pid, size, micros)?;
        }
    }
    // A read that fails has a latency, but no size.
    read(&mut bpf, 4001, -9, 1)?;

    let latency = bpf.table("latency")?.log2_hist("usecs", "");
    let sizes = bpf.table("sizes")?.log2_hist("bytes", "comm");
    Ok(format!("Time in vfs_read():\n{latency}\nBytes read, by program:\n{sizes}"))
}

/// One call of `vfs_read()` by a task: it is entered, time passes, it returns.
fn read(bpf: &mut Bpf, pid: u32, ret: i64, micros: u64) -> Result<(), Error> {
    bpf.kprobe("vfs_read").task(pid).fire()?;
    bpf.set_clock(bpf.now() + micros * 1000);
    bpf.kretprobe("vfs_read").task(pid).ret(ret).fire()?;
    Ok(())
}
