//! Readers of perf buffers and ring buffers, through libbpf's.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libbpf_rs::{PerfBuffer, PerfBufferBuilder, RingBuffer, RingBufferBuilder};

use super::maps::KernelMap;
use crate::bpf::Item;
use crate::error::Error;

/// Where libbpf's callbacks put what they are given.
type Queue = Arc<Mutex<VecDeque<Item>>>;

fn put(queue: &Queue, item: Item) {
    queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(item);
}

fn drain(queue: &Queue) -> VecDeque<Item> {
    std::mem::take(&mut *queue.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What is there, or what comes first. It may come back empty before the time is over: a perf ring that was read
/// without waiting still says that it was woken, once (`perf_poll` in kernel/events/core.c); and records that ask for no
/// wake-up end no wait, so they are looked for after it.
fn read(
    queue: &Queue,
    timeout: Duration,
    consume: impl Fn() -> libbpf_rs::Result<()>,
    poll: impl Fn(Duration) -> libbpf_rs::Result<()>,
) -> libbpf_rs::Result<VecDeque<Item>> {
    consume()?;
    let items = drain(queue);
    if !items.is_empty() || timeout.is_zero() {
        return Ok(items);
    }
    match poll(timeout) {
        Err(e) if e.kind() != libbpf_rs::ErrorKind::Interrupted => return Err(e),
        _ => consume()?,
    }
    Ok(drain(queue))
}

/// The rings of a perf event array.
pub(super) struct Perf {
    buffer: PerfBuffer<'static>,
    queue: Queue,
}

impl Perf {
    pub(super) fn open(map: &KernelMap, pages: u32) -> Result<Self, Error> {
        let queue = Queue::default();
        let (records, losses) = (Arc::clone(&queue), Arc::clone(&queue));
        let cpu = |cpu| u32::try_from(cpu).unwrap_or_default();
        let buffer = PerfBufferBuilder::new(&map.handle)
            .pages(pages as usize)
            .sample_cb(move |c: i32, data: &[u8]| put(&records, Item::Record(cpu(c), data.to_vec())))
            .lost_cb(move |_: i32, count: u64| put(&losses, Item::Lost(count)))
            .build()
            .map_err(|e| Error::Invalid(format!("perf buffer '{}' cannot be opened: {e:#}", map.name)))?;
        Ok(Self { buffer, queue })
    }

    pub(super) fn take(&mut self, timeout: Duration) -> Result<VecDeque<Item>, Error> {
        let (buffer, failed) =
            (&self.buffer, |e| Error::Invalid(format!("a perf buffer cannot be read: {e:#}")));
        read(&self.queue, timeout, || buffer.consume(), |wait| buffer.poll(wait)).map_err(failed)
    }
}

impl fmt::Debug for Perf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Perf").field("buffers", &self.buffer.buffer_cnt()).finish_non_exhaustive()
    }
}

/// A ring buffer.
pub(super) struct Ring {
    buffer: RingBuffer<'static>,
    queue: Queue,
}

impl Ring {
    pub(super) fn open(map: &KernelMap) -> Result<Self, Error> {
        let queue = Queue::default();
        let records = Arc::clone(&queue);
        let failed = |e| Error::Invalid(format!("ring buffer '{}' cannot be opened: {e:#}", map.name));
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&map.handle, move |data| {
                put(&records, Item::Record(0, data.to_vec()));
                0
            })
            .map_err(failed)?;
        let buffer = builder.build().map_err(failed)?;
        Ok(Self { buffer, queue })
    }

    pub(super) fn take(&mut self, timeout: Duration) -> Result<VecDeque<Item>, Error> {
        let (buffer, failed) =
            (&self.buffer, |e| Error::Invalid(format!("a ring buffer cannot be read: {e:#}")));
        read(&self.queue, timeout, || buffer.consume(), |wait| buffer.poll(wait)).map_err(failed)
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}
