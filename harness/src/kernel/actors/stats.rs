//! What the kernel counts about a program.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use super::error::ActorError;
use super::watch;

/// A program's identity and counts (`struct bpf_prog_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stats {
    pub(super) id: u32,
    pub(super) prog_type: u32,
    pub(super) run_cnt: u64,
    pub(super) run_time_ns: u64,
}

/// Asks the kernel. Runs are counted from the first call on: the kernel counts while somebody holds a descriptor for that
/// (`BPF_ENABLE_STATS`, Linux 5.8).
pub(super) fn of(prog: BorrowedFd<'_>) -> Result<Stats, ActorError> {
    static COUNTING: OnceLock<Result<OwnedFd, String>> = OnceLock::new();
    let counting = COUNTING.get_or_init(|| {
        // SAFETY: makes a descriptor.
        let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
        watch::owned(fd).map_err(|e| e.to_string())
    });
    if let Err(e) = counting {
        return Err(ActorError::Machine(format!(
            "the kernel does not count runs of programs (BPF_ENABLE_STATS, Linux 5.8): {e}"
        )));
    }
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = u32::try_from(size_of_val(&info)).unwrap_or(0);
    let fd = prog.as_raw_fd();
    // SAFETY: the structure has `len` bytes; the kernel fills in as many as it knows, and follows no pointer that is null.
    let failed = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd, &raw mut info, &raw mut len) } < 0;
    if failed {
        return Err(ActorError::Info { fd, source: io::Error::last_os_error() });
    }
    Ok(Stats { id: info.id, prog_type: info.type_, run_cnt: info.run_cnt, run_time_ns: info.run_time_ns })
}
