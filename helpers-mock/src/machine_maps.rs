//! What loading an object does with maps that are more than elements: arenas, and tables of jump targets.

use std::sync::Arc;

use bpf_vm_shim::exec::{ArenaView, Code};
use bpf_vm_shim::isa::{Insn, pseudo};
use bpf_vm_shim::mem::MemError;
use bpf_vm_shim::object::{LinkedProgram, MapOrigin, MapType};

use crate::machine::Machine;
use crate::maps::{Arena, InsnArray, LocalStorage, MapCx, MapError, MapId, MapOpError, flag};
use crate::progs::ProgId;

impl Machine {
    /// Adds a new map as user space does: an arena is mapped, and its variables are put into it.
    pub(crate) fn add_map(&mut self, mut map: crate::maps::Map) -> Result<MapId, MapError> {
        let (id, version) = (self.kernel.maps.next_id(), self.kernel.profile.version);
        let def = Arc::clone(&map.def);
        if let Some(arena) = map.ops.as_any_mut().downcast_mut::<Arena>() {
            arena.mmap(id, version);
            if let Some(data) = &def.data {
                let why = "its variables do not fit".to_owned();
                let refused = |errno| MapError::Refused { name: def.name.clone(), errno, why };
                arena.place_data(data.size().into()).map_err(refused)?;
                let (at, bytes) = (arena.data_offset(), data.to_vec());
                let full = |source| MapError::Memory { name: def.name.clone(), source };
                poke(arena, &mut self.mem, at, &bytes).map_err(full)?;
            }
        }
        Ok(self.kernel.maps.push(map))
    }

    /// The address that `ld_imm64` of a map's first value gives (`map_direct_value_addr`), for types with their own.
    pub(crate) fn direct_value(&self, id: MapId) -> Option<u64> {
        let map = self.kernel.maps.get(id)?;
        if let Some(arena) = map.ops.as_any().downcast_ref::<Arena>() {
            return Some(arena.user_start() + arena.data_offset());
        }
        let table = map.ops.as_any().downcast_ref::<InsnArray>()?;
        // Others are the host's to fill and to freeze before the program is loaded.
        (map.def.origin == MapOrigin::JumpTable).then(|| table.table())
    }

    /// The arena that a program names.
    pub(crate) fn arena_of(&self, linked: &LinkedProgram, maps: &[MapId]) -> Option<MapId> {
        named_maps(&linked.insns, maps).find(|id| self.arena(*id).is_some())
    }

    pub(crate) fn arena_view(&self, id: MapId) -> Option<ArenaView> {
        let flags = self.kernel.maps.get(id)?.def.map_flags;
        let user_start = self.arena(id)?.user_start();
        Some(ArenaView { user_start, no_user_conv: flags & flag::NO_USER_CONV != 0 })
    }

    fn arena(&self, id: MapId) -> Option<&Arena> {
        self.kernel.maps.get(id)?.ops.as_any().downcast_ref()
    }

    /// The slots that a program's jump tables name.
    pub(crate) fn jump_targets(&self, linked: &LinkedProgram, maps: &[MapId]) -> Vec<usize> {
        let table = |id| self.kernel.maps.get(id)?.ops.as_any().downcast_ref::<InsnArray>();
        let slots = named_maps(&linked.insns, maps).filter_map(table).flat_map(InsnArray::slots);
        slots.map(|slot| *slot as usize).collect()
    }

    /// Makes a program's jump tables point into it.
    pub(crate) fn fill_jump_tables(&mut self, prog: ProgId, linked: &LinkedProgram, maps: &[MapId]) {
        for id in named_maps(&linked.insns, maps) {
            let map = self.kernel.maps.get_mut(id);
            if let Some(table) = map.and_then(|m| m.ops.as_any_mut().downcast_mut::<InsnArray>()) {
                table.fill(&mut self.mem, |slot| Code::insn_addr(prog.0, slot as usize));
            }
        }
    }

