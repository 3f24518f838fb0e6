//! The output streams of programs (`kernel/bpf/stream.c`): what `bpf_stream_printk` writes and user space reads.

use std::collections::BTreeMap;

use crate::errno::Errno;
use crate::progs::ProgId;

/// `BPF_STREAM_MAX_CAPACITY`.
const MAX_CAPACITY: usize = 100_000;

/// The streams of a program (`enum bpf_stream_id`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stream {
    /// `BPF_STDOUT`.
    Stdout,
    /// `BPF_STDERR`.
    Stderr,
}

impl Stream {
    /// A stream by its number.
    #[must_use]
    pub const fn from_id(id: i32) -> Option<Self> {
        match id {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// What programs have written and nobody has read yet.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Streams {
    text: BTreeMap<(ProgId, Stream), Vec<u8>>,
}

impl Streams {
    /// Adds to a stream.
    ///
    /// # Errors
    /// `-ENOSPC` if it would hold 100,000 bytes or more.
    pub(crate) fn push(&mut self, prog: ProgId, stream: Stream, text: &[u8]) -> Result<(), Errno> {
        let held = self.text.entry((prog, stream)).or_default();
        if held.len() + text.len() >= MAX_CAPACITY {
            return Err(Errno::ENOSPC);
        }
        held.extend_from_slice(text);
        Ok(())
    }

    /// Takes what is in a stream (`BPF_PROG_STREAM_READ_BY_FD`).
    pub fn take(&mut self, prog: ProgId, stream: Stream) -> Vec<u8> {
        self.text.remove(&(prog, stream)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Stream, Streams};
    use crate::errno::Errno;
    use crate::progs::ProgId;

    #[test]
    fn a_stream_fills_up_and_is_emptied_by_reading() {
        let mut streams = Streams::default();
        let chunk = [b'x'; 54];
        let fitting = (0..).take_while(|_| streams.push(ProgId(0), Stream::Stdout, &chunk).is_ok()).count();
        assert_eq!(fitting * 54, 99_954);
        assert_eq!(streams.push(ProgId(0), Stream::Stdout, &chunk), Err(Errno::ENOSPC));
        assert_eq!(streams.push(ProgId(0), Stream::Stderr, b"e"), Ok(()));
        assert_eq!(streams.take(ProgId(0), Stream::Stdout).len(), 99_954);
        assert_eq!(streams.push(ProgId(0), Stream::Stdout, &chunk), Ok(()));
    }
}
