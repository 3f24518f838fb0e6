//! The kernel tier: what [`Bpf`](crate::Bpf) does on the running kernel, through libbpf.
//!
//! [`Loader`] loads the objects that the describing machine has loaded, and becomes a [`Kernel`], the
//! [`Backend`](crate::bpf::Backend) of a test. Objects are libbpf's own: it opens, relocates and loads them, and attaches
//! their programs. What bcc does to a program's source is done to the instructions that libbpf is about to load.
#![allow(
    unsafe_code,
    reason = "libbpf and system calls that no safe crate offers; each use says why it is sound"
)]

pub(crate) mod actions;
mod actors;
mod attach;
mod buffers;
mod counters;
mod errors;
mod fire;
mod heap;
mod indirect;
mod legacy;
mod load;
mod log_room;
mod maps;
mod messages;
mod net;
mod object;
mod rewrite;
mod slots;
mod symbols;
#[cfg(test)]
mod testing;
mod trace_pipe;
pub mod verdicts;
mod walk;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bpf_helpers_mock::ProgId;
use bpf_helpers_mock::maps::{Entry, MapId, MapOpError};
use bpf_helpers_mock::state::Tasks;
use bpf_vm_shim::object::{AttachTarget, ProgType};

use crate::bpf::{Attached, Attachment, Backend, Block, Item, KernelRun, MadeUp, not_open};
use crate::error::Error;
use crate::stimulus::Network;
use crate::symbols::Resolved;

pub(crate) use load::Loader;

/// How many CPUs values of per-CPU maps have (`libbpf_num_possible_cpus`).
pub(crate) fn possible_cpus() -> Result<u32, Error> {
    let cpus =
        libbpf_rs::num_possible_cpus().map_err(|e| Error::Invalid(format!("CPUs cannot be counted: {e}")))?;
    Ok(u32::try_from(cpus).unwrap_or(u32::MAX))
}

/// Everything that one test has in the kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    made_up: bool,
    /// What was loaded, kept for as long as the test.
    sources: Vec<(Arc<load::Source>, Arc<object::Opened>)>,
    /// Programs that are loaded when they get their type.
    late: BTreeMap<ProgId, (Arc<load::Source>, String)>,
    progs: BTreeMap<ProgId, object::Prog>,
    maps: BTreeMap<MapId, maps::KernelMap>,
    perf: BTreeMap<MapId, buffers::Perf>,
    rings: BTreeMap<MapId, buffers::Ring>,
    counters: BTreeMap<MapId, counters::Counters>,
    trace: trace_pipe::TracePipe,
    symbols: symbols::Kallsyms,
    /// Made when a program is attached to it.
    net: Option<net::Net>,
    /// Made when an object is put into it.
    heap: Option<heap::Heap>,
    /// Made when an event is made up.
    actors: Option<actors::Actors>,
}

impl Backend for Kernel {
    fn map_entries(&mut self, map: MapId) -> Result<Vec<Entry>, MapOpError> {
        self.kernel_map(map)?.entries()
    }

    fn map_take_all(&mut self, map: MapId) -> Result<Vec<Entry>, MapOpError> {
        self.kernel_map(map)?.take_all()
    }

