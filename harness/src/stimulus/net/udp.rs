//! A datagram on the loopback (`net/ipv4/udp.c`, `net/ipv6/udp.c`).

use super::wire::{Datagram, Way};
use super::{AUTOBOUND, DONT_WAIT, Family, Receive, Socket, receive, send};
use crate::error::Error;
use crate::stimulus::simulation::Simulation;
use crate::stimulus::{Action, Real, Stimulated, real};

/// The receiver's port on the simulator, where all are free.
const PORT: u16 = 40_002;
const EPERM: i64 = 1;
const FDS: [u64; 2] = [3, 4];
/// The size of a datagram's header.
const UDP_HEADER: u64 = 8;

/// A datagram; see [`Stimulus::udp`](crate::stimulus::Stimulus::udp).
#[derive(Clone, Debug)]
pub struct Udp {
    family: Family,
    bytes: Vec<u8>,
}

impl Udp {
    pub(crate) fn v4() -> Self {
        Self { family: Family::V4, bytes: b"ping".to_vec() }
    }

    pub(crate) fn v6() -> Self {
        Self { family: Family::V6, ..Self::v4() }
    }

    /// What is sent; `ping` if nothing is said.
    #[must_use]
    pub fn sending(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.bytes = bytes.into();
        self
    }
}

impl Action for Udp {
    /// `ret` is what `sendto` has returned; the value `port` is the receiver's, `recvfrom` what that has returned. A control group's program that keeps the
    /// datagram on its way out lets `sendto` fail with `-EPERM`; on its way in it is lost, and both of two attempts to
    /// receive it fail.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let family = self.family;
        let mut done = Stimulated::default().with("port", PORT.into());
        let receiver = match Socket::open(sim, family, false, FDS[0], 0)? {
            Ok(receiver) => receiver,
            Err(ret) => return Ok(Stimulated { ret, ..done }),
        };
        bind(sim, &receiver)?;
        let sender = match Socket::open(sim, family, false, FDS[1], 0)? {
            Ok(sender) => sender,
            Err(ret) => return Ok(Stimulated { ret, ..done }),
        };
        let len = self.bytes.len() as i64;
        let protocol = family.name("udp_sendmsg", "udpv6_sendmsg");
        let datagram = Datagram::new(family, AUTOBOUND, PORT, &self.bytes);
        let mut lost = false;
        let sent = send(sim, &sender, &self.bytes, Some(PORT), protocol, |sim| {
            if !datagram.pass(sim, Way::Out)? {
                return Ok(-EPERM);
            }
            let packet = sim.skb(self.bytes.len() as u64 + UDP_HEADER)?;
            sim.function(family.name("udp_rcv", "udpv6_rcv"), &[packet], |sim| {
                lost = !datagram.pass(sim, Way::In)?;
                if lost {
                    return Ok(0);
                }
                sim.set_object(packet, "sk_buff", &[("len", (self.bytes.len() as u64).into())])?;
                sim.leaf("__udp_enqueue_schedule_skb", &[receiver.sock, packet], 0)
            })?;
            Ok(len)
        })?;
        done.ret = sent;
        if sent == len {
            let protocol = family.name("udp_recvmsg", "udpv6_recvmsg");
            // What was dropped is not waited for.
            let what = Receive { bytes: &self.bytes, lost, flags: DONT_WAIT, protocol };
            for _ in 0..if lost { 2 } else { 1 } {
                let received = receive(sim, &receiver, &what, |_| Ok(()))?;
                done = done.with("recvfrom", received.cast_unsigned());
            }
        }
        sender.close(sim, |_| Ok(()))?;
        receiver.close(sim, |_| Ok(()))?;
        Ok(done)
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::udp(self.family, &self.bytes)
    }
}

/// `bind` and `getsockname`.
fn bind(sim: &mut Simulation<'_>, receiver: &Socket) -> Result<(), Error> {
    let address = receiver.family.address(0);
    let (name, len) = (sim.user_bytes(&address)?, address.len() as u64);
    sim.syscall("bind", &[receiver.fd, name, len], |sim| {
        sim.function("__sys_bind", &[receiver.fd, name, len], |sim| {
            let kernel = sim.kernel_bytes(&address)?;
            let refused = sim.hook("socket_bind", &[receiver.socket, kernel, len])?;
            if refused < 0 {
                return Ok(refused);
            }
            sim.leaf(receiver.family.name("inet_bind", "inet6_bind"), &[receiver.socket, kernel, len], 0)
        })
    })?;
    receiver.set_ports(sim, PORT, 0)?;
    let (name, room) = (sim.user_bytes(&[0; 28])?, sim.user_bytes(&28u32.to_le_bytes())?);
    sim.syscall("getsockname", &[receiver.fd, name, room], |_| Ok(0))?;
    Ok(())
}
