//! Waiting, never without a deadline.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Waits until one of two descriptors is readable, and says which: the first wins. `None` if neither was in time.
pub(super) fn either(first: &OwnedFd, second: &OwnedFd, deadline: Instant) -> io::Result<Option<bool>> {
    let mut polled =
        [first, second].map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: no busy loop in the last millisecond.
        let millis = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: the list is a local array of two.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), 2, millis) };
        let [one, two] = polled;
        match ready {
            1.. => return Ok(Some(one.revents != 0 || two.revents == 0)),
            0 if left.is_zero() => return Ok(None),
            0 => {}
            _ => {
                let e = io::Error::last_os_error();
                if e.kind() != io::ErrorKind::Interrupted {
                    return Err(e);
                }
            }
        }
    }
}

/// Whether a process has ended, by its pidfd, within a time.
pub(super) fn ended(pidfd: &OwnedFd, within: Duration) -> bool {
    matches!(either(pidfd, pidfd, Instant::now() + within), Ok(Some(_)))
}

/// An eventfd: a counter that `poll()` can wait for.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    owned(fd)
}

/// A pidfd of a process (`pidfd_open()`, Linux 5.3).
pub(super) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(i32::try_from(fd).unwrap_or(-1))
}

/// A descriptor that a system call just gave.
pub(super) fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds one to an eventfd.
pub(super) fn signal(fd: &OwnedFd) -> io::Result<()> {
    let one = 1u64;
    // SAFETY: 8 bytes of a local variable.
    let written = unsafe { libc::write(fd.as_raw_fd(), std::ptr::addr_of!(one).cast(), 8) };
    if written == 8 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes what an eventfd counted; it has to be readable.
pub(super) fn take(fd: &OwnedFd) -> io::Result<()> {
    let mut count = 0u64;
    // SAFETY: 8 bytes of a local variable.
    let read = unsafe { libc::read(fd.as_raw_fd(), std::ptr::addr_of_mut!(count).cast(), 8) };
    if read == 8 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
