//! A TCP connection on the loopback, both of its ends in one task (`net/ipv4/tcp.c`, `tcp_input.c`, `tcp_ipv4.c`).

use bpf_helpers_mock::objects::Value;

use super::wire::{ACK, End, FIN, PSH, RST, SYN, Way, Wire};
use super::{
    CLOEXEC, CONNECTED, DONT_WAIT, Family, LOOPBACK4, LOOPBACK6, MAPPED4, NONBLOCK, OF_IPV6, READ_WRITE,
    Receive, Socket, receive, send,
};
use crate::error::Error;
use crate::stimulus::simulation::{STEP_NS, Simulation};
use crate::stimulus::{Action, Real, Stimulated, real};

/// States of a connection (`include/net/tcp_states.h`).
const ESTABLISHED: u64 = 1;
const SYN_SENT: u64 = 2;
const SYN_RECV: u64 = 3;
const FIN_WAIT1: u64 = 4;
const FIN_WAIT2: u64 = 5;
pub(super) const CLOSED: u64 = 7;
const CLOSE_WAIT: u64 = 8;
const LAST_ACK: u64 = 9;
const LISTEN: u64 = 10;
/// Where the ports on the simulator begin, on which all are free: that of a listener, and that of a client.
const SERVER: u16 = 40_000;
const CLIENT: u16 = 50_000;
/// The descriptors of listener, client and the accepted one.
const FDS: [u64; 3] = [3, 4, 5];
const ECONNREFUSED: i64 = 111;
const EINVAL: i64 = 22;
/// The size of a header, of the options that every packet has (times), and of those of the first two.
const TCP_HEADER: u64 = 20;
const OPTIONS: u64 = 12;
const SYN_OPTIONS: u64 = 20;
/// A port of the privileged ones that nobody listens at (`tcpmux`).
const REFUSED: u16 = 1;

/// A connection; see [`Stimulus::tcp`](crate::stimulus::Stimulus::tcp).
#[derive(Clone, Debug)]
pub struct Tcp {
    family: Family,
    refused: bool,
    bytes: Vec<u8>,
}

impl Tcp {
    pub(crate) fn v4() -> Self {
        Self { family: Family::V4, refused: false, bytes: b"ping".to_vec() }
    }

    pub(crate) fn v6() -> Self {
        Self { family: Family::V6, ..Self::v4() }
    }

    /// Nobody listens: `connect` to port 1 fails with `-ECONNREFUSED`, and there is no listener.
    #[must_use]
    pub fn refused(mut self) -> Self {
        self.refused = true;
        self
    }

    /// What the client sends; `ping` if nothing is said.
    #[must_use]
    pub fn sending(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.bytes = bytes.into();
        self
    }
}

impl Action for Tcp {
    /// `ret` is what `connect` has returned; a kernel that gets no answer gives up after about two minutes. The values are
    /// `port` and `local_port`; `accept4`, if that has failed, as it does when the connection is not there in two seconds;
    /// `sendto` and `recvfrom`, what these have returned.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        if self.refused {
            return self.be_refused(sim);
        }
        let ports = (free_port(sim, SERVER), free_port(sim, CLIENT));
        let mut done = Stimulated::default().with("port", ports.0.into()).with("local_port", ports.1.into());
        let listener = match listen(sim, self.family, ports.0)? {
            Ok(listener) => listener,
            Err(ret) => return Ok(Stimulated { ret, ..done }),
        };
        let client = match Socket::open(sim, self.family, true, FDS[1], 0)? {
            Ok(client) => client,
            Err(ret) => return Ok(Stimulated { ret, ..done }),
        };
        let server = Socket::new(sim, self.family, true, FDS[2])?;
        let wire = Wire::new(self.family, ports);
        done.ret = connect(sim, &client, ports, (&wire, Some(&listener)), |sim| {
            answered(sim, &client, (&listener, &server), ports, &wire)?;
            Ok(0)
        })?;
        if done.ret == 0 {
            let accepted = accept(sim, &listener, &server)?;
            if accepted < 0 {
                // The other end goes with the listener.
                done = done.with("accept4", accepted.cast_unsigned());
                client.close(sim, |sim| {
                    close_tcp(sim, &client, |sim| set_state(sim, &client, ESTABLISHED, FIN_WAIT1))
                })?;
            } else {
                let (sent, received) = talk(sim, &client, &server, &self.bytes, &wire)?;
                done = done.with("sendto", sent.cast_unsigned()).with("recvfrom", received.cast_unsigned());
                close_client(sim, &client, &server, &wire)?;
                close_server(sim, &client, &server, &wire)?;
            }
        } else {
            client.close(sim, |_| Ok(()))?;
        }
        listener
            .close(sim, |sim| close_tcp(sim, &listener, |sim| set_state(sim, &listener, LISTEN, CLOSED)))?;
        Ok(done)
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        let port = self.refused.then_some(REFUSED);
        real::tcp(self.family, port, &self.bytes)
    }
}

