//! Packets: Ethernet frames, well-formed and not.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// The EtherType of IPv4.
const IPV4: u16 = 0x0800;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// An Ethernet frame with any payload of up to 128 bytes.
pub fn ethernet() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(IPV4), Just(0x86dd), Just(0x0806), Just(0x8100), any::<u16>()];
    (any::<[u8; 12]>(), kind, vec(any::<u8>(), 0..128))
        .prop_map(|(addrs, kind, payload)| [&addrs[..], &kind.to_be_bytes(), &payload].concat())
}

/// A well-formed TCP segment over IPv4, with valid checksum of the IP header.
pub fn ipv4_tcp() -> impl Strategy<Value = Vec<u8>> {
    (any::<[u8; 8]>(), any::<[u8; 12]>(), any::<u8>(), vec(any::<u8>(), 0..64)).prop_map(
        |(addrs, head, flags, payload)| {
            // Ports, sequence and acknowledgement numbers; then data offset, flags, window, checksum, urgent pointer.
            let tcp = [&head[..], &[0x50, flags & 0x3f, 0xff, 0xff, 0, 0, 0, 0], &payload].concat();
            ipv4(TCP, addrs, &tcp)
        },
    )
}

/// A well-formed UDP datagram over IPv4, without a checksum of its own.
pub fn ipv4_udp() -> impl Strategy<Value = Vec<u8>> {
    (any::<[u8; 8]>(), any::<[u8; 4]>(), vec(any::<u8>(), 0..64)).prop_map(|(addrs, ports, payload)| {
        let len = (payload.len() as u16 + 8).to_be_bytes();
        let udp = [&ports[..], &len, &[0, 0], &payload].concat();
        ipv4(UDP, addrs, &udp)
    })
}

/// Any of these, now and then cut short anywhere behind the Ethernet header.
pub fn packet() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![ethernet(), ipv4_tcp(), ipv4_udp()];
    (whole, prop_oneof![3 => Just(usize::MAX), 1 => 14usize..64]).prop_map(|(mut packet, len)| {
        packet.truncate(len);
        packet
    })
}

fn ipv4(protocol: u8, addrs: [u8; 8], payload: &[u8]) -> Vec<u8> {
    let total = (payload.len() as u16 + 20).to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    header.extend(addrs);
    let checksum = checksum(&header).to_be_bytes();
    for (to, from) in header.iter_mut().skip(10).zip(checksum) {
        *to = from;
    }
    let ethernet = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &IPV4.to_be_bytes()].concat();
    [ethernet, header, payload.to_vec()].concat()
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, _) = bytes.as_chunks::<2>();
    let sum: u32 = pairs.iter().map(|p| u32::from(u16::from_be_bytes(*p))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::{checksum, ipv4};

    #[test]
    fn the_header_sums_up_to_nothing() {
        let packet = ipv4(6, [10, 0, 0, 1, 10, 0, 0, 2], b"payload");
        assert_eq!(checksum(&packet[14..34]), 0);
    }
}
