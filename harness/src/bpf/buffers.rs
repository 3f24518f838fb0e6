//! Readers of perf buffers and ring buffers: rows 38, 40 of the reference guide.
//!
//! A callback runs inside [`Bpf::perf_buffer_poll`] and its like, for one record at a time. A record is taken out before
//! its callback runs, so that whatever the callback does (an error, a panic), the records behind it are still there for
//! the next poll.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bpf_vm_shim::object::MapType;

use super::Bpf;
use super::backend::Item;
use super::record::{Record, RecordTypes};
use crate::diff::Seen;
use crate::error::Error;

/// How long one of several buffers is waited for, before it is the next one's turn.
const TURN: Duration = Duration::from_millis(20);

/// What went wrong in a callback.
#[derive(Clone, Debug)]
pub struct CallbackError(Arc<dyn std::error::Error + Send + Sync>);

impl fmt::Display for CallbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for CallbackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// What a callback may return: nothing, or a result whose error ends the poll.
pub trait CallbackResult {
    /// The error, if there is one.
    ///
    /// # Errors
    /// The callback's.
    fn into_result(self) -> Result<(), CallbackError>;
}

impl CallbackResult for () {
    fn into_result(self) -> Result<(), CallbackError> {
        Ok(())
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> CallbackResult for Result<(), E> {
    fn into_result(self) -> Result<(), CallbackError> {
        self.map_err(|e| CallbackError(Arc::from(e.into())))
    }
}

type Callback = dyn FnMut(u32, Record<'_>) -> Result<(), CallbackError> + Send;
type LostCallback = dyn FnMut(u64) + Send;

/// How a perf buffer is opened.
#[derive(Default)]
pub struct PerfBufferOptions {
    page_cnt: Option<u32>,
    record_type: Option<String>,
    lost: Option<Box<LostCallback>>,
}

impl fmt::Debug for PerfBufferOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("PerfBufferOptions");
        out.field("page_cnt", &self.page_cnt).field("record_type", &self.record_type).finish_non_exhaustive()
    }
}

/// bcc's default for `page_cnt`.
const PAGES: u32 = 8;
/// The most pages of a ring: what `perf_mmap` can do with its 32-bit count of bytes.
const MAX_PAGES: u32 = 1 << 19;

impl PerfBufferOptions {
    /// What [`Bpf::open_perf_buffer`] uses: 8 pages for each CPU.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Pages of each CPU's ring, a power of two.
    #[must_use]
    pub fn page_cnt(mut self, pages: u32) -> Self {
        self.page_cnt = Some(pages);
        self
    }

    /// The type of the records, by its name in C.
    #[must_use]
    pub fn record_type(mut self, name: impl Into<String>) -> Self {
        self.record_type = Some(name.into());
        self
    }

    /// Called with the number of records that a ring had no room for (bcc's `lost_cb`).
    #[must_use]
    pub fn lost_cb(mut self, callback: impl FnMut(u64) + Send + 'static) -> Self {
        self.lost = Some(Box::new(callback));
        self
    }
}

/// An open buffer. Copies of a machine share the callback and have their own records.
#[derive(Clone)]
pub(super) struct Reader {
    map: String,
    types: RecordTypes,
    callback: Arc<Mutex<Box<Callback>>>,
    lost: Option<Arc<Mutex<Box<LostCallback>>>>,
    /// How many records were reported as lost.
    lost_count: u64,
    ready: VecDeque<Item>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("map", &self.map)
            .field("ready", &self.ready.len())
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn is_of(&self, map: &str) -> bool {
        self.map == map
    }

    /// How many records the kernel has said to be lost.
    pub(super) const fn lost(&self) -> u64 {
        self.lost_count
    }