    fn map_read(&mut self, map: MapId, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, MapOpError> {
        self.kernel_map(map)?.read(key)
    }

    fn map_update(&mut self, map: MapId, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapOpError> {
        let value = self.with_fds(map, value)?;
        self.kernel_map(map)?.update(key, &value, flags)
    }

    fn map_delete(&mut self, map: MapId, key: &[u8]) -> Result<(), MapOpError> {
        self.kernel_map(map)?.delete(key)
    }

    fn map_push(&mut self, map: MapId, value: &[u8], flags: u64) -> Result<(), MapOpError> {
        self.kernel_map(map)?.update(&[], value, flags)
    }

    fn map_pop(&mut self, map: MapId) -> Result<Option<Vec<u8>>, MapOpError> {
        self.kernel_map(map)?.pop()
    }

    fn set_prog_type(
        &mut self,
        prog: ProgId,
        prog_type: ProgType,
        target: &AttachTarget,
    ) -> Result<(), Error> {
        self.load_late(prog, prog_type, target)
    }

    fn attach(&mut self, attachment: &Attachment) -> Result<Option<Box<dyn Attached>>, Error> {
        if self.made_up && attach::is_imagined(attachment) {
            return Ok(None);
        }
        let held = attach::attach(self, attachment)?;
        Ok((!self.made_up).then_some(held))
    }

    fn network(&mut self) -> Result<Network, Error> {
        Ok(self.net()?.network().clone())
    }

    fn send_packet(&mut self, frame: &[u8]) -> Result<bool, Error> {
        self.net()?.send(frame)
    }

    fn fire(&mut self, event: &MadeUp<'_>) -> Result<KernelRun, Error> {
        fire::fire(self, event)
    }

    fn run(
        &mut self,
        prog: ProgId,
        ctx: Option<&[u8]>,
        packet: Option<&[u8]>,
        tasks: &Tasks,
    ) -> Result<KernelRun, Error> {
        fire::run(self, prog, ctx, packet, tasks)
    }

    fn has_cookies(&self) -> bool {
        const GET_ATTACH_COOKIE: libbpf_sys::bpf_func_id = 174;
        // SAFETY: numbers, and no options.
        let known = unsafe {
            let kprobe = libbpf_sys::BPF_PROG_TYPE_KPROBE;
            libbpf_sys::libbpf_probe_bpf_helper(kprobe, GET_ATTACH_COOKIE, std::ptr::null())
        };
        known > 0
    }

    fn makes_up_events(&self) -> bool {
        self.made_up
    }

    fn open_perf(&mut self, map: MapId, pages: u32) -> Result<(), Error> {
        // A reader that goes takes the rings of the map with it, also those of another one.
        self.perf.remove(&map);
        let ring = buffers::Perf::open(self.kernel_map(map)?, pages)?;
        self.perf.insert(map, ring);
        Ok(())
    }

    fn take_perf(&mut self, map: MapId, timeout: Duration) -> Result<VecDeque<Item>, Error> {
        match self.perf.get_mut(&map) {
            Some(perf) => perf.take(timeout),
            None => Err(not_open()),
        }
    }

    fn take_ring(&mut self, map: MapId, timeout: Duration) -> Result<VecDeque<Item>, Error> {
        if !self.rings.contains_key(&map) {
            let ring = buffers::Ring::open(self.kernel_map(map)?)?;
            self.rings.insert(map, ring);
        }
        self.rings.get_mut(&map).map_or_else(|| Ok(VecDeque::new()), |ring| ring.take(timeout))
    }

    fn open_counter(&mut self, map: MapId, ev_type: u32, ev_config: u64) -> Result<(), Error> {
        let counters = counters::Counters::open(self.kernel_map(map)?, ev_type, ev_config)?;
        self.counters.insert(map, counters);
        Ok(())
    }

    fn close_counter(&mut self, map: MapId, cpu: u32) -> Result<(), Error> {
        match self.counters.get_mut(&map) {
            Some(counters) => counters.close(cpu),
            None => Ok(()),
        }
    }

    fn take_trace(&mut self, timeout: Duration) -> Result<Vec<String>, Error> {
        self.trace.take(timeout)
    }

    fn kernel_symbol(&self, addr: u64) -> Resolved {
        self.symbols.resolve(addr)
    }

    fn kernel_address(&self, name: &str) -> Option<u64> {
        self.symbols.address(name)
    }

    fn kernel_functions(&self) -> Result<Arc<[String]>, Error> {
        Ok(self.symbols.probed())
    }

    fn place_user(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        self.actors()?.place(bytes).map_err(errors::actor)
    }

    fn place_kernel(&mut self, objects: &[Block]) -> Result<u64, Error> {
        let heap = match &mut self.heap {
            Some(heap) => heap,
            None => self.heap.insert(heap::Heap::new()?),
        };
        heap.place(objects)
    }

    fn now(&self) -> u64 {
        counters::monotonic()
    }
}

impl Kernel {
    /// The test's own network.
    fn net(&mut self) -> Result<&net::Net, Error> {
        if self.net.is_none() {
            self.net = Some(net::Net::new()?);
        }
        self.net.as_ref().ok_or_else(|| Error::Invalid("there is no network".to_owned()))
    }

    /// The tasks in which made-up events happen.
    fn actors(&mut self) -> Result<&mut actors::Actors, Error> {
        if self.actors.is_none() {
            self.actors = Some(actors::Actors::new().map_err(errors::actor)?);
        }
        self.actors.as_mut().ok_or_else(|| Error::Invalid("there are no actors".to_owned()))
    }

    fn kernel_map(&self, map: MapId) -> Result<&maps::KernelMap, MapOpError> {
        self.maps.get(&map).ok_or(MapOpError::NoMap(map))
    }

    fn prog(&self, prog: ProgId) -> Result<&object::Prog, Error> {
        self.progs.get(&prog).ok_or_else(|| {
            Error::Invalid(format!(
                "program number {} is not loaded: it has no type until it is attached",
                prog.0
            ))
        })
    }
}
