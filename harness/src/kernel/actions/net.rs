//! Sockets on the loopback.

use std::time::{Duration, Instant};

use super::call::{Word, acted, call, close, failed, ptr};
use crate::error::Error;
use crate::stimulus::Family;
use crate::stimulus::Stimulated;

/// How long a datagram may take that is not there at once. No system call is made meanwhile.
const LATE: Duration = Duration::from_millis(20);
/// How long a connection or its bytes may take: a program may drop packets, and the kernel sends them again.
const PATIENCE: Duration = Duration::from_secs(2);
const EAGAIN: i64 = -(libc::EAGAIN as i64);

/// A socket that is closed with its value.
struct Socket(i64);

impl Drop for Socket {
    fn drop(&mut self) {
        close(self.0);
    }
}

impl Socket {
    fn open(family: Family, kind: i32) -> Result<Self, Error> {
        let kind = kind | libc::SOCK_CLOEXEC;
        // SAFETY: takes numbers.
        let fd = unsafe { call(libc::SYS_socket, [family.number() as Word, kind.into(), 0, 0, 0, 0]) };
        if fd < 0 { Err(failed("socket", fd)) } else { Ok(Self(fd)) }
    }

    /// Binds it to a port of the kernel's choice.
    fn bind(&self, family: Family) -> Result<(), Error> {
        let address = family.address(0);
        // SAFETY: the address has this many bytes.
        let ret =
            unsafe { call(libc::SYS_bind, [self.0, ptr(address.as_ptr()), address.len() as Word, 0, 0, 0]) };
        if ret < 0 { Err(failed("bind", ret)) } else { Ok(()) }
    }

    fn local_port(&self) -> Result<u16, Error> {
        let mut address = [0u8; 28];
        let mut len = address.len() as u32;
        // SAFETY: the address has as many bytes as the length says.
        let ret = unsafe {
            call(libc::SYS_getsockname, [self.0, ptr(address.as_mut_ptr()), ptr(&raw mut len), 0, 0, 0])
        };
        if ret < 0 {
            return Err(failed("getsockname", ret));
        }
        Ok(u16::from_be_bytes([address[2], address[3]]))
    }

    fn connect(&self, family: Family, port: u16) -> i64 {
        let address = family.address(port);
        // SAFETY: the address has this many bytes.
        unsafe { call(libc::SYS_connect, [self.0, ptr(address.as_ptr()), address.len() as Word, 0, 0, 0]) }
    }

    fn send(&self, bytes: &[u8], to: &[u8]) -> i64 {
        let to_ptr = if to.is_empty() { 0 } else { ptr(to.as_ptr()) };
        let args = [self.0, ptr(bytes.as_ptr()), bytes.len() as Word, 0, to_ptr, to.len() as Word];
        // SAFETY: bytes and address have these lengths.
        unsafe { call(libc::SYS_sendto, args) }
    }

    fn receive(&self, len: usize, flags: Word) -> i64 {
        let mut buf = vec![0u8; len];
        // SAFETY: the buffer has this many bytes.
        unsafe { call(libc::SYS_recvfrom, [self.0, ptr(buf.as_mut_ptr()), len as Word, flags, 0, 0]) }
    }

    /// The next connection, of a listener that does not block; `-EAGAIN` if none comes.
    fn accept(&self) -> Result<Self, i64> {
        let flags = libc::SOCK_CLOEXEC.into();
        // SAFETY: no address is asked for.
        let fd = self.twice(|| unsafe { call(libc::SYS_accept4, [self.0, 0, 0, flags, 0, 0]) });
        if fd < 0 { Err(fd) } else { Ok(Self(fd)) }
    }

    /// Does something that does not block, and once more when there is something to read or patience is at its end. Mostly
    /// all is there at once: the loopback delivers before the sending call returns.
    fn twice(&self, attempt: impl Fn() -> i64) -> i64 {
        let ret = attempt();
        if ret != EAGAIN {
            return ret;
        }
        let fd = i32::try_from(self.0).unwrap_or(-1);
        let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let time = [PATIENCE.as_secs(), PATIENCE.subsec_nanos().into()];
        // SAFETY: one descriptor and a `timespec` of 64 bits, which live until the call returns.
        unsafe { call(libc::SYS_ppoll, [ptr(&raw mut polled), 1, ptr(time.as_ptr()), 0, 0, 0]) };
        attempt()
    }
}

pub(crate) fn tcp(family: Family, refused: Option<u16>, bytes: &[u8]) -> Result<Stimulated, Error> {
    let mut done = acted();
    if let Some(port) = refused {
        let client = Socket::open(family, libc::SOCK_STREAM)?;
        done.ret = client.connect(family, port);
        return Ok(done.with("port", port.into()));
    }
    let listener = Socket::open(family, libc::SOCK_STREAM | libc::SOCK_NONBLOCK)?;
    listener.bind(family)?;
    // SAFETY: takes numbers.
    let ret = unsafe { call(libc::SYS_listen, [listener.0, 1, 0, 0, 0, 0]) };
    if ret < 0 {
        return Err(failed("listen", ret));
    }
    let port = listener.local_port()?;
    let client = Socket::open(family, libc::SOCK_STREAM)?;
    done.ret = client.connect(family, port);
    let mut done = done.with("port", port.into());
    if done.ret == 0 {
        match listener.accept() {
            Ok(server) => {
                let (sent, received) = talk(&client, &server, bytes);
                done = done.with("sendto", sent.cast_unsigned()).with("recvfrom", received.cast_unsigned());
                drop(client);
                drop(server);
            }
            Err(errno) => {
                done = done.with("accept4", errno.cast_unsigned());
                drop(client);
            }
        }
    } else {
        drop(client);
    }
    drop(listener);
    Ok(done)
}

/// What sending and receiving have given. A stream that nothing was sent into has nothing to be waited for.
fn talk(client: &Socket, server: &Socket, bytes: &[u8]) -> (i64, i64) {
    let sent = client.send(bytes, &[]);
    let flags = libc::MSG_DONTWAIT.into();
    (sent, if sent > 0 { server.twice(|| server.receive(bytes.len(), flags)) } else { 0 })
}

pub(crate) fn udp(family: Family, bytes: &[u8]) -> Result<Stimulated, Error> {
    let mut done = acted();
    let receiver = Socket::open(family, libc::SOCK_DGRAM)?;
    receiver.bind(family)?;
    let port = receiver.local_port()?;
    let sender = Socket::open(family, libc::SOCK_DGRAM)?;
    done.ret = sender.send(bytes, &family.address(port));
    let mut done = done.with("port", port.into());
    if done.ret >= 0 {
        // It has arrived by now, unless a program has dropped it, or the kernel leaves it to a thread of its own.
        let flags = libc::MSG_DONTWAIT.into();
        let mut received = receiver.receive(bytes.len(), flags);
        if received == EAGAIN {
            let begin = Instant::now();
            while begin.elapsed() < LATE {
                std::hint::spin_loop();
            }
            received = receiver.receive(bytes.len(), flags);
        }
        done = done.with("recvfrom", received.cast_unsigned());
    }
    drop(sender);
    drop(receiver);
    Ok(done)
}
