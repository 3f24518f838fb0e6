//! Packets between sockets on the loopback, as control groups see them: behind the socket on their way out
//! (`ip_finish_output`, `ip6_finish_output`), before it on their way in (`sk_filter_trim_cap`, `udp_queue_rcv_one_skb`).

use std::cell::Cell;

use super::{Family, LOOPBACK4, LOOPBACK6};
use crate::bpf::Point;
use crate::error::Error;
use crate::stimulus::network::{Network, Passage};
use crate::stimulus::simulation::{Occasion, Simulation};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ETH_HLEN: usize = 14;
/// What is known to leave in one piece: the kernel may cut what is longer, and its pieces depend on its buffers.
const WHOLE: usize = 16 << 10;

// Flags of a segment.
pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Out,
    In,
}

/// A packet passes the control group one way, if a program is there; false if it is kept.
fn pass(sim: &mut Simulation<'_>, frame: &[u8], way: Way) -> Result<bool, Error> {
    let lo = Network::loopback().receiver;
    let passage = match way {
        Way::Out => Passage::egress(&lo),
        Way::In => Passage::ingress(&lo, frame),
    };
    let occasion = Occasion { packet: frame.to_vec(), passage: Some(passage), ..Occasion::default() };
    Ok(sim.also(Point::CgroupSkb, &occasion)?.is_none_or(|verdict| verdict & 1 == 1))
}

/// A datagram from a port to another.
pub(super) struct Datagram(Vec<u8>);

impl Datagram {
    pub(super) fn new(family: Family, from: u16, to: u16, bytes: &[u8]) -> Self {
        let len = u16::try_from(bytes.len() + 8).unwrap_or(u16::MAX);
        let mut udp = Vec::new();
        for word in [from, to, len, 0] {
            udp.extend(word.to_be_bytes());
        }
        udp.extend(bytes);
        Self(frame(family, UDP, udp, 6))
    }

    pub(super) fn pass(&self, sim: &mut Simulation<'_>, way: Way) -> Result<bool, Error> {
        pass(sim, &self.0, way)
    }
}

/// Who of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Client,
    Server,
}

/// The segments of a connection.
pub(super) struct Wire {
    family: Family,
    /// The ports of client and server.
    ports: [u16; 2],
    /// What they number their next bytes.
    next: Cell<[u32; 2]>,
}

impl Wire {
    pub(super) fn new(family: Family, (server, client): (u16, u16)) -> Self {
        Self { family, ports: [client, server], next: Cell::new([0x1000_0000, 0x2000_0000]) }
    }

    /// An end sends a segment and the other receives it.
    pub(super) fn cross(
        &self,
        sim: &mut Simulation<'_>,
        from: End,
        flags: u8,
        data: &[u8],
    ) -> Result<(), Error> {
        self.send(sim, from, flags, data, &[Way::Out, Way::In])
    }

    /// As [`Wire::cross`], seen only on some of its ways.
    pub(super) fn send(
        &self,
        sim: &mut Simulation<'_>,
        from: End,
        flags: u8,
        data: &[u8],
        ways: &[Way],
    ) -> Result<(), Error> {
        if !sim.bpf.is_attached_at(&Point::CgroupSkb) {
            return Ok(());
        }
        if data.len() > WHOLE {
            return Err(Error::Invalid(format!(
                "{} bytes in one go are not simulated where control groups see packets: into how many a kernel cuts them \
                 depends on its memory; {WHOLE} and less leave in one",
                data.len()
            )));
        }
        let frame = self.segment(from, flags, data);
        for way in ways {
            if !pass(sim, &frame, *way)? {
                return Err(Error::Invalid(
                    "a program of a control group has dropped a segment of a TCP connection: sending it again until time \
                     is up is not simulated; drop datagrams (`Stimulus::udp`), or refuse `connect` by a hook"
                        .to_owned(),
                ));
            }
        }
        Ok(())
    }

