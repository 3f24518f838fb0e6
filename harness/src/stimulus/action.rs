//! What every stimulus is, and those that are built in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{
    Busy, Custom, Exec, Fork, Kill, OpenMissing, Packet, PageFault, ReadDisk, ReadFile, Real, Simulation,
    Sleep, Stimulated, SyncFiles, Tcp, Thread, Udp, UserCall, WriteFile,
};
use crate::error::Error;

/// Something that makes probes fire.
pub trait Action: fmt::Debug {
    /// Plays it on a simulated machine.
    ///
    /// # Errors
    /// If a program that ran on the way did something wrong, or a context cannot be made.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error>;

    /// Does it, on the kernel that this process runs on.
    ///
    /// # Errors
    /// If it cannot be done. That an operation fails as it was meant to is no error, but its result.
    fn perform(&self, real: &mut Real<'_>) -> Result<Stimulated, Error>;
}

/// The stimuli that are built in. Each function gives a type of its own, with its options as methods.
#[derive(Clone, Copy, Debug)]
pub struct Stimulus;

impl Stimulus {
    /// A file is opened, read once and closed: `openat`, `read`, `close`.
    #[must_use]
    pub fn read_file(path: impl AsRef<Path>) -> ReadFile {
        ReadFile::new(text(path))
    }

    /// A file is opened that does not exist: `openat`, which fails with `-ENOENT`.
    #[must_use]
    pub fn open_missing(path: impl AsRef<Path>) -> OpenMissing {
        OpenMissing::new(text(path))
    }

    /// A file is made or emptied, written once and closed: `openat`, `write`, `close`.
    #[must_use]
    pub fn write_file(path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> WriteFile {
        WriteFile::new(text(path), bytes.into())
    }

    /// A child is made, which exits at once, and is waited for: `clone` with `SIGCHLD`, `exit_group`, `wait4`.
    #[must_use]
    pub fn fork() -> Fork {
        Fork::default()
    }

    /// A child is made, which runs a program that exits at once, and is waited for: `clone`, `execve`, `exit_group`,
    /// `wait4`.
    #[must_use]
    pub fn exec() -> Exec {
        Exec::default()
    }

    /// A thread is made, which exits at once: `clone` with `CLONE_THREAD`, `exit`.
    #[must_use]
    pub fn thread() -> Thread {
        Thread::default()
    }

    /// The task sleeps: `nanosleep`.
    #[must_use]
    pub fn sleep(time: Duration) -> Sleep {
        Sleep::new(time)
    }

    /// The task uses its CPU for so long, without a system call: clocks of perf events sample it.
    #[must_use]
    pub fn busy(time: Duration) -> Busy {
        Busy::new(time)
    }

    /// So many bytes of a disk are read past the page cache, as one request: at most 128 KiB, in sectors of 512. The disk is
    /// a loop device that is made for it; in a virtual machine that takes the module: `bpf-vm run --module loop`.
    #[must_use]
    pub fn read_disk(bytes: u32) -> ReadDisk {
        ReadDisk::new(bytes)
    }

    /// What is written is put to disk: `sync`.
    #[must_use]
    pub fn sync() -> SyncFiles {
        SyncFiles::default()
    }

    /// The process sends itself a signal that it ignores: `kill`. Signals that are not ignored by default are ignored for
    /// the moment, by `rt_sigaction` before and after.
    #[must_use]
    pub fn kill(signal: u32) -> Kill {
        Kill::itself(signal)
    }

    /// A signal is sent to a process that does not exist: `kill`, which fails with `-ESRCH`.
    #[must_use]
    pub fn kill_nobody(signal: u32) -> Kill {
        Kill::nobody(signal)
    }

    /// A connection over IPv4's loopback: a listener, `connect`, `accept4`, `sendto`, `recvfrom`, and all are closed.
    #[must_use]
    pub fn tcp() -> Tcp {
        Tcp::v4()
    }

    /// As [`Stimulus::tcp`], over IPv6.
    #[must_use]
    pub fn tcp6() -> Tcp {
        Tcp::v6()
    }

    /// A datagram over IPv4's loopback: `sendto` and `recvfrom`.
    #[must_use]
    pub fn udp() -> Udp {
        Udp::v4()
    }

    /// As [`Stimulus::udp`], over IPv6.
    #[must_use]
    pub fn udp6() -> Udp {
        Udp::v6()
    }

    /// New memory is touched: `mmap`, a page fault, `munmap`.
    #[must_use]
    pub fn page_fault() -> PageFault {
        PageFault::default()
    }

    /// A user-space function is called, given as for [`Bpf::uprobe`](crate::Bpf::uprobe): `c:getenv`, `readline`.
    #[must_use]
    pub fn user_call(function: impl Into<String>) -> UserCall {
        UserCall::function(function.into())
    }

    /// `strlen()` of libc is called. Where libc chooses among implementations when it is loaded (an indirect function), a
    /// probe on the symbol is on the code that chooses, and does not fire on a kernel.
    #[must_use]
    pub fn strlen(text: impl Into<String>) -> UserCall {
        UserCall::strlen(text.into())
    }

    /// A statically defined user-space probe is hit.
    #[must_use]
    pub fn usdt(provider: impl Into<String>, name: impl Into<String>) -> UserCall {
        UserCall::usdt(provider.into(), name.into())
    }

    /// A packet, with its Ethernet header, is sent by one device and received by another: those of the test's own network
    /// ([`Network`](super::Network)), or on a kernel the one that is named and its other end. Control groups see what
    /// sockets send and receive: see [`Stimulus::udp`] and [`Stimulus::tcp`].
    #[must_use]
    pub fn packet(bytes: impl Into<Vec<u8>>) -> Packet {
        Packet::new(bytes.into())
    }

    /// One's own, of two closures: what is done on a kernel, and what the simulator plays.
    ///
    /// ```
    /// use bpf_harness::{Bpf, Error, stimulus::{Stimulated, Stimulus}};
    /// # let object = bpf_fixtures::object("hostapi").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// bpf.attach_kprobe("vfs_fsync_range", "count")?;
    /// let sync = Stimulus::custom(
    ///     "fsync",
    ///     |_| {
    ///         let done = std::fs::File::create("/tmp/x").and_then(|f| f.sync_all());
    ///         done.map_err(|e| Error::Invalid(e.to_string()))?;
    ///         Ok(Stimulated::default())
    ///     },
    ///     |sim| {
    ///         let file = sim.object("file", &[("f_flags", 1.into())])?;
    ///         sim.syscall("fsync", &[3], |sim| {
    ///             sim.function("vfs_fsync_range", &[file, 0, i64::MAX as u64, 0], |_| Ok(0))
    ///         })?;
    ///         Ok(Stimulated::default())
    ///     },
    /// );
    /// assert_eq!(bpf.stimulate(&sync)?.fired, 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn custom<R, S>(name: impl Into<String>, real: R, simulated: S) -> Custom<R, S>
    where
        R: Fn(&mut Real<'_>) -> Result<Stimulated, Error>,
        S: Fn(&mut Simulation<'_>) -> Result<Stimulated, Error>,
    {
        Custom::new(name.into(), real, simulated)
    }
}

fn text(path: impl AsRef<Path>) -> PathBuf {
    path.as_ref().to_owned()
}