impl Tcp {
    fn be_refused(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let ports = (REFUSED, free_port(sim, CLIENT));
        let done = Stimulated::default().with("port", REFUSED.into()).with("local_port", ports.1.into());
        let client = match Socket::open(sim, self.family, true, FDS[0], 0)? {
            Ok(client) => client,
            Err(ret) => return Ok(Stimulated { ret, ..done }),
        };
        let wire = Wire::new(self.family, ports);
        let ret = connect(sim, &client, ports, (&wire, None), |sim| {
            let reset = sim.skb(TCP_HEADER)?;
            sim.function("tcp_rcv_state_process", &[client.sock, reset], |sim| {
                sim.function("tcp_reset", &[client.sock, reset], |sim| {
                    sim.function("tcp_done", &[client.sock], |sim| {
                        set_state(sim, &client, SYN_SENT, CLOSED)?;
                        Ok(0)
                    })
                })
            })?;
            // It is as new, but for whom it has asked (`tcp_disconnect`).
            sim.set_object(
                client.sock,
                "sock",
                &[
                    ("__sk_common.skc_num", 0.into()),
                    ("__sk_common.skc_dport", 0.into()),
                    ("__sk_common.skc_rcv_saddr", 0.into()),
                ],
            )?;
            Ok(-ECONNREFUSED)
        })?;
        client.close(sim, |sim| close_tcp(sim, &client, |_| Ok(())))?;
        Ok(Stimulated { ret, ..done })
    }
}

/// A port that no connection before had: they follow the clock.
fn free_port(sim: &mut Simulation<'_>, first: u16) -> u16 {
    let steps = sim.bpf.now() / STEP_NS % 10_000;
    first + u16::try_from(steps).unwrap_or(0)
}

/// `socket`, `bind`, `listen`, `getsockname`.
fn listen(sim: &mut Simulation<'_>, family: Family, port: u16) -> Result<Result<Socket, i64>, Error> {
    let listener = match Socket::open(sim, family, true, FDS[0], NONBLOCK)? {
        Ok(listener) => listener,
        Err(ret) => return Ok(Err(ret)),
    };
    let address = family.address(0);
    let (name, len) = (sim.user_bytes(&address)?, address.len() as u64);
    sim.syscall("bind", &[FDS[0], name, len], |sim| {
        sim.function("__sys_bind", &[FDS[0], name, len], |sim| {
            let kernel = sim.kernel_bytes(&address)?;
            let refused = sim.hook("socket_bind", &[listener.socket, kernel, len])?;
            if refused < 0 {
                return Ok(refused);
            }
            sim.leaf(family.name("inet_bind", "inet6_bind"), &[listener.socket, kernel, len], 0)
        })
    })?;
    listener.set_ports(sim, port, 0)?;
    listener.be_local(sim)?;
    sim.syscall("listen", &[FDS[0], 1], |sim| {
        sim.function("__sys_listen", &[FDS[0], 1], |sim| {
            let refused = sim.hook("socket_listen", &[listener.socket, 1])?;
            if refused < 0 {
                return Ok(refused);
            }
            sim.function("inet_listen", &[listener.socket, 1], |sim| {
                sim.function("inet_csk_listen_start", &[listener.sock, 1], |sim| {
                    state_record(sim, &listener, CLOSED, LISTEN)?;
                    Ok(0)
                })
            })
        })
    })?;
    let (name, room) = (sim.user_bytes(&[0; 28])?, sim.user_bytes(&28u32.to_le_bytes())?);
    sim.syscall("getsockname", &[FDS[0], name, room], |_| Ok(0))?;
    Ok(Ok(listener))
}

