//! The seam between a test and a real kernel.
//!
//! A [`Bpf`](super::Bpf) always holds a simulated machine. On the kernel tier that machine is the description: which
//! programs and maps there are, of which types, and the tasks that a test has described. What happens, happens in a
//! [`Backend`].
#![cfg_attr(not(feature = "kernel"), allow(dead_code, reason = "only a kernel uses all of it"))]

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bpf_helpers_mock::maps::{Entry, MapId, MapOpError};
use bpf_helpers_mock::state::Tasks;
use bpf_helpers_mock::{Machine, ProgId};
use bpf_vm_shim::object::{AttachTarget, ProgType};

use super::attach::Attachment;
use super::graph::Block;
use super::point::Point;
use crate::error::Error;
use crate::stimulus::Network;
use crate::symbols::Resolved;

/// What a kernel holds for as long as a program is attached. Dropping it detaches.
pub(crate) trait Attached: fmt::Debug + Send + Sync {}

/// A record that a reader of a buffer has got.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// What a program has sent, on which CPU.
    Record(u32, Vec<u8>),
    /// So many records had no room.
    Lost(u64),
}

/// An event that is made up: where, and what the program is to see.
#[derive(Debug)]
pub(crate) struct MadeUp<'a> {
    pub(crate) prog: ProgId,
    pub(crate) point: &'a Point,
    pub(crate) attachment: &'a Attachment,
    pub(crate) args: &'a [u64],
    pub(crate) ret: Option<u64>,
    pub(crate) packet: &'a [u8],
    /// The tasks that the test has described, and the thread id of that in whose context it happens.
    pub(crate) tasks: &'a Tasks,
    pub(crate) pid: u32,
    /// The CPU on which it happens.
    pub(crate) cpu: u32,
}

/// What is known of a run in the kernel.
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelRun {
    /// The program's result, where the kernel tells it.
    pub(crate) ret: Option<u64>,
    /// What became of the packet.
    pub(crate) packet: Option<Vec<u8>>,
}

