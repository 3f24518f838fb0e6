//! Tables that are no tables: stacks, counters, programs.

use bpf_helpers_mock::state::Counter;
use bpf_vm_shim::object::MapType;

use super::MapRef;
use crate::error::Error;

impl MapRef<'_> {
    /// The addresses of a stack by its id (bcc's `walk`), the innermost first.
    ///
    /// # Errors
    /// If the map holds no stacks or has none of this id; negative ids are errors of `bpf_get_stackid`.
    pub fn walk(&mut self, stack_id: i64) -> Result<Vec<u64>, Error> {
        self.expect(MapType::StackTrace, "stack trace")?;
        let missing = || {
            let ids = self.name.as_str();
            let why = if stack_id < 0 { " (an error of bpf_get_stackid)" } else { "" };
            Error::Invalid(format!("map '{ids}' has no stack of id {stack_id}{why}"))
        };
        let key = u32::try_from(stack_id).map_err(|_| missing())?;
        let found = self.maps.read(self.id, &key.to_le_bytes())?;
        let bytes = found.and_then(|v| v.into_iter().next()).ok_or_else(missing)?;
        let words = bytes.chunks_exact(8).filter_map(|c| c.first_chunk::<8>());
        Ok(words.map(|w| u64::from_le_bytes(*w)).take_while(|ip| *ip != 0).collect())
    }

    /// Opens a counter on every CPU (bcc's `open_perf_event`). It counts from 0; what a simulated one counts, a test
    /// says ([`Bpf::set_perf_counter`](crate::Bpf::set_perf_counter)).
    ///
    /// # Errors
    /// If the map is no perf event array.
    pub fn open_perf_event(&mut self, ev_type: u32, ev_config: u64) -> Result<(), Error> {
        self.expect(MapType::PerfEventArray, "perf event array")?;
        if let Some(kernel) = &mut self.maps.kernel {
            return kernel.open_counter(self.id, ev_type, ev_config);
        }
        for cpu in 0..self.maps.machine.kernel.state.cpus.count {
            self.maps.machine.set_perf_counter(self.id, cpu, Counter::default());
        }
        Ok(())
    }

    /// Closes the counter of a CPU (bcc's `close_perf_event`): programs then get `-ENOENT`.
    ///
    /// # Errors
    /// If the map is no perf event array.
    pub fn close_perf_event(&mut self, cpu: u32) -> Result<(), Error> {
        self.expect(MapType::PerfEventArray, "perf event array")?;
        if let Some(kernel) = &mut self.maps.kernel {
            return kernel.close_counter(self.id, cpu);
        }
        self.maps.machine.close_perf(self.id, cpu);
        Ok(())
    }

    fn expect(&self, map_type: MapType, what: &str) -> Result<(), Error> {
        let is = self.map_type();
        if is == map_type {
            return Ok(());
        }
        Err(Error::Invalid(format!("map '{}' is no {what}: it is of type {is}", self.name)))
    }
}