    fn segment(&self, from: End, flags: u8, data: &[u8]) -> Vec<u8> {
        let [client, server] = self.ports;
        let [mine, others] = self.next.get();
        let (own, peer, seq, ack) = match from {
            End::Client => (client, server, mine, others),
            End::Server => (server, client, others, mine),
        };
        let options = options(self.family, flags);
        let mut tcp = Vec::new();
        tcp.extend(own.to_be_bytes());
        tcp.extend(peer.to_be_bytes());
        tcp.extend((if flags & RST != 0 { 0 } else { seq }).to_be_bytes());
        tcp.extend((if flags & ACK != 0 { ack } else { 0 }).to_be_bytes());
        let words = u8::try_from((20 + options.len()) / 4).unwrap_or(5);
        tcp.extend([words << 4, flags]);
        // Window, checksum, no urgent data.
        tcp.extend([if flags & RST != 0 { 0 } else { 0xff }, 0, 0, 0, 0, 0]);
        tcp.extend(options);
        tcp.extend(data);
        let counted = u32::try_from(data.len()).unwrap_or(0) + u32::from(flags & (SYN | FIN) != 0);
        self.next.set(match from {
            End::Client => [mine.wrapping_add(counted), others],
            End::Server => [mine, others.wrapping_add(counted)],
        });
        frame(self.family, TCP, tcp, 16)
    }
}

/// The options that Linux sends: largest segment, selective acknowledgements, time stamps (here of time 0) and scale.
fn options(family: Family, flags: u8) -> Vec<u8> {
    let stamp = [8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    match () {
        () if flags & RST != 0 => Vec::new(),
        () if flags & SYN != 0 => {
            // The loopback's MTU, which fits an IPv4 packet, without the headers.
            let mss: u16 = if family == Family::V4 { 65495 } else { 65476 };
            let [high, low] = mss.to_be_bytes();
            [&[2, 4, high, low, 4, 2][..], &stamp, &[1, 3, 3, 7]].concat()
        }
        () => [&[1, 1][..], &stamp].concat(),
    }
}

/// The frame of a packet on the loopback. The checksum, at `check` of the transport's header, is of the addresses only, as
/// the kernel leaves it where no hardware is (`CHECKSUM_PARTIAL`).
fn frame(family: Family, protocol: u8, mut transport: Vec<u8>, check: usize) -> Vec<u8> {
    let len = u16::try_from(transport.len()).unwrap_or(u16::MAX);
    let (kind, header, addresses): (u16, Vec<u8>, &[u8]) = match family {
        Family::V4 => {
            let mut ip = vec![0x45, 0];
            ip.extend((len + 20).to_be_bytes());
            // No number, not to be cut, time to live.
            ip.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            ip.extend(LOOPBACK4);
            ip.extend(LOOPBACK4);
            let sum = !fold(&ip);
            if let Some(place) = ip.get_mut(10..12) {
                place.copy_from_slice(&sum.to_be_bytes());
            }
            (0x0800, ip, &LOOPBACK4)
        }
        Family::V6 => {
            let mut ip = vec![0x60, 0, 0, 0];
            ip.extend(len.to_be_bytes());
            ip.extend([protocol, 64]);
            ip.extend(LOOPBACK6);
            ip.extend(LOOPBACK6);
            (0x86dd, ip, &LOOPBACK6)
        }
    };
    let pseudo = [addresses, addresses, &[0, protocol], &len.to_be_bytes()].concat();
    if let Some(place) = transport.get_mut(check..check + 2) {
        place.copy_from_slice(&fold(&pseudo).to_be_bytes());
    }
    let mut frame = vec![0; ETH_HLEN - 2];
    frame.extend(kind.to_be_bytes());
    frame.extend(header);
    frame.extend(transport);
    frame
}

/// The sum of 16-bit words in ones' complement (RFC 1071).
fn fold(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| match w {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::{ACK, Datagram, End, FIN, Family, SYN, Wire, fold};

    #[test]
    fn a_header_sums_up_to_nothing() {
        let Datagram(frame) = Datagram::new(Family::V4, 1, 2, b"odd");
        assert_eq!(frame.len(), 14 + 20 + 8 + 3);
        assert_eq!(fold(&frame[14..34]), 0xffff);
    }

    #[test]
    fn ends_acknowledge_what_the_other_has_sent() {
        let wire = Wire::new(Family::V6, (80, 5000));
        let numbers = |frame: &[u8]| {
            let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
            (word(14 + 40 + 4) & 0xff, word(14 + 40 + 8) & 0xff)
        };
        assert_eq!(numbers(&wire.segment(End::Client, SYN, b"")), (0, 0));
        assert_eq!(numbers(&wire.segment(End::Server, SYN | ACK, b"")), (0, 1));
        assert_eq!(numbers(&wire.segment(End::Client, ACK, b"four")), (1, 1));
        assert_eq!(numbers(&wire.segment(End::Server, FIN | ACK, b"")), (1, 5));
        assert_eq!(numbers(&wire.segment(End::Client, ACK, b"")), (5, 2));
    }
}