/// What [`Bpf`](super::Bpf) does on a kernel. Maps and programs go by their numbers in the machine that describes them.
pub(crate) trait Backend: fmt::Debug + Send {
    /// All elements, sorted by the bytes of their keys; see [`Machine::map_entries`].
    fn map_entries(&mut self, map: MapId) -> Result<Vec<Entry>, MapOpError>;
    /// All elements, sorted in the same way, which are removed as they are read.
    fn map_take_all(&mut self, map: MapId) -> Result<Vec<Entry>, MapOpError>;
    /// The value for a key; see [`Machine::map_read`].
    fn map_read(&mut self, map: MapId, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, MapOpError>;
    /// Sets the value for a key; see [`Machine::map_update`].
    fn map_update(&mut self, map: MapId, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapOpError>;
    /// Removes a key.
    fn map_delete(&mut self, map: MapId, key: &[u8]) -> Result<(), MapOpError>;
    /// Adds a value to a queue, stack or bloom filter.
    fn map_push(&mut self, map: MapId, value: &[u8], flags: u64) -> Result<(), MapOpError>;
    /// Takes the next value out of a queue or stack.
    fn map_pop(&mut self, map: MapId) -> Result<Option<Vec<u8>>, MapOpError>;

    /// Loads a program that had no type as one of this type.
    fn set_prog_type(
        &mut self,
        prog: ProgId,
        prog_type: ProgType,
        target: &AttachTarget,
    ) -> Result<(), Error>;
    /// Attaches a program for as long as the result lives. `None`: it was proved that the kernel would, and nothing
    /// happens unless it is made up.
    fn attach(&mut self, attachment: &Attachment) -> Result<Option<Box<dyn Attached>>, Error>;
    /// Lets the kernel run a program at an event that is made up.
    fn fire(&mut self, event: &MadeUp<'_>) -> Result<KernelRun, Error>;
    /// The network that packet programs of this test are attached to.
    fn network(&mut self) -> Result<Network, Error>;
    /// Sends a frame through it; whether it was received and let through.
    fn send_packet(&mut self, frame: &[u8]) -> Result<bool, Error>;
    /// Runs a program on a context or a packet (`BPF_PROG_TEST_RUN`).
    fn run(
        &mut self,
        prog: ProgId,
        ctx: Option<&[u8]>,
        packet: Option<&[u8]>,
        tasks: &Tasks,
    ) -> Result<KernelRun, Error>;
    /// Whether events are made up, so that nothing else reaches the programs.
    /// Whether attachments have cookies (since Linux 5.15).
    fn has_cookies(&self) -> bool {
        true
    }

    fn makes_up_events(&self) -> bool;

    /// Opens a perf event array's rings of so many pages.
    fn open_perf(&mut self, map: MapId, pages: u32) -> Result<(), Error>;
    /// What has come into the rings, after waiting for the first record.
    fn take_perf(&mut self, map: MapId, timeout: Duration) -> Result<VecDeque<Item>, Error>;
    /// The records of a ring buffer, after waiting for the first one.
    fn take_ring(&mut self, map: MapId, timeout: Duration) -> Result<VecDeque<Item>, Error>;
    /// Opens a counter on every CPU, at its place in a perf event array.
    fn open_counter(&mut self, map: MapId, ev_type: u32, ev_config: u64) -> Result<(), Error>;
    /// Closes a CPU's counter.
    fn close_counter(&mut self, map: MapId, cpu: u32) -> Result<(), Error>;

    /// New lines of the trace, after waiting for the first one.
    fn take_trace(&mut self, timeout: Duration) -> Result<Vec<String>, Error>;
    /// The kernel symbol at an address.
    fn kernel_symbol(&self, addr: u64) -> Resolved;
    /// The address of a kernel symbol.
    fn kernel_address(&self, name: &str) -> Option<u64>;
    /// The functions that kprobes may be attached to.
    fn kernel_functions(&self) -> Result<Arc<[String]>, Error>;
    /// Puts bytes where all tasks of this test have them, and says where.
    fn place_user(&mut self, bytes: &[u8]) -> Result<u64, Error>;
    /// Puts objects into kernel memory, pointing to each other, and says where the first one is.
    fn place_kernel(&mut self, objects: &[Block]) -> Result<u64, Error>;
    /// Nanoseconds since boot.
    fn now(&self) -> u64;
}

/// Where the maps of a test are.
#[derive(Debug)]
pub(crate) struct Maps<'a> {
    pub(crate) machine: &'a mut Machine,
    pub(crate) kernel: Option<&'a mut (dyn Backend + 'static)>,
}

impl Maps<'_> {
    pub(crate) fn entries(&mut self, map: MapId) -> Result<Vec<Entry>, MapOpError> {
        match &mut self.kernel {
            Some(kernel) => kernel.map_entries(map),
            None => self.machine.map_entries(map),
        }
    }

    /// All elements, which are then no longer there. Nothing happens on a simulated machine meanwhile.
    pub(crate) fn take_all(&mut self, map: MapId) -> Result<Vec<Entry>, MapOpError> {
        if let Some(kernel) = &mut self.kernel {
            return kernel.map_take_all(map);
        }
        let entries = self.machine.map_entries(map)?;
        for e in &entries {
            self.machine.map_delete(map, &e.key)?;
        }
        Ok(entries)
    }

    pub(crate) fn read(&mut self, map: MapId, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, MapOpError> {
        match &mut self.kernel {
            Some(kernel) => kernel.map_read(map, key),
            None => self.machine.map_read(map, key),
        }
    }

    pub(crate) fn update(
        &mut self,
        map: MapId,
        key: &[u8],
        value: &[u8],
        flags: u64,
    ) -> Result<(), MapOpError> {
        match &mut self.kernel {
            Some(kernel) => kernel.map_update(map, key, value, flags),
            None => self.machine.map_update(map, key, value, flags),
        }
    }

    pub(crate) fn delete(&mut self, map: MapId, key: &[u8]) -> Result<(), MapOpError> {
        match &mut self.kernel {
            Some(kernel) => kernel.map_delete(map, key),
            None => self.machine.map_delete(map, key),
        }
    }

    pub(crate) fn push(&mut self, map: MapId, value: &[u8], flags: u64) -> Result<(), MapOpError> {
        match &mut self.kernel {
            Some(kernel) => kernel.map_push(map, value, flags),
            None => self.machine.map_push(map, value, flags),
        }
    }

    pub(crate) fn pop(&mut self, map: MapId) -> Result<Option<Vec<u8>>, MapOpError> {
        match &mut self.kernel {
            Some(kernel) => kernel.map_pop(map),
            None => self.machine.map_pop(map),
        }
    }
}
