//! `BPF_MAP_TYPE_QUEUE` and `BPF_MAP_TYPE_STACK` (`kernel/bpf/queue_stack_maps.c`).

use std::collections::VecDeque;

use super::attr::flag;
use super::{MapCx, MapOps};
use crate::errno::Errno;

/// Bytes that one such map may hold here; the kernel would allocate all of it when the map is created.
const MAX_BYTES: usize = 256 << 20;

/// Values without keys. Programs get copies, so the values live here and not in guest memory.
#[derive(Clone, Debug)]
pub(super) struct QueueStack {
    /// Values one after the other, the oldest first.
    bytes: VecDeque<u8>,
    value_size: usize,
    max_entries: usize,
    /// Whether the newest comes out first.
    stack: bool,
}

impl QueueStack {
    pub(super) fn new(value_size: u32, max_entries: u32, stack: bool) -> Self {
        let (value_size, max_entries) = (value_size as usize, max_entries as usize);
        Self { bytes: VecDeque::new(), value_size, max_entries, stack }
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.value_size.max(1)
    }

    /// Where the value that comes out next begins.
    fn next(&self) -> Result<usize, Errno> {
        let end = if self.stack { self.bytes.len() } else { self.value_size };
        if self.bytes.is_empty() { Err(Errno::ENOENT) } else { Ok(end.saturating_sub(self.value_size)) }
    }
}

impl MapOps for QueueStack {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<u64>, Errno> {
        Ok(None)
    }

    /// For the host a push (`bpf_map_update_value`).
    fn update(&mut self, cx: &mut MapCx<'_>, _: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if cx.host { self.push(cx, value, flags) } else { Err(Errno::EINVAL) }
    }

    fn delete(&mut self, _: &mut MapCx<'_>, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn next_key(&self, _: Option<&[u8]>) -> Option<Vec<u8>> {
        None
    }

    fn push(&mut self, _: &mut MapCx<'_>, value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags & flag::NOEXIST != 0 || flags > flag::EXIST {
            return Err(Errno::EINVAL);
        }
        let value = value.get(..self.value_size).ok_or(Errno::EFAULT)?;
        if self.len() >= self.max_entries {
            if flags & flag::EXIST == 0 {
                return Err(Errno::E2BIG);
            }
            // The oldest makes room, in a stack too.
            self.bytes.drain(..self.value_size);
        }
        if self.bytes.len() + self.value_size > MAX_BYTES {
            return Err(Errno::ENOMEM);
        }
        self.bytes.extend(value);
        Ok(())
    }

    fn pop(&mut self, _: &mut MapCx<'_>) -> Result<Vec<u8>, Errno> {
        let at = self.next()?;
        Ok(self.bytes.drain(at..at + self.value_size).collect())
    }

    fn peek(&self, _: &mut MapCx<'_>, value: &mut Vec<u8>) -> Result<(), Errno> {
        let at = self.next()?;
        value.clear();
        value.extend(self.bytes.range(at..at + self.value_size));
        Ok(())
    }

    /// For the host a peek (`bpf_map_copy_value`).
    fn read(&self, cx: &mut MapCx<'_>, _: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let mut value = Vec::new();
        match self.peek(cx, &mut value) {
            Ok(()) => Ok(Some(vec![value])),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
