//! Sequence files: what iterator programs write to (`fs/seq_file.c`, `kernel/bpf/bpf_iter.c`).

use std::collections::BTreeMap;

/// Bytes that one read of an iterator can hold (`BPF_ITER_DEFAULT_SIZE`, eight pages).
pub const SEQ_SIZE: usize = 8 << 12;

/// One `struct seq_file`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SeqFile {
    buf: Vec<u8>,
    overflowed: bool,
}

impl SeqFile {
    /// Appends all of it or nothing; `false` if it does not fit (then nothing ever will, as `seq_set_overflow`).
    pub fn write(&mut self, data: &[u8]) -> bool {
        self.overflowed |= self.buf.len() + data.len() >= SEQ_SIZE;
        if !self.overflowed {
            self.buf.extend_from_slice(data);
        }
        !self.overflowed
    }

    /// What has been written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Takes what has been written and makes room, as a read does.
    pub fn take(&mut self) -> Vec<u8> {
        self.overflowed = false;
        std::mem::take(&mut self.buf)
    }
}

/// The sequence files by the guest address of their `struct seq_file`.
#[derive(Clone, Default, Debug)]
pub struct SeqFiles {
    by_addr: BTreeMap<u64, SeqFile>,
}

impl SeqFiles {
    /// The file at an address, brought into being if there is none.
    pub fn at(&mut self, addr: u64) -> &mut SeqFile {
        self.by_addr.entry(addr).or_default()
    }

    /// All files in order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &SeqFile)> {
        self.by_addr.iter().map(|(a, f)| (*a, f))
    }
}
