//! Objects that programs allocate (`bpf_obj_new`): their references. Their bytes are guest memory.

use std::collections::BTreeMap;

use bpf_vm_shim::mem::Memory;

/// An allocated object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Object {
    refs: u32,
    percpu: bool,
}

/// All objects that programs have allocated, by address.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Allocated {
    live: BTreeMap<u64, Object>,
}

impl Allocated {
    /// Adds an object with one reference.
    pub(crate) fn add(&mut self, addr: u64, percpu: bool) {
        self.live.insert(addr, Object { refs: 1, percpu });
    }

    /// Whether an object is at this address.
    #[must_use]
    pub fn contains(&self, addr: u64) -> bool {
        self.live.contains_key(&addr)
    }

    /// Whether a per-CPU object is at this address.
    #[must_use]
    pub fn is_percpu(&self, addr: u64) -> bool {
        self.live.get(&addr).is_some_and(|o| o.percpu)
    }

    /// Takes one more reference; `false` if there is no such object.
    pub(crate) fn acquire(&mut self, addr: u64) -> bool {
        let object = self.live.get_mut(&addr);
        let found = object.is_some();
        if let Some(object) = object {
            object.refs += 1;
        }
        found
    }

    /// Gives a reference back; the last one frees the object.
    pub(crate) fn drop_ref(&mut self, mem: &mut Memory, addr: u64) {
        let Some(object) = self.live.get_mut(&addr) else { return };
        object.refs -= 1;
        if object.refs == 0 {
            self.live.remove(&addr);
            let _ = mem.free(addr);
        }
    }

    /// How many objects are alive: what programs leak shows here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }
}
