//! Call stacks as stack helpers see them (`kernel/bpf/stackmap.c`), by task.

use std::collections::BTreeMap;

/// The stacks of one task, innermost address first.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TaskStacks {
    /// In the kernel.
    pub kernel: Vec<u64>,
    /// In user space; empty means that none can be read.
    pub user: Vec<u64>,
}

/// Where a user address lies, for `BPF_F_USER_BUILD_ID`.
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

/// The stacks of all tasks.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Stacks {
    /// For tasks without stacks of their own.
    pub default: TaskStacks,
    /// By thread id.
    pub tasks: BTreeMap<u32, TaskStacks>,
    /// The files that user addresses belong to.
    pub mappings: Vec<BuildIdMapping>,
}

/// `sysctl_perf_event_max_stack`: more frames are never seen.
pub const PERF_MAX_STACK_DEPTH: usize = 127;

impl Stacks {
    /// The stacks of a task.
    #[must_use]
    pub fn of(&self, tid: u32) -> &TaskStacks {
        self.tasks.get(&tid).unwrap_or(&self.default)
    }

    /// A frame as `struct bpf_stack_build_id`.
    #[must_use]
    pub fn build_id(&self, ip: u64) -> [u8; 32] {
        let mut out = [0; 32];
        let found = self.mappings.iter().find(|m| (m.start..m.end).contains(&ip));
        let (status, rest) = match found {
            // BPF_STACK_BUILD_ID_VALID, with the offset in the file.
            Some(m) => (1u32, (ip - m.start).wrapping_add(m.offset)),
            // BPF_STACK_BUILD_ID_IP, with the address.
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
