//! What an actor is told to do.

use std::io;
use std::time::Duration;

use super::arch::Registers;
use super::body::{Call, NOT_DONE};
use super::spawn::Cradle;

/// What an actor is to do, with all the memory that its calls use.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// One after the other, until one fails.
    pub(super) calls: Vec<Call>,
    /// Registers that they enter points with.
    #[allow(dead_code, reason = "held, not read: a call has its address")]
    pub(super) registers: Option<Box<Registers>>,
    /// Bytes that they read and write.
    pub(super) blocks: Vec<Block>,
    /// What a task that they make lives on.
    pub(super) newborn: Option<Cradle>,
    /// How long it may take.
    pub(super) limit: Limit,
}

/// How long a job may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limit(pub(super) Duration);

impl Default for Limit {
    fn default() -> Self {
        Self(Duration::from_secs(20))
    }
}

impl Job {
    /// The first call that failed, with its error.
    pub(super) fn failure(&self) -> Option<(&Call, io::Error)> {
        let call = self.calls.iter().find(|c| c.ret < 0 && c.ret != NOT_DONE)?;
        Some((call, error_of(call.ret)))
    }
}

/// What a negative result of a system call says.
pub(super) fn error_of(ret: isize) -> io::Error {
    io::Error::from_raw_os_error(i32::try_from(-ret).unwrap_or(libc::EINVAL))
}

/// Bytes at an address that stays, aligned for any structure of the kernel.
#[derive(Debug, Default)]
pub(super) struct Block {
    words: Box<[u64]>,
    len: usize,
}

impl Block {
    /// Starts with these bytes and is zero up to `len`.
    pub(super) fn new(bytes: &[u8], len: usize) -> Self {
        let len = len.max(bytes.len());
        let mut words = vec![0u64; len.div_ceil(8)].into_boxed_slice();
        for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            for (to, from) in whole.iter_mut().zip(bytes) {
                *to = *from;
            }
            *word = u64::from_ne_bytes(whole);
        }
        Self { words, len }
    }

    /// Where it is; 0 if it is empty.
    pub(super) fn addr(&mut self) -> usize {
        if self.len == 0 { 0 } else { self.words.as_mut_ptr() as usize }
    }

    /// How many bytes.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.len).unwrap_or(u32::MAX)
    }

    /// The first bytes of it, as they are now.
    pub(super) fn bytes(&self, len: usize) -> Vec<u8> {
        let mut out: Vec<u8> = self.words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        out.truncate(len.min(self.len));
        out
    }
}