    /// Runs the callbacks; how many records were given to them.
    fn drain(&mut self, seen: &mut Seen) -> Result<usize, Error> {
        let mut done = 0;
        while let Some(item) = self.ready.pop_front() {
            match item {
                Item::Record(cpu, data) => {
                    done += 1;
                    seen.record(&self.map, &Record::new(&data, &self.types));
                    // A callback that has panicked once may be called again; what it did to itself is its affair.
                    let mut callback = self.callback.lock().unwrap_or_else(PoisonError::into_inner);
                    callback(cpu, Record::new(&data, &self.types))
                        .map_err(|source| Error::Callback { map: self.map.clone(), source })?;
                }
                Item::Lost(count) => {
                    self.lost_count += count;
                    if let Some(lost) = &self.lost {
                        lost.lock().unwrap_or_else(PoisonError::into_inner)(count);
                    }
                }
            }
        }
        Ok(done)
    }
}

impl Bpf {
    /// Opens the perf buffers of all CPUs; the callback gets each record that programs send, with its CPU, whenever
    /// [`Bpf::perf_buffer_poll`] runs. What was sent before is gone.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// # let object = bpf_fixtures::object("hostapi").unwrap();
    /// #[derive(serde::Deserialize)]
    /// struct Event { pid: u32, comm: String }
    ///
    /// let mut bpf = bpf_harness::Bpf::load(object)?;
    /// bpf.attach_kprobe("vfs_read", "send")?;
    /// let (tx, rx) = mpsc::channel();
    /// bpf.open_perf_buffer("events", move |_cpu, data| {
    ///     tx.send(data.event::<Event>()?)?;
    ///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// })?;
    /// bpf.kprobe("vfs_read").fire()?;
    /// assert_eq!(bpf.perf_buffer_poll(Duration::ZERO)?, 1);
    /// let event = rx.recv().unwrap();
    /// assert_eq!((event.pid, event.comm.as_str()), (1000, "bpf-test"));
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such map, or it is no perf event array.
    pub fn open_perf_buffer<F, R>(&mut self, map: &str, callback: F) -> Result<(), Error>
    where
        F: FnMut(u32, Record<'_>) -> R + Send + 'static,
        R: CallbackResult,
    {
        self.open_perf_buffer_with(map, PerfBufferOptions::new(), callback)
    }

    /// As [`Bpf::open_perf_buffer`], with options.
    ///
    /// # Errors
    /// As there, and if the number of pages is no power of two or there is no such type.
    pub fn open_perf_buffer_with<F, R>(
        &mut self,
        map: &str,
        options: PerfBufferOptions,
        mut callback: F,
    ) -> Result<(), Error>
    where
        F: FnMut(u32, Record<'_>) -> R + Send + 'static,
        R: CallbackResult,
    {
        let pages = options.page_cnt.unwrap_or(PAGES);
        if !pages.is_power_of_two() || pages > MAX_PAGES {
            return Err(Error::Invalid(format!(
                "perf buffer '{map}': page_cnt is {pages}, and has to be a power of two up to {MAX_PAGES}"
            )));
        }
        let id = self.map_of_type(map, MapType::PerfEventArray, "perf event array")?;
        let types = self.record_types(map, options.record_type.as_deref())?;
        self.open_rings(id, pages)?;
        let callback: Box<Callback> = Box::new(move |cpu, record| callback(cpu, record).into_result());
        self.host.perf_buffers.retain(|r| r.map != map);
        self.host.perf_buffers.push(Reader {
            map: map.to_owned(),
            types,
            callback: Arc::new(Mutex::new(callback)),
            lost: options.lost.map(|l| Arc::new(Mutex::new(l))),
            lost_count: 0,
            ready: VecDeque::new(),
        });
        Ok(())
    }

    /// Gives the records of all open perf buffers to their callbacks, and says how many these were. A simulated machine
    /// has nothing to wait for; a kernel waits for the first record until the time is over.
    ///
    /// # Errors
    /// The error of a callback, which ends the poll; the records behind it come with the next one.
    pub fn perf_buffer_poll(&mut self, timeout: Duration) -> Result<usize, Error> {
        let buffers = self.host.perf_buffers.len();
        self.until_there_is_any(timeout, buffers, Self::perf_buffers_once)
    }

    /// Asks in turns, so that no buffer is waited for while another one has records.
    fn until_there_is_any(
        &mut self,
        timeout: Duration,
        buffers: usize,
        once: fn(&mut Self, Duration) -> Result<usize, Error>,
    ) -> Result<usize, Error> {
        let deadline = Instant::now() + timeout;
        let mut done = once(self, Duration::ZERO)?;
        while done == 0 && self.kernel.is_some() && buffers > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            done = once(self, if buffers == 1 { left } else { left.min(TURN) })?;
        }
        Ok(done)
    }

    fn perf_buffers_once(&mut self, timeout: Duration) -> Result<usize, Error> {
        let mut done = 0;
        for i in 0..self.host.perf_buffers.len() {
            let Some(reader) = self.host.perf_buffers.get_mut(i) else { break };
            let id = self.machine.map_by_name(&reader.map);
            if let (Some(id), Some(kernel)) = (id, &mut self.kernel) {
                let wait = if done == 0 && reader.ready.is_empty() { timeout } else { Duration::ZERO };
                reader.ready.extend(kernel.take_perf(id, wait)?);
            } else if let Some(id) = id {
                reader.ready.extend(self.machine.take_perf(id).into_iter().filter_map(Item::of));
            }
            done += reader.drain(&mut self.host.seen)?;
        }
        Ok(done)
    }

    /// The older name of [`Bpf::perf_buffer_poll`].
    ///
    /// # Errors
    /// As there.
    pub fn kprobe_poll(&mut self, timeout: Duration) -> Result<usize, Error> {
        self.perf_buffer_poll(timeout)
    }

    /// Opens a ring buffer; the callback gets each record whenever [`Bpf::ring_buffer_poll`] runs.
    ///
    /// # Errors
    /// If there is no such map, or it is no ring buffer.
    pub fn open_ring_buffer<F, R>(&mut self, map: &str, callback: F) -> Result<(), Error>
    where
        F: FnMut(Record<'_>) -> R + Send + 'static,
        R: CallbackResult,
    {
        self.open_ring_buffer_of(map, None, callback)
    }

    /// As [`Bpf::open_ring_buffer`], for records of a type, by its name in C.
    ///
    /// # Errors
    /// As there, and if there is no such type.
    pub fn open_ring_buffer_of<F, R>(
        &mut self,
        map: &str,
        record_type: Option<&str>,
        mut callback: F,
    ) -> Result<(), Error>
    where
        F: FnMut(Record<'_>) -> R + Send + 'static,
        R: CallbackResult,
    {
        self.map_of_type(map, MapType::Ringbuf, "ring buffer")?;
        let types = self.record_types(map, record_type)?;
        let callback: Box<Callback> = Box::new(move |_, record| callback(record).into_result());
        self.host.ring_buffers.retain(|r| r.map != map);
        self.host.ring_buffers.push(Reader {
            map: map.to_owned(),
            types,
            callback: Arc::new(Mutex::new(callback)),
            lost: None,
            lost_count: 0,
            ready: VecDeque::new(),
        });
        Ok(())
    }

    /// Gives the records of all open ring buffers to their callbacks, and says how many these were. A simulated machine
    /// has nothing to wait for; a kernel waits for the first record until the time is over.
    ///
    /// # Errors
    /// As [`Bpf::perf_buffer_poll`].
    pub fn ring_buffer_poll(&mut self, timeout: Duration) -> Result<usize, Error> {
        let buffers = self.host.ring_buffers.len();
        self.until_there_is_any(timeout, buffers, Self::drain_rings)
    }

    /// As [`Bpf::ring_buffer_poll`], without waiting.
    ///
    /// # Errors
    /// As there.
    pub fn ring_buffer_consume(&mut self) -> Result<usize, Error> {
        self.drain_rings(Duration::ZERO)
    }

    fn drain_rings(&mut self, timeout: Duration) -> Result<usize, Error> {
        let mut done = 0;
        for i in 0..self.host.ring_buffers.len() {
            let Some(reader) = self.host.ring_buffers.get_mut(i) else { break };
            let id = self.machine.map_by_name(&reader.map);
            if let (Some(id), Some(kernel)) = (id, &mut self.kernel) {
                let wait = if done == 0 && reader.ready.is_empty() { timeout } else { Duration::ZERO };
                reader.ready.extend(kernel.take_ring(id, wait)?);
            } else if let Some(ring) = id.and_then(|id| self.machine.take_ringbuf(id)) {
                reader.ready.extend(ring.records.into_iter().map(|data| Item::Record(0, data)));
            }
            done += reader.drain(&mut self.host.seen)?;
        }
        Ok(done)
    }

    fn map_of_type(
        &mut self,
        name: &str,
        map_type: MapType,
        what: &str,
    ) -> Result<bpf_helpers_mock::maps::MapId, Error> {
        let id = self.map(name)?.id();
        let is = self.machine.kernel.maps.get(id).map_or(MapType::Unspec, |m| m.def.map_type);
        if is != map_type {
            return Err(Error::Invalid(format!("map '{name}' is no {what}: it is of type {is}")));
        }
        Ok(id)
    }
}
