//! Sockets: made and closed, and the structures that stand for them (`net/socket.c`).

pub(super) mod tcp;
pub(super) mod udp;
mod wire;

use bpf_helpers_mock::objects::Value;

use super::file::closing;
use super::simulation::Simulation;
use crate::error::Error;

/// `MSG_DONTWAIT`.
const DONT_WAIT: u64 = 0x40;
/// `SOCK_CLOEXEC`
pub(super) const CLOEXEC: u64 = 0o2_000_000;
/// `SOCK_NONBLOCK`, which a listener has: a connection that a program has kept from it would never come.
pub(super) const NONBLOCK: u64 = 0o4_000;
/// `O_RDWR`
const READ_WRITE: u64 = 2;

/// Internet protocol, of which version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    /// `AF_INET`
    V4,
    /// `AF_INET6`
    V6,
}

impl Family {
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// The function of this family, of both names.
    fn name(self, v4: &'static str, v6: &'static str) -> &'static str {
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
    }

    /// `struct sockaddr_in` or `sockaddr_in6` of a port on the loopback.
    pub(crate) fn address(self, port: u16) -> Vec<u8> {
        let mut bytes = (self.number() as u16).to_le_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        match self {
            Self::V4 => bytes.extend([127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            Self::V6 => {
                bytes.extend([0; 4]);
                bytes.extend(LOOPBACK6);
                bytes.extend([0; 4]);
            }
        }
        bytes
    }
}

const LOOPBACK6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const LOOPBACK4: [u8; 4] = [127, 0, 0, 1];
/// What sockets of IPv6 have for an IPv4 address (`LOOPBACK4_IPV6`).
const OF_IPV6: [u8; 4] = [127, 0, 0, 6];
/// The port of a socket that sends without having one.
const AUTOBOUND: u16 = 50_002;
/// `SS_UNCONNECTED` and `SS_CONNECTED`
const UNCONNECTED: u64 = 1;
const CONNECTED: u64 = 3;
/// An IPv4 address in an IPv6 one, as records of tracepoints have it (`ipv6_addr_set_v4mapped`).
const MAPPED4: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];

/// A socket: what programs are given of it.
#[derive(Clone, Copy, Debug)]
struct Socket {
    family: Family,
    fd: u64,
    file: u64,
    /// `struct socket`
    socket: u64,
    /// `struct sock`, at the start of the protocol's own structure.
    sock: u64,
}

impl Socket {
    /// `socket()`; `Err` is what a program has refused it with.
    fn open(
        sim: &mut Simulation<'_>,
        family: Family,
        stream: bool,
        fd: u64,
        flags: u64,
    ) -> Result<Result<Self, i64>, Error> {
        let kind: u64 = if stream { 1 } else { 2 };
        let mut made = None;
        let args = [family.number(), kind | CLOEXEC | flags, 0];
        let ret = sim.syscall("socket", &args, |sim| {
            sim.function("__sys_socket", &args, |sim| {
                let (net, made_at) = (sim.object("net", &[])?, sim.kernel_bytes(&[])?);
                let args = [net, family.number(), kind, 0, made_at, 0];
                let refused = sim.function("__sock_create", &args, |sim| {
                    let refused = sim.hook("socket_create", &[family.number(), kind, 0, 0])?;
                    if refused < 0 {
                        return Ok(refused);
                    }
                    let mut new = Self::new(sim, family, stream, fd)?;
                    let init = family.name("inet_create", "inet6_create");
                    // The socket is there before what is behind it.
                    let sock = new.sock;
                    sim.set_object(new.socket, "socket", &[("sk", 0.into())])?;
                    sim.function(init, &[net, new.socket, 0, 0], |sim| {
                        sim.set_object(new.socket, "socket", &[("sk", sock.into())])?;
                        if stream {
                            let init = family.name("tcp_v4_init_sock", "tcp_v6_init_sock");
                            sim.leaf(init, &[new.sock], 0)?;
                        }
                        Ok(0)
                    })?;
                    new.family = family;
                    made = Some(new);
                    sim.hook("socket_post_create", &[new.socket, family.number(), kind, 0, 0])
                })?;
                if refused < 0 {
                    return Ok(refused);
                }
                let file = made.map_or(0, |m| m.file);
                // `sock_alloc_file` keeps that it is not to wait.
                sim.set_object(file, "file", &[("f_flags", (READ_WRITE | flags & NONBLOCK).into())])?;
                sim.leaf("fd_install", &[fd, file], 0)?;
                Ok(fd.cast_signed())
            })
        })?;
        Ok(made.filter(|_| ret >= 0).ok_or(ret))
    }

