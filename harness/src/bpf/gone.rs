//! The kernel of a copy: there is none, because a kernel's state cannot be copied.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bpf_helpers_mock::maps::{Entry, MapId, MapOpError};
use bpf_helpers_mock::state::Tasks;
use bpf_helpers_mock::{Errno, ProgId};
use bpf_vm_shim::object::{AttachTarget, ProgType};

use super::attach::Attachment;
use super::backend::{Attached, Backend, Item, KernelRun, MadeUp};
use super::graph::Block;
use crate::error::Error;
use crate::stimulus::Network;
use crate::symbols::Resolved;

const WHY: &str = "a kernel's state cannot be copied: `fork()` works on the simulator only";

/// What a copy has in place of a kernel.
#[derive(Debug)]
pub(super) struct Gone;

fn map<T>() -> Result<T, MapOpError> {
    Err(MapOpError::Errno { map: "(of a copy)".to_owned(), errno: Errno::ENOTSUPP, why: WHY.to_owned() })
}

fn gone<T>() -> Result<T, Error> {
    Err(Error::Invalid(WHY.to_owned()))
}

impl Backend for Gone {
    fn map_entries(&mut self, _: MapId) -> Result<Vec<Entry>, MapOpError> {
        map()
    }
    fn map_take_all(&mut self, _: MapId) -> Result<Vec<Entry>, MapOpError> {
        map()
    }
    fn map_read(&mut self, _: MapId, _: &[u8]) -> Result<Option<Vec<Vec<u8>>>, MapOpError> {
        map()
    }
    fn map_update(&mut self, _: MapId, _: &[u8], _: &[u8], _: u64) -> Result<(), MapOpError> {
        map()
    }
    fn map_delete(&mut self, _: MapId, _: &[u8]) -> Result<(), MapOpError> {
        map()
    }
    fn map_push(&mut self, _: MapId, _: &[u8], _: u64) -> Result<(), MapOpError> {
        map()
    }
    fn map_pop(&mut self, _: MapId) -> Result<Option<Vec<u8>>, MapOpError> {
        map()
    }
    fn set_prog_type(&mut self, _: ProgId, _: ProgType, _: &AttachTarget) -> Result<(), Error> {
        gone()
    }
    fn attach(&mut self, _: &Attachment) -> Result<Option<Box<dyn Attached>>, Error> {
        gone()
    }
    fn fire(&mut self, _: &MadeUp<'_>) -> Result<KernelRun, Error> {
        gone()
    }
    fn network(&mut self) -> Result<Network, Error> {
        gone()
    }
    fn send_packet(&mut self, _: &[u8]) -> Result<bool, Error> {
        gone()
    }
    fn run(&mut self, _: ProgId, _: Option<&[u8]>, _: Option<&[u8]>, _: &Tasks) -> Result<KernelRun, Error> {
        gone()
    }
    fn makes_up_events(&self) -> bool {
        true
    }
    fn open_perf(&mut self, _: MapId, _: u32) -> Result<(), Error> {
        gone()
    }
    fn take_perf(&mut self, _: MapId, _: Duration) -> Result<VecDeque<Item>, Error> {
        gone()
    }
    fn take_ring(&mut self, _: MapId, _: Duration) -> Result<VecDeque<Item>, Error> {
        gone()
    }
    fn open_counter(&mut self, _: MapId, _: u32, _: u64) -> Result<(), Error> {
        gone()
    }
    fn close_counter(&mut self, _: MapId, _: u32) -> Result<(), Error> {
        gone()
    }
    fn take_trace(&mut self, _: Duration) -> Result<Vec<String>, Error> {
        gone()
    }
    fn kernel_symbol(&self, addr: u64) -> Resolved {
        Resolved { offset: addr, ..Resolved::default() }
    }
    fn kernel_address(&self, _: &str) -> Option<u64> {
        None
    }
    fn kernel_functions(&self) -> Result<Arc<[String]>, Error> {
        gone()
    }
    fn place_user(&mut self, _: &[u8]) -> Result<u64, Error> {
        gone()
    }
    fn place_kernel(&mut self, _: &[Block]) -> Result<u64, Error> {
        gone()
    }
    fn now(&self) -> u64 {
        0
    }
}
