//! A network of the test's own: a network namespace with its loopback device, on which packet programs are attached.
//!
//! A frame that is sent there through a packet socket comes back on the receiving side, as it is, so it passes traffic
//! control on its way out and XDP and traffic control on its way in. Every kernel has the device, no module is needed, and
//! nothing of the machine's own network can be touched or be seen.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use crate::error::Error;

/// The index of the loopback device: it is the first one of every namespace.
pub(super) const LOOPBACK: i32 = 1;

/// The namespace.
#[derive(Clone, Debug)]
pub(super) struct Net {
    namespace: Arc<File>,
}

impl Net {
    /// Makes one, with its loopback device up.
    pub(super) fn new() -> Result<Self, Error> {
        let made = on_thread(|| {
            // SAFETY: it changes the namespace of this thread, which ends with it.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            bring_up()?;
            File::open("/proc/thread-self/ns/net")
        });
        match made {
            Ok(namespace) => Ok(Self { namespace: Arc::new(namespace) }),
            Err(e) => Err(Error::Invalid(format!(
                "a network namespace for the test cannot be made: {e}; it needs root and CONFIG_NET_NS"
            ))),
        }
    }

    /// Runs something in the namespace.
    pub(super) fn enter<R>(&self, f: impl FnOnce() -> R) -> Result<R, Error> {
        let f = Lent(f);
        let entered = on_thread(|| {
            let f = f;
            // SAFETY: the descriptor is that of a namespace; only this thread enters it.
            check(unsafe { libc::setns(self.namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
            Ok(Lent((f.0)()))
        });
        let entered = entered.map(|r| r.0);
        entered.map_err(|e| Error::Invalid(format!("the test's network namespace cannot be entered: {e}")))
    }

    /// The namespace itself, for programs that are attached to it.
    pub(super) fn namespace(&self) -> i32 {
        self.namespace.as_raw_fd()
    }

    /// A socket that gets every frame of the device.
    pub(super) fn packet_socket(&self) -> Result<OwnedFd, Error> {
        self.enter(open_packet_socket)?
            .map_err(|e| Error::Invalid(format!("a packet socket cannot be opened: {e}")))
    }

    /// Sends a frame, with its Ethernet header, through the device.
    pub(super) fn send(&self, frame: &[u8]) -> Result<(), Error> {
        let socket = self.packet_socket()?;
        let address = address();
        // SAFETY: buffer and address are as long as they say.
        let sent = unsafe {
            libc::sendto(
                socket.as_fd().as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 {
            let e = io::Error::last_os_error();
            return Err(Error::Invalid(format!("a packet of {} bytes cannot be sent: {e}", frame.len())));
        }
        Ok(())
    }
}

/// What a thread borrows while the one that it is from waits for it to end.
struct Lent<T>(T);

// SAFETY: only one of the two threads runs at any time, and neither libbpf's objects nor descriptors belong to a thread.
unsafe impl<T> Send for Lent<T> {}

/// Namespaces belong to threads: what changes them has one of its own.
fn on_thread<R: Send>(f: impl FnOnce() -> io::Result<R> + Send) -> io::Result<R> {
    std::thread::scope(|scope| {
        let done = scope.spawn(f).join();
        done.unwrap_or_else(|_| Err(io::Error::other("the thread for it has panicked")))
    })
}

fn check(ret: i32) -> io::Result<()> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `ip link set lo up`.
fn bring_up() -> io::Result<()> {
    // SAFETY: it takes numbers and gives a descriptor.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    check(socket)?;
    // SAFETY: the kernel has just opened it for us.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: zeros are a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: a request of the type that this one takes.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })
}

fn open_packet_socket() -> io::Result<OwnedFd> {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: it takes numbers and gives a descriptor.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol.into()) };
    check(fd)?;
    // SAFETY: the kernel has just opened it for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = address();
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: an address as long as it says.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(fd)
}

fn address() -> libc::sockaddr_ll {
    // SAFETY: zeros are a valid address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = LOOPBACK;
    address
}
