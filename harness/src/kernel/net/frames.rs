//! Frames that are sent by one device of the test's network, and those that are let through by the other.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::check;

/// How long a frame may take. It is received before it is sent, so to say, unless the kernel leaves it to a thread of its own
/// (`ksoftirqd`), which runs as soon as this one waits.
const ARRIVAL: Duration = Duration::from_millis(10);
/// The link layer's numbers for frames that have a length in place of a protocol (<linux/if_ether.h>).
const ETH_P_802_2: u16 = 4;
const VLAN: [u16; 2] = [0x8100, 0x88a8];
/// What programs may turn a packet into.
const OTHERS: [u16; 2] = [0x0800, 0x86dd];

/// A packet socket of one device. Without a protocol it receives nothing.
pub(super) fn packet_socket(ifindex: i32, protocol: u16) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: it takes numbers and gives a descriptor.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    check(fd)?;
    // SAFETY: the kernel has just opened it for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = address(ifindex, protocol);
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: an address as long as it says.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(fd)
}

fn address(ifindex: i32, protocol: u16) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: ifindex,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

/// The sockets, kept because a packet socket takes long to close (`synchronize_net`).
#[derive(Debug)]
pub(super) struct Frames {
    sender: i32,
    receiver: i32,
    sending: OwnedFd,
    /// Sockets of one protocol each get a packet behind traffic control, where the protocol itself gets it.
    arriving: BTreeMap<u16, OwnedFd>,
}

impl Frames {
    /// In the namespace of this thread.
    pub(super) fn new(sender: i32, receiver: i32) -> io::Result<Self> {
        Ok(Self { sender, receiver, sending: packet_socket(sender, 0)?, arriving: BTreeMap::new() })
    }

    /// Whether there are sockets for what may become of a frame.
    pub(super) fn is_ready_for(&self, frame: &[u8]) -> bool {
        protocols(frame).iter().all(|p| self.arriving.contains_key(p))
    }

    /// Opens them, in the namespace of this thread.
    pub(super) fn make_ready_for(&mut self, frame: &[u8]) -> io::Result<()> {
        for protocol in protocols(frame) {
            if !self.arriving.contains_key(&protocol) {
                self.arriving.insert(protocol, packet_socket(self.receiver, protocol)?);
            }
        }
        Ok(())
    }

    /// Sends a frame; true if it was received and let through.
    pub(super) fn pass(&self, frame: &[u8]) -> io::Result<bool> {
        // What came late is not this one.
        self.arrived();
        let address = address(self.sender, protocols(frame).first().copied().unwrap_or(ETH_P_802_2));
        // SAFETY: buffer and address are as long as they say.
        let sent = unsafe {
            libc::sendto(
                self.sending.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 {
            let e = io::Error::last_os_error();
            // Traffic control has dropped it on its way out (`net_xmit_errno`).
            return if e.raw_os_error() == Some(libc::ENOBUFS) { Ok(false) } else { Err(e) };
        }
        Ok(self.arrived() || (self.wait()? && self.arrived()))
    }

    /// Takes what is there, if anything is.
    fn arrived(&self) -> bool {
        let mut any = false;
        for socket in self.arriving.values() {
            let mut byte = 0u8;
            // SAFETY: a buffer of one byte; the rest of a packet is thrown away.
            while unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT) }
                >= 0
            {
                any = true;
            }
        }
        any
    }

    fn wait(&self) -> io::Result<bool> {
        let mut fds: Vec<libc::pollfd> = self
            .arriving
            .values()
            .map(|s| libc::pollfd { fd: s.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        let timeout = ARRIVAL.as_millis() as i32;
        // SAFETY: an array of as many descriptors as it says.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
        match check(ready) {
            Ok(()) => Ok(ready > 0),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(e) => Err(e),
        }
    }
}

/// The frame's protocol, those behind its VLAN tags, and those that a program may have put in their place.
fn protocols(frame: &[u8]) -> Vec<u16> {
    let mut all = Vec::new();
    let mut at = 12;
    while let Some(&[high, low]) = frame.get(at..at + 2) {
        let protocol = u16::from_be_bytes([high, low]);
        all.push(if protocol < 0x600 { ETH_P_802_2 } else { protocol });
        if !VLAN.contains(&protocol) {
            break;
        }
        at += 4;
    }
    for other in OTHERS {
        if !all.contains(&other) {
            all.push(other);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::protocols;

    #[test]
    fn protocols_behind_tags_count() {
        let frame = |words: &[u16]| {
            let words = words.iter().flat_map(|w| w.to_be_bytes());
            [0; 12].into_iter().chain(words).chain([0; 46]).collect::<Vec<u8>>()
        };
        assert_eq!(protocols(&frame(&[0x88b5])), [0x88b5, 0x0800, 0x86dd]);
        assert_eq!(protocols(&frame(&[0x0800])), [0x0800, 0x86dd]);
        assert_eq!(protocols(&frame(&[0x8100, 5, 0x0806])), [0x8100, 0x0806, 0x0800, 0x86dd]);
        assert_eq!(protocols(&frame(&[60])), [4, 0x0800, 0x86dd]);
        assert_eq!(protocols(&[0; 3]), [0x0800, 0x86dd]);
    }
}
