//! Which file a user address lies in, for stacks by build id (`kernel/bpf/stackmap.c`).

/// A file mapped by a user process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BuildIdMapping {
    /// First address.
    pub start: u64,
    /// Address after the last.
    pub end: u64,
    /// What to add to an address's distance from `start`: the mapping's file offset.
    pub offset: u64,
    /// The file's build id.
    pub build_id: [u8; 20],
}

/// The files that user addresses belong to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct BuildIds(pub Vec<BuildIdMapping>);

/// `sysctl_perf_event_max_stack`: more frames are never seen.
pub const PERF_MAX_STACK_DEPTH: usize = 127;

impl BuildIds {
    /// A frame as `struct bpf_stack_build_id`: build id and offset in the file, or the bare address.
    #[must_use]
    pub fn encode(&self, ip: u64) -> [u8; 32] {
        let mut out = [0; 32];
        let found = self.0.iter().find(|m| (m.start..m.end).contains(&ip));
        let (status, rest) = match found {
            // BPF_STACK_BUILD_ID_VALID
            Some(m) => (1u32, (ip - m.start).wrapping_add(m.offset)),
            // BPF_STACK_BUILD_ID_IP
            None => (2, ip),
        };
        out[..4].copy_from_slice(&status.to_le_bytes());
        if let Some(m) = found {
            out[4..24].copy_from_slice(&m.build_id);
        }
        out[24..].copy_from_slice(&rest.to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{BuildIdMapping, BuildIds};

    #[test]
    fn known_addresses_become_offsets_in_their_file() {
        let file = BuildIdMapping { start: 0x1000, end: 0x2000, offset: 0x400, build_id: [7; 20] };
        let ids = BuildIds(vec![file]);
        let known = ids.encode(0x1010);
        assert_eq!((known[0], known[4], &known[24..]), (1, 7, &0x410u64.to_le_bytes()[..]));
        let unknown = ids.encode(0x2000);
        assert_eq!((unknown[0], unknown[4], &unknown[24..]), (2, 0, &0x2000u64.to_le_bytes()[..]));
    }
}
