//! Letting time pass: timers and work items whose time has come run their callbacks.

use bpf_vm_shim::mem::{Alloc, Area, RegionKind};

use crate::machine::{Machine, MachineError, Report};
use crate::maps::{MapCx, MapId};
use crate::run::RunInput;
use crate::state::DeferredKind;

/// A callback that ran because its time had come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fired {
    /// What it belongs to.
    pub kind: DeferredKind,
    /// The map whose value holds the timer or work item.
    pub map: MapId,
    /// When it ran, monotonic nanoseconds.
    pub at: u64,
    /// How it ended.
    pub report: Report,
}

/// More callbacks than this in one go are timers that start themselves again without time passing.
const MAX_CALLBACKS: usize = 100_000;

impl Machine {
    /// Moves the clock by `ns` nanoseconds and runs, at their times, the callbacks of timers and work items that fall
    /// due on the way; 0 runs what is due already. Each is a run of its own: `callback(map, key, value)`.
    ///
    /// # Errors
    /// If there is no memory for a run, or timers never come to rest. What a callback does wrong is in its report.
    pub fn advance(&mut self, ns: u64) -> Result<Vec<Fired>, MachineError> {
        let until = self.kernel.state.clock.now().saturating_add(ns);
        let mut fired = Vec::new();
        while let Some(number) = self.kernel.state.clock.next_due(until) {
            if fired.len() >= MAX_CALLBACKS {
                return Err(MachineError::EndlessTimers { callbacks: MAX_CALLBACKS });
            }
            if let Some(one) = self.fire(number)? {
                fired.push(one);
            }
        }
        Ok(fired)
    }

    /// Runs one item's callback, if its structure is still there.
    fn fire(&mut self, number: u64) -> Result<Option<Fired>, MachineError> {
        let Some(item) = self.kernel.state.timers.get(number).cloned() else { return Ok(None) };
        let mut bytes = [0; 8];
        let live = self.mem.region(item.addr).is_some_and(|r| !r.freed())
            && self.mem.peek(item.addr, &mut bytes).is_ok()
            && u64::from_le_bytes(bytes) == number;
        if !live {
            self.kernel.state.timers.remove(number);
            return Ok(None);
        }
        let Some((func, code, prog)) = item.callback else { return Ok(None) };
        let value = self.mem.region(item.addr).map_or(item.addr, |r| r.element_of(item.addr));
        let key = self.key_of(item.map, value);
        let args = [item.map.addr(), key.unwrap_or(0), value, 0, 0];
        let input = RunInput { args, scratch: key.into_iter().collect(), ..RunInput::default() };
        let at = self.kernel.state.clock.now();
        let cpu = std::mem::replace(&mut self.kernel.state.cpus.current, item.cpu);
        let running = self.kernel.state.timers.running.replace(number);
        let report = self.execute(prog, code, Some(func), input);
        self.kernel.state.timers.running = running;
        self.kernel.state.cpus.current = cpu;
        Ok(Some(Fired { kind: item.kind, map: item.map, at, report: report? }))
    }

    /// A copy of the key of the element whose value is at an address; `None` if there is none.
    fn key_of(&mut self, map: MapId, value: u64) -> Option<u64> {
        let mut cx = MapCx::host(&mut self.mem, self.kernel.state.cpus.count);
        let map = self.kernel.maps.get(map)?;
        let (mut key, mut position) = (Vec::new(), 0);
        while let Ok(Some(element)) = map.ops.walk(&mut cx, position, &mut key) {
            if element.value == value {
                let name = format!("map '{}'", map.def.name);
                let alloc = Alloc::new(Area::Map, RegionKind::MapKey, key.len() as u32, name);
                let addr = self.mem.alloc(alloc).ok()?;
                self.mem.poke(addr, &key).ok()?;
                return Some(addr);
            }
            position = element.next;
        }
        None
    }
}
