//! Packets from capture files: classic pcap, of either byte order, with microseconds or nanoseconds.
//!
//! Source: draft-ietf-opsawg-pcap, section 4.

/// The packets of a capture of Ethernet frames.
pub(super) fn packets(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let magic = bytes.first_chunk::<4>().ok_or("too short for a capture file")?;
    let big = match u32::from_le_bytes(*magic) {
        0xa1b2_c3d4 | 0xa1b2_3c4d => false,
        0xd4c3_b2a1 | 0x4d3c_b2a1 => true,
        0x0a0d_0d0a => return Err("a pcapng file: convert it with `editcap -F pcap`".to_owned()),
        _ => return Err("not a pcap file".to_owned()),
    };
    let word = |at: usize| -> Option<u32> {
        let b = bytes.get(at..)?.first_chunk::<4>()?;
        Some(if big { u32::from_be_bytes(*b) } else { u32::from_le_bytes(*b) })
    };
    const ETHERNET: u32 = 1;
    match word(20) {
        Some(link) if link & 0xffff == ETHERNET => {}
        Some(link) => return Err(format!("link type {} is not Ethernet (1)", link & 0xffff)),
        None => return Err("the file header is cut short".to_owned()),
    }
    let (mut out, mut at) = (Vec::new(), 24);
    while at < bytes.len() {
        let cut = || format!("packet {} is cut short", out.len() + 1);
        let len = word(at + 8).ok_or_else(cut)? as usize;
        let packet = bytes.get(at + 16..).and_then(|b| b.get(..len)).ok_or_else(cut)?;
        out.push(packet.to_vec());
        at += 16 + len;
    }
    if out.is_empty() {
        return Err("a capture without packets".to_owned());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::packets;

    fn capture(packet: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for w in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65535, 1, 0, 0, packet.len() as u32, packet.len() as u32]
        {
            out.extend(w.to_le_bytes());
        }
        out.extend(packet);
        out
    }

    #[test]
    fn reads_packets() {
        assert_eq!(packets(&capture(b"abc")), Ok(vec![b"abc".to_vec()]));
    }

    #[test]
    fn says_what_is_wrong() {
        let whole = capture(b"abc");
        assert_eq!(packets(&whole[..whole.len() - 1]), Err("packet 1 is cut short".to_owned()));
        assert_eq!(packets(&whole[..24]), Err("a capture without packets".to_owned()));
        assert!(packets(b"").is_err());
        assert!(packets(b"\x0a\x0d\x0d\x0a").unwrap_err().contains("pcapng"));
    }
}