/// `connect`, with the packet that arrives at the listener on the way; `answer` is what comes back for it.
fn connect(
    sim: &mut Simulation<'_>,
    client: &Socket,
    (port, local): (u16, u16),
    (wire, listener): (&Wire, Option<&Socket>),
    answer: impl FnOnce(&mut Simulation<'_>) -> Result<i64, Error>,
) -> Result<i64, Error> {
    let family = client.family;
    let address = family.address(port);
    let (name, len) = (sim.user_bytes(&address)?, address.len() as u64);
    sim.syscall("connect", &[client.fd, name, len], |sim| {
        sim.function("__sys_connect", &[client.fd, name, len], |sim| {
            let kernel = sim.kernel_bytes(&address)?;
            let refused = sim.hook("socket_connect", &[client.socket, kernel, len])?;
            if refused < 0 {
                return Ok(refused);
            }
            sim.function("inet_stream_connect", &[client.socket, kernel, len, 2], |sim| {
                sim.function("__inet_stream_connect", &[client.socket, kernel, len, 2, 0], |sim| {
                    let function = family.name("tcp_v4_connect", "tcp_v6_connect");
                    sim.function(function, &[client.sock, kernel, len], |sim| {
                        // The state changes before there is a local port.
                        client.set_ports(sim, 0, port)?;
                        local_address(sim, client)?;
                        set_state(sim, client, CLOSED, SYN_SENT)?;
                        client.set_ports(sim, local, port)?;
                        sim.function("tcp_connect", &[client.sock], |sim| {
                            let Some(listener) = listener else {
                                // No socket takes it, so none's control group sees it arrive.
                                wire.send(sim, End::Client, SYN, &[], &[Way::Out])?;
                                wire.cross(sim, End::Server, RST | ACK, &[])?;
                                return Ok(0);
                            };
                            wire.cross(sim, End::Client, SYN, &[])?;
                            let packet = sim.skb(TCP_HEADER + SYN_OPTIONS)?;
                            let request = family.name("tcp_v4_conn_request", "tcp_v6_conn_request");
                            sim.function("tcp_rcv_state_process", &[listener.sock, packet], |sim| {
                                sim.leaf(request, &[listener.sock, packet], 0)?;
                                // Until some version between 6.1 and 6.12 one of IPv6 left unseen, because it is not of the
                                // listener but of a request.
                                let seen = family == Family::V4 || sim.since(6, 6);
                                let ways = if seen { &[Way::Out, Way::In][..] } else { &[Way::In] };
                                wire.send(sim, End::Server, SYN | ACK, &[], ways)?;
                                Ok(0)
                            })
                        })
                    })?;
                    // The answer has waited for the lock.
                    let answer = answer(sim)?;
                    if answer == 0 {
                        sim.set_object(client.socket, "socket", &[("state", CONNECTED.into())])?;
                    }
                    Ok(answer)
                })
            })
        })
    })
}

/// The route gives the socket its own address.
fn local_address(sim: &mut Simulation<'_>, client: &Socket) -> Result<(), Error> {
    let (v4, v6) = match client.family {
        Family::V4 => (LOOPBACK4, MAPPED4),
        Family::V6 => (OF_IPV6, LOOPBACK6),
    };
    let members = &[
        ("__sk_common.skc_rcv_saddr", Value::from(u32::from_le_bytes(v4))),
        ("__sk_common.skc_v6_rcv_saddr", Value::from(v6.to_vec())),
    ];
    sim.set_object(client.sock, "sock", members)
}

/// The handshake's other two packets, and the socket that comes of them.
fn answered(
    sim: &mut Simulation<'_>,
    client: &Socket,
    (listener, server): (&Socket, &Socket),
    (port, local): (u16, u16),
    wire: &Wire,
) -> Result<(), Error> {
    let packet = sim.skb(TCP_HEADER + SYN_OPTIONS)?;
    sim.function("tcp_rcv_state_process", &[client.sock, packet], |sim| {
        sim.function("tcp_finish_connect", &[client.sock, packet], |sim| {
            set_state(sim, client, SYN_SENT, ESTABLISHED)?;
            Ok(0)
        })?;
        wire.cross(sim, End::Client, ACK, &[])?;
        // The acknowledgement arrives at the listener while the client is still at it. Until some version between 6.12
        // and 6.16 the new socket does not know its peer when it leaves the listener's state.
        let create = client.family.name("tcp_v4_syn_recv_sock", "tcp_v6_syn_recv_sock");
        server.be_local(sim)?;
        let packet = sim.skb(TCP_HEADER + OPTIONS)?;
        let (request, own) = (sim.object("request_sock", &[])?, sim.kernel_bytes(&[])?);
        sim.function(create, &[listener.sock, packet, request, 0, request, own], |sim| {
            if !sim.since(6, 16) {
                server.set_ports(sim, port, 0)?;
                state_record(sim, server, LISTEN, SYN_RECV)?;
            }
            server.set_ports(sim, port, local)?;
            if server.family == Family::V6 {
                let addr = u32::from_le_bytes(OF_IPV6);
                sim.set_object(server.sock, "sock", &[("__sk_common.skc_daddr", addr.into())])?;
            }
            if sim.since(6, 16) {
                state_record(sim, server, LISTEN, SYN_RECV)?;
            }
            Ok(server.sock.cast_signed())
        })?;
        sim.function("tcp_child_process", &[listener.sock, server.sock, packet], |sim| {
            sim.function("tcp_rcv_state_process", &[server.sock, packet], |sim| {
                set_state(sim, server, SYN_RECV, ESTABLISHED)?;
                Ok(0)
            })
        })
    })?;
    Ok(())
}

fn accept(sim: &mut Simulation<'_>, listener: &Socket, server: &Socket) -> Result<i64, Error> {
    let args = [listener.fd, 0, 0, CLOEXEC];
    let flags = READ_WRITE | NONBLOCK;
    sim.syscall("accept4", &args, |sim| {
        sim.function("__sys_accept4", &args, |sim| {
            // The new socket is empty yet.
            sim.set_object(server.socket, "socket", &[("sk", 0.into())])?;
            let refused = sim.hook("socket_accept", &[listener.socket, server.socket])?;
            if refused < 0 {
                return Ok(refused);
            }
            // Since 6.10 flags and error are in a structure.
            let (outer, inner) = if sim.since(6, 10) {
                // Until some version between 6.12 and 6.16 it was set already.
                let error = if sim.since(6, 16) { 0 } else { -EINVAL };
                let members = &[("flags", flags.into()), ("err", error.into())];
                let arg = sim.object("proto_accept_arg", members)?;
                (vec![arg], vec![arg])
            } else {
                let error = sim.kernel_bytes(&[])?;
                (vec![flags, 0], vec![flags, error, 0])
            };
            let outer = [vec![listener.socket, server.socket], outer].concat();
            sim.function("inet_accept", &outer, |sim| {
                if let [arg] = *inner {
                    sim.set_object(arg, "proto_accept_arg", &[("err", (-EINVAL).into())])?;
                }
                let inner = [vec![listener.sock], inner].concat();
                sim.leaf("inet_csk_accept", &inner, server.sock.cast_signed())?;
                let members = &[("sk", server.sock.into()), ("state", CONNECTED.into())];
                sim.set_object(server.socket, "socket", members)?;
                Ok(0)
            })?;
            sim.leaf("fd_install", &[server.fd, server.file], 0)?;
            Ok(server.fd.cast_signed())
        })
    })
}

/// The client's bytes on their way, and read, if there are any: what sending and receiving have returned.
fn talk(
    sim: &mut Simulation<'_>,
    client: &Socket,
    server: &Socket,
    bytes: &[u8],
    wire: &Wire,
) -> Result<(i64, i64), Error> {
    let len = bytes.len() as u64;
    let sent = send(sim, client, bytes, None, "tcp_sendmsg", |sim| {
        wire.cross(sim, End::Client, PSH | ACK, bytes)?;
        let packet = sim.skb(TCP_HEADER + OPTIONS + len)?;
        sim.leaf("tcp_rcv_established", &[server.sock, packet], 0)?;
        wire.cross(sim, End::Server, ACK, &[])?;
        let packet = sim.skb(TCP_HEADER + OPTIONS)?;
        sim.set_object(server.sock, "tcp_sock", &[("bytes_received", len.into())])?;
        // The acknowledgement waits for the lock.
        sim.leaf("tcp_rcv_established", &[client.sock, packet], 0)?;
        sim.set_object(
            client.sock,
            "tcp_sock",
            &[("bytes_acked", (len + 1).into()), ("bytes_sent", len.into())],
        )?;
        Ok(len.cast_signed())
    })?;
    if sent <= 0 {
        return Ok((sent, 0));
    }
    let what = Receive { bytes, lost: false, flags: DONT_WAIT, protocol: "tcp_recvmsg" };
    let received = receive(sim, server, &what, |sim| {
        sim.leaf("tcp_cleanup_rbuf", &[server.sock, len], 0)?;
        Ok(())
    })?;
    Ok((sent, received))
}

/// `tcp_close`, with what it does.
fn close_tcp(
    sim: &mut Simulation<'_>,
    socket: &Socket,
    inner: impl FnOnce(&mut Simulation<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    sim.function("tcp_close", &[socket.sock, 0], |sim| {
        inner(sim)?;
        Ok(0)
    })?;
    Ok(())
}

/// The client closes first: the server learns of it.
fn close_client(
    sim: &mut Simulation<'_>,
    client: &Socket,
    server: &Socket,
    wire: &Wire,
) -> Result<(), Error> {
    client.close(sim, |sim| {
        close_tcp(sim, client, |sim| {
            set_state(sim, client, ESTABLISHED, FIN_WAIT1)?;
            wire.cross(sim, End::Client, FIN | ACK, &[])?;
            let packet = sim.skb(TCP_HEADER + OPTIONS)?;
            sim.function("tcp_rcv_established", &[server.sock, packet], |sim| {
                count(sim, server, "bytes_received")?;
                sim.function("tcp_fin", &[server.sock], |sim| {
                    set_state(sim, server, ESTABLISHED, CLOSE_WAIT)?;
                    Ok(0)
                })
            })?;
            Ok(())
        })
    })
}

/// Then the server; its last packet ends the client's socket too.
fn close_server(
    sim: &mut Simulation<'_>,
    client: &Socket,
    server: &Socket,
    wire: &Wire,
) -> Result<(), Error> {
    server.close(sim, |sim| {
        close_tcp(sim, server, |sim| {
            set_state(sim, server, CLOSE_WAIT, LAST_ACK)?;
            wire.cross(sim, End::Server, FIN | ACK, &[])?;
            let packet = sim.skb(TCP_HEADER + OPTIONS)?;
            sim.function("tcp_rcv_state_process", &[client.sock, packet], |sim| {
                count(sim, client, "bytes_acked")?;
                set_state(sim, client, FIN_WAIT1, FIN_WAIT2)?;
                count(sim, client, "bytes_received")?;
                sim.function("tcp_fin", &[client.sock], |sim| {
                    wire.cross(sim, End::Client, ACK, &[])?;
                    sim.function("tcp_time_wait", &[client.sock, 6, 0], |sim| done(sim, client, FIN_WAIT2))
                })
            })?;
            sim.function("tcp_rcv_state_process", &[server.sock, packet], |sim| {
                count(sim, server, "bytes_acked")?;
                done(sim, server, LAST_ACK)
            })?;
            Ok(())
        })
    })
}

fn done(sim: &mut Simulation<'_>, socket: &Socket, from: u64) -> Result<i64, Error> {
    sim.function("tcp_done", &[socket.sock], |sim| {
        set_state(sim, socket, from, CLOSED)?;
        Ok(0)
    })
}

/// The end of a stream counts as a byte of it.
fn count(sim: &mut Simulation<'_>, socket: &Socket, member: &str) -> Result<(), Error> {
    let machine = sim.bpf.machine();
    let Ok(object) = machine.object_at(socket.sock, "tcp_sock") else { return Ok(()) };
    let bytes = machine.read_object(object, member).unwrap_or(0);
    sim.set_object(socket.sock, "tcp_sock", &[(member, Value::Int(bytes + 1))])
}

/// `tcp_set_state`.
fn set_state(sim: &mut Simulation<'_>, socket: &Socket, from: u64, to: u64) -> Result<(), Error> {
    sim.function("tcp_set_state", &[socket.sock, to], |sim| {
        state_record(sim, socket, from, to)?;
        Ok(0)
    })?;
    Ok(())
}

/// `sock:inet_sock_set_state`; the state changes behind it.
fn state_record(sim: &mut Simulation<'_>, socket: &Socket, from: u64, to: u64) -> Result<(), Error> {
    let (sport, dport) = ports(sim, socket);
    let remote = dport != 0;
    let v4 = match socket.family {
        Family::V4 => LOOPBACK4,
        Family::V6 => (sim.member(socket.sock, "inet_sock", "inet_saddr") as u32).to_le_bytes(),
    };
    // Only sockets that come of a listener have it for IPv6 too.
    let daddr = (sim.member(socket.sock, "sock", "__sk_common.skc_daddr") as u32).to_le_bytes();
    let v6: &[u8] = if socket.family == Family::V4 { &MAPPED4 } else { &LOOPBACK6 };
    let none: &[u8] = if socket.family == Family::V4 { &MAPPED4[..12] } else { &[] };
    let fields: &[(&str, Value)] = &[
        ("skaddr", socket.sock.into()),
        ("oldstate", from.into()),
        ("newstate", to.into()),
        ("sport", sport.into()),
        ("dport", dport.into()),
        ("family", socket.family.number().into()),
        ("protocol", 6.into()),
        ("saddr", Value::Bytes(v4.to_vec())),
        ("daddr", Value::Bytes(daddr.to_vec())),
        ("saddr_v6", v6.into()),
        ("daddr_v6", if remote { v6.into() } else { none.into() }),
    ];
    sim.tracepoint("sock", "inet_sock_set_state", fields, &[socket.sock, from, to])?;
    sim.set_object(socket.sock, "sock", &[("__sk_common.skc_state", to.into())])
}

/// The ports as the socket has them: they are set step by step.
fn ports(sim: &mut Simulation<'_>, socket: &Socket) -> (u16, u16) {
    let machine = sim.bpf.machine();
    let Ok(object) = machine.object_at(socket.sock, "sock") else { return (0, 0) };
    let mut read = |path: &str| machine.read_object(object, path).ok().and_then(|v| u16::try_from(v).ok());
    let local = read("__sk_common.skc_num").unwrap_or(0);
    let remote = read("__sk_common.skc_dport").unwrap_or(0);
    (local, u16::from_be(remote))
}
