//! What only a simulated machine can be told: binaries and processes that do not exist, and what counters count.

use std::sync::Arc;

use bpf_helpers_mock::state::Counter;

use super::Bpf;
use crate::error::Error;
use crate::symbols::{Binary, Process};

impl Bpf {
    /// Adds a binary, in place of one with the same path, so that programs can be attached to it by path or short name.
    /// Processes of which nothing else is said have all such binaries mapped.
    pub fn add_binary(&mut self, binary: Binary) {
        let binary = Arc::new(binary);
        match self.host.binaries.iter_mut().find(|b| b.path() == binary.path()) {
            Some(old) => *old = binary,
            None => self.host.binaries.push(binary),
        }
    }

    /// Says what a process, by its process id, has mapped.
    pub fn add_process(&mut self, pid: u32, process: Process) {
        self.host.processes.insert(pid, process);
    }

    /// Opens a counter on a CPU's place of a perf event array, at this value; each reading adds `step`.
    ///
    /// # Errors
    /// If there is no such map, or this is a kernel, whose counters count by themselves.
    pub fn set_perf_counter(&mut self, map: &str, cpu: u32, value: u64, step: u64) -> Result<(), Error> {
        let id = self.map(map)?.id();
        if self.kernel.is_some() {
            let why = "a kernel's counters count by themselves: open one with `open_perf_event` on its table";
            return Err(Error::Invalid(format!("map '{map}': {why}")));
        }
        let counter = Counter { counter: value, step, ..Counter::default() };
        self.machine.set_perf_counter(id, cpu, counter);
        Ok(())
    }
}