    /// The structures of a new socket.
    fn new(sim: &mut Simulation<'_>, family: Family, stream: bool, fd: u64) -> Result<Self, Error> {
        let whole = if stream { "tcp_sock" } else { "udp_sock" };
        let mut sock = 0;
        for name in [whole, "inet_sock", "sock"] {
            let known = sim.bpf.machine().object(name).build().ok();
            if let Some(object) = known {
                sock = object.addr;
                break;
            }
        }
        if sock == 0 {
            sock = sim.kernel_bytes(&[])?;
        }
        let protocol: u64 = if stream { 6 } else { 17 };
        let kind: u64 = if stream { 1 } else { 2 };
        let socket = sim
            .object("socket", &[("sk", sock.into()), ("type", kind.into()), ("state", UNCONNECTED.into())])?;
        sim.set_object(
            sock,
            "sock",
            &[
                ("__sk_common.skc_family", family.number().into()),
                ("__sk_common.skc_state", tcp::CLOSED.into()),
                ("sk_protocol", protocol.into()),
                ("sk_type", kind.into()),
                ("sk_socket", socket.into()),
            ],
        )?;
        // Where the network namespace is, whose inode some tools compare.
        let inode = u64::from(sim.bpf.machine().kernel.state.current().ns.net);
        sim.set_object(sock, "sock", &[("__sk_common.skc_net.net.ns.inum", inode.into())])?;
        let file = sim.file("socket:", READ_WRITE, 0)?;
        // Its name is its protocol's (`sock_alloc_file`).
        let dentry = sim.member(file, "file", "f_path.dentry");
        let name = match (stream, family) {
            (true, Family::V4) => "TCP",
            (true, Family::V6) => "TCPv6",
            (false, Family::V4) => "UDP",
            (false, Family::V6) => "UDPv6",
        };
        let text = sim.kernel_bytes(name.as_bytes())?;
        let members: &[(&str, Value)] =
            &[("d_name.name", text.into()), ("d_name.len", (name.len() as u64).into())];
        sim.set_object(dentry, "dentry", members)?;
        sim.set_object(file, "file", &[("private_data", socket.into())])?;
        sim.set_object(socket, "socket", &[("file", file.into())])?;
        Ok(Self { family, fd, file, socket, sock })
    }

    /// What the socket is connected with, or bound to; 0 is no port.
    fn set_ports(&self, sim: &mut Simulation<'_>, local: u16, remote: u16) -> Result<(), Error> {
        let mut members: Vec<(&str, Value)> =
            vec![("__sk_common.skc_num", local.into()), ("__sk_common.skc_dport", remote.to_be().into())];
        let here = |port: u16, to: &'static str, to6: &'static str| match self.family {
            Family::V4 if port != 0 => Some((to, Value::from(u32::from_le_bytes(LOOPBACK4)))),
            Family::V6 if port != 0 => Some((to6, Value::from(LOOPBACK6.to_vec()))),
            _ => None,
        };
        members.extend(here(local, "__sk_common.skc_rcv_saddr", "__sk_common.skc_v6_rcv_saddr"));
        members.extend(here(remote, "__sk_common.skc_daddr", "__sk_common.skc_v6_daddr"));
        match self.family {
            // Both are kept for IPv6 too, where there is one to talk to (`sk_daddr_set`, `sk_rcv_saddr_set`).
            Family::V4 if remote != 0 => {
                members.push(("__sk_common.skc_v6_daddr", Value::from(MAPPED4.to_vec())));
                if local != 0 {
                    members.push(("__sk_common.skc_v6_rcv_saddr", Value::from(MAPPED4.to_vec())));
                }
            }
            Family::V6 if local != 0 => {
                members.push(("__sk_common.skc_rcv_saddr", u32::from_le_bytes(OF_IPV6).into()));
            }
            _ => {}
        }
        sim.set_object(self.sock, "sock", &members)?;
        sim.set_object(self.sock, "inet_sock", &[("inet_sport", local.to_be().into())])?;
        if self.family == Family::V4 { self.be_local(sim) } else { Ok(()) }
    }

    /// It has an address of its own: that of a socket that connects over IPv6 is none for IPv4.
    fn be_local(&self, sim: &mut Simulation<'_>) -> Result<(), Error> {
        let saddr = u32::from_le_bytes(if self.family == Family::V4 { LOOPBACK4 } else { OF_IPV6 });
        sim.set_object(self.sock, "inet_sock", &[("inet_saddr", saddr.into())])
    }

