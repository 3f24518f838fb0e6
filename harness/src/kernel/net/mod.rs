//! A network of the test's own: a network namespace with a pair of `veth` devices, on which packet programs are attached.
//!
//! What one end sends the other receives as real devices do, so a frame passes traffic control on its way out, XDP (the
//! driver's own) and traffic control on its way in, and nothing of the machine's own network can be touched or be seen.
//! Where the kernel has no `veth`, the loopback device plays both parts ([`Network`] says so to the test).

mod frames;
mod veth;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::stimulus::{Device, Network};
use frames::{Frames, packet_socket};

/// The namespace and its devices.
#[derive(Clone, Debug)]
pub(super) struct Net {
    namespace: Arc<File>,
    network: Network,
    frames: Arc<Mutex<Frames>>,
}

impl Net {
    /// Makes one, with its devices up.
    pub(super) fn new() -> Result<Self, Error> {
        let made = on_thread(|| {
            // SAFETY: it changes the namespace of this thread, which ends with it.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            bring_up()?;
            let pair = Network::pair();
            let network = if veth::make(&pair)? { pair } else { Network::loopback() };
            let frames = Frames::new(index(&network.sender), index(&network.receiver))?;
            Ok((File::open("/proc/thread-self/ns/net")?, network, frames))
        });
        match made {
            Ok((namespace, network, frames)) => {
                Ok(Self { namespace: Arc::new(namespace), network, frames: Arc::new(Mutex::new(frames)) })
            }
            Err(e) => Err(Error::Invalid(format!(
                "a network namespace for the test cannot be made: {e}; it needs root and CONFIG_NET_NS"
            ))),
        }
    }

    /// Its devices.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// The index of the device that sends.
    pub(super) fn sender(&self) -> i32 {
        index(&self.network.sender)
    }

    /// The index of the device that receives.
    pub(super) fn receiver(&self) -> i32 {
        index(&self.network.receiver)
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

    /// A socket that gets every frame that is received.
    pub(super) fn packet_socket(&self) -> Result<OwnedFd, Error> {
        self.enter(|| packet_socket(self.receiver(), libc::ETH_P_ALL as u16))?
            .map_err(|e| Error::Invalid(format!("a packet socket cannot be opened: {e}")))
    }

    /// Sends a frame, with its Ethernet header, from one device to the other; true if it was let through.
    pub(super) fn send(&self, frame: &[u8]) -> Result<bool, Error> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        // Only sockets have a namespace: this thread is the one that sends, as programs see.
        let ready =
            if frames.is_ready_for(frame) { Ok(()) } else { self.enter(|| frames.make_ready_for(frame))? };
        ready
            .and_then(|()| frames.pass(frame))
            .map_err(|e| Error::Invalid(format!("a packet of {} bytes cannot be sent: {e}", frame.len())))
    }
}

fn index(device: &Device) -> i32 {
    device.ifindex.cast_signed()
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
