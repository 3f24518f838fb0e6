//! Perf events: counters in arrays, clocks.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libbpf_rs::{MapCore, MapFlags};

use super::maps::KernelMap;
use crate::error::Error;

/// The counters of a perf event array, one for each CPU. Dropping them closes them.
#[derive(Debug)]
pub(super) struct Counters {
    map: libbpf_rs::MapHandle,
    fds: BTreeMap<u32, OwnedFd>,
}

impl Counters {
    pub(super) fn open(map: &KernelMap, ev_type: u32, ev_config: u64) -> Result<Self, Error> {
        let failed = |cpu: u32, why: String| {
            Error::Invalid(format!(
                "map '{}': perf event {ev_type}:{ev_config} on CPU {cpu}: {why}",
                map.name
            ))
        };
        let handle = libbpf_rs::MapHandle::try_from(&map.handle).map_err(|e| failed(0, format!("{e:#}")))?;
        let mut fds = BTreeMap::new();
        for cpu in online_cpus().into_iter().filter(|cpu| *cpu < map.max_entries) {
            let event = Event { ev_type, ev_config, ..Event::default() };
            let fd = event.open(None, Some(cpu)).map_err(|e| failed(cpu, e.to_string()))?;
            let (key, value) = (cpu.to_le_bytes(), fd.as_raw_fd().to_le_bytes());
            handle.update(&key, &value, MapFlags::ANY).map_err(|e| failed(cpu, format!("{e:#}")))?;
            fds.insert(cpu, fd);
        }
        Ok(Self { map: handle, fds })
    }

    pub(super) fn close(&mut self, cpu: u32) -> Result<(), Error> {
        if self.fds.remove(&cpu).is_some() {
            let failed = |e| Error::Invalid(format!("the counter of CPU {cpu} cannot be closed: {e:#}"));
            self.map.delete(&cpu.to_le_bytes()).map_err(failed)?;
        }
        Ok(())
    }
}

/// What `perf_event_open` is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Event {
    pub(super) ev_type: u32,
    pub(super) ev_config: u64,
    /// Period, or frequency.
    pub(super) sample: u64,
    pub(super) is_frequency: bool,
}

/// `struct perf_event_attr`, as far as `PERF_ATTR_SIZE_VER0` goes.
#[repr(C)]
#[derive(Default)]
struct Attr {
    ev_type: u32,
    size: u32,
    config: u64,
    sample: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    bp_type: u32,
    config1: u64,
}

/// Bit `freq` of the flags.
const FREQ: u64 = 1 << 10;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOEXEC: libc::c_ulong = 8;

impl Event {
    /// Opens it for a process on a CPU; without one for all.
    pub(super) fn open(&self, pid: Option<u32>, cpu: Option<u32>) -> std::io::Result<OwnedFd> {
        let attr = Attr {
            ev_type: self.ev_type,
            size: size_of::<Attr>() as u32,
            config: self.ev_config,
            sample: self.sample,
            flags: if self.is_frequency { FREQ } else { 0 },
            ..Attr::default()
        };
        let pid = pid.map_or(-1, |p| p as libc::pid_t);
        let cpu = cpu.map_or(-1, |c| c as libc::c_int);
        // SAFETY: the attributes are as large as they say.
        let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, pid, cpu, -1, CLOEXEC) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the kernel has just opened it for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }
}

/// Which CPUs are running. They need not be the first ones.
pub(super) fn online_cpus() -> Vec<u32> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let cpus = cpu_list(&text);
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// A list of CPUs as sysfs has it: `0,2-3`.
fn cpu_list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

/// `CLOCK_MONOTONIC` in nanoseconds: what `bpf_ktime_get_ns` gives.
pub(super) fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::cpu_list;

    #[test]
    fn cpus_may_be_missing_in_between() {
        for (text, cpus) in
            [("0-3\n", vec![0, 1, 2, 3]), ("0,2-3", vec![0, 2, 3]), ("5", vec![5]), ("", vec![])]
        {
            assert_eq!(cpu_list(text), cpus, "{text:?}");
        }
    }
}