    /// `close()`, down to the protocol's.
    fn close(
        &self,
        sim: &mut Simulation<'_>,
        end: impl FnOnce(&mut Simulation<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (family, socket) = (self.family, self.socket);
        let inode = sim.member(self.file, "file", "f_inode");
        closing(sim, self.fd, self.file, |sim| {
            let release = |sim: &mut Simulation<'_>| {
                sim.function("inet_release", &[socket], |sim| {
                    end(sim)?;
                    Ok(0)
                })
            };
            sim.function("sock_close", &[inode, self.file], |sim| {
                sim.function("__sock_release", &[socket, inode], |sim| match family {
                    Family::V4 => release(sim),
                    Family::V6 => sim.function("inet6_release", &[socket], release),
                })
            })?;
            Ok(())
        })
    }
}

/// `sendto()`, down to the protocol's function.
fn send(
    sim: &mut Simulation<'_>,
    from: &Socket,
    bytes: &[u8],
    to: Option<u16>,
    protocol: &str,
    end: impl FnOnce(&mut Simulation<'_>) -> Result<i64, Error>,
) -> Result<i64, Error> {
    let buf = sim.user_bytes(bytes)?;
    let address = to.map(|port| from.family.address(port)).unwrap_or_default();
    let name = if to.is_some() { sim.user_bytes(&address)? } else { 0 };
    let len = bytes.len() as u64;
    let args = [from.fd, buf, len, 0, name, address.len() as u64];
    sim.syscall("sendto", &args, |sim| {
        sim.function("__sys_sendto", &args, |sim| {
            let message = sim.message(&address, len)?;
            let refused = sim.hook("socket_sendmsg", &[from.socket, message, len])?;
            if refused < 0 {
                return Ok(refused);
            }
            // Before it had functions of its own, UDP over IPv6 used those of IPv4.
            let inet = from.family.name("inet_sendmsg", "inet6_sendmsg");
            sim.function(inet, &[from.socket, message, len], |sim| {
                if to.is_some() {
                    // It gets a port, if it has none (`inet_autobind`).
                    sim.set_object(from.sock, "sock", &[("__sk_common.skc_num", AUTOBOUND.into())])?;
                }
                sim.function(protocol, &[from.sock, message, len], end)
            })
        })
    })
}

/// What `recvfrom()` is asked for and what is there.
struct Receive<'a> {
    bytes: &'a [u8],
    /// Nothing has come, though these bytes were sent.
    lost: bool,
    flags: u64,
    protocol: &'a str,
}

/// `recvfrom()`, down to the protocol's function.
fn receive(
    sim: &mut Simulation<'_>,
    socket: &Socket,
    what: &Receive<'_>,
    end: impl FnOnce(&mut Simulation<'_>) -> Result<(), Error>,
) -> Result<i64, Error> {
    const EAGAIN: i64 = 11;
    let Receive { bytes: got, lost, flags, protocol } = *what;
    let (room, got_len) = (got.len() as u64, got.len() as i64);
    let buf = sim.user_bytes(&vec![0; got.len()])?;
    let args = [socket.fd, buf, room, flags, 0, 0];
    sim.syscall("recvfrom", &args, |sim| {
        sim.function("__sys_recvfrom", &args, |sim| {
            let message = sim.message(&[], room)?;
            sim.function("sock_recvmsg", &[socket.socket, message, flags], |sim| {
                let refused = sim.hook("socket_recvmsg", &[socket.socket, message, room, flags])?;
                if refused < 0 {
                    return Ok(refused);
                }
                let inet = socket.family.name("inet_recvmsg", "inet6_recvmsg");
                sim.function(inet, &[socket.socket, message, room, flags], |sim| {
                    let len = sim.kernel_bytes(&[])?;
                    // Whether it may wait was an argument of its own before 5.19.
                    let args = if sim.since(5, 19) {
                        vec![socket.sock, message, room, flags, len]
                    } else {
                        let waits_not = flags & DONT_WAIT;
                        vec![socket.sock, message, room, waits_not, flags & !DONT_WAIT, len]
                    };
                    sim.function(protocol, &args, |sim| {
                        if lost {
                            return Ok(-EAGAIN);
                        }
                        if let Some(user) = sim.bpf.machine().kernel.state.current_user_mut() {
                            // A task without memory gets nothing.
                            let _ = user.write(buf, got);
                        }
                        end(sim)?;
                        Ok(got_len)
                    })
                })
            })
        })
    })
}

impl Simulation<'_> {
    /// A packet of so many bytes, counted from the header that is looked at.
    fn skb(&mut self, len: u64) -> Result<u64, Error> {
        self.object("sk_buff", &[("len", len.into())])
    }

    /// `struct msghdr`, with the address that it is for.
    fn message(&mut self, address: &[u8], len: u64) -> Result<u64, Error> {
        let name = if address.is_empty() { 0 } else { self.kernel_bytes(address)? };
        self.object(
            "msghdr",
            &[
                ("msg_name", name.into()),
                ("msg_namelen", (address.len() as u64).into()),
                ("msg_iter.count", len.into()),
            ],
        )
    }
}