    /// Reads an arena as user space does, from an offset from its start. Pages that it has not are allocated.
    ///
    /// # Errors
    /// If there is no such arena or the bytes are not all in it, or there is no memory.
    pub fn arena_read(&mut self, id: MapId, offset: u64, out: &mut [u8]) -> Result<(), MapOpError> {
        let len = out.len();
        let (arena, mem) = self.arena_and_memory(id)?;
        let read = arena.user_access(mem, offset, len, |mem, addr, part| {
            if let Some(out) = out.get_mut(part) {
                let _ = mem.peek(addr, out);
            }
        });
        self.outcome(id, read)
    }

    /// Writes to an arena as user space does.
    ///
    /// # Errors
    /// As [`Machine::arena_read`].
    pub fn arena_write(&mut self, id: MapId, offset: u64, bytes: &[u8]) -> Result<(), MapOpError> {
        let (arena, mem) = self.arena_and_memory(id)?;
        let written = poke(arena, mem, offset, bytes);
        self.outcome(id, written)
    }

    /// Where an arena's variables begin, as an offset from its start; `None` for another map.
    #[must_use]
    pub fn arena_data_offset(&self, id: MapId) -> Option<u64> {
        self.arena(id).map(Arena::data_offset)
    }

    /// Drops what belongs to a socket that is going away (`bpf_sk_storage_free`).
    pub(crate) fn forget_socket(&mut self, sk: u64) {
        let storage = |m: &crate::maps::Map| {
            let storage = m.ops.as_any().downcast_ref::<LocalStorage>();
            m.def.map_type == MapType::SkStorage && storage.is_some_and(|s| s.get(sk, 0).is_some())
        };
        let ids: Vec<MapId> = self.kernel.maps.iter().filter(|(_, m)| storage(m)).map(|(id, _)| id).collect();
        for id in ids {
            let mut cx = MapCx::host(&mut self.mem, self.kernel.state.cpus.count);
            let map = self.kernel.maps.get_mut(id);
            if let Some(storage) = map.and_then(|m| m.ops.as_any_mut().downcast_mut::<LocalStorage>()) {
                storage.remove(&mut cx, sk);
            }
            let dropped = cx.dropped;
            self.kernel.drop_fields(&mut self.mem, id, dropped);
        }
    }

    fn arena_and_memory(
        &mut self,
        id: MapId,
    ) -> Result<(&mut Arena, &mut bpf_vm_shim::mem::Memory), MapOpError> {
        let map = self.kernel.maps.get_mut(id);
        let arena = map.and_then(|m| m.ops.as_any_mut().downcast_mut());
        Ok((arena.ok_or(MapOpError::NoMap(id))?, &mut self.mem))
    }

    fn outcome(&self, id: MapId, done: Result<bool, MemError>) -> Result<(), MapOpError> {
        let why = match done {
            Ok(true) => return Ok(()),
            Ok(false) => "not all of the bytes are in the arena".to_owned(),
            Err(e) => e.to_string(),
        };
        let map = self.kernel.maps.get(id).map_or_else(String::new, |m| m.def.name.clone());
        Err(MapOpError::Errno { map, errno: crate::Errno::EFAULT, why })
    }
}

fn poke(
    arena: &mut Arena,
    mem: &mut bpf_vm_shim::mem::Memory,
    offset: u64,
    bytes: &[u8],
) -> Result<bool, MemError> {
    arena.user_access(mem, offset, bytes.len(), |mem, addr, part| {
        if let Some(bytes) = bytes.get(part) {
            let _ = mem.poke(addr, bytes);
        }
    })
}

/// The maps that a program's instructions name.
fn named_maps<'a>(insns: &'a [Insn], maps: &'a [MapId]) -> impl Iterator<Item = MapId> + 'a {
    let named = |i: &&Insn| i.is_ld_imm64() && matches!(i.src, pseudo::MAP_IDX | pseudo::MAP_IDX_VALUE);
    insns.iter().filter(named).filter_map(|i| maps.get(i.imm as u32 as usize).copied())
}
