//! Maps of sockets: `BPF_MAP_TYPE_SOCKMAP`, `SOCKHASH` (`net/core/sock_map.c`), `XSKMAP` (`net/xdp/xskmap.c`) and
//! `REUSEPORT_SOCKARRAY` (`kernel/bpf/reuseport_array.c`).
//!
//! The sockets that there are belong to packets: they are closed and of no protocol, and no such map takes them. So
//! these maps are empty, and what programs do with them ends as with empty maps.

use bpf_vm_shim::object::{MapDef, MapType};

use super::array::{index, next_index};
use super::{MapCx, MapOps};
use crate::errno::Errno;

/// A map of sockets, none of which can be in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sockets {
    map_type: MapType,
    len: u32,
}

impl Sockets {
    pub(super) fn new(def: &MapDef) -> Self {
        Self { map_type: def.map_type, len: def.max_entries }
    }

    fn outside(&self, key: &[u8]) -> bool {
        self.map_type != MapType::Sockhash && index(key).is_none_or(|i| i >= self.len)
    }
}

impl MapOps for Sockets {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(*self)
    }

    fn lookup(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<u64>, Errno> {
        Ok(None)
    }

    /// `sock_map_update_elem`: `-EOPNOTSUPP` for a socket that is not connected.
    fn update(&mut self, _: &mut MapCx<'_>, key: &[u8], _: &[u8], _: u64) -> Result<(), Errno> {
        if self.outside(key) { Err(Errno::E2BIG) } else { Err(Errno::EOPNOTSUPP) }
    }

    /// `sock_map_delete_elem`, `sock_hash_delete_elem`, `xsk_map_delete_elem`, `reuseport_array_delete_elem`.
    fn delete(&mut self, _: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno> {
        match self.map_type {
            MapType::Sockhash => Err(Errno::ENOENT),
            MapType::Sockmap => Err(Errno::EINVAL),
            MapType::Xskmap if self.outside(key) => Err(Errno::EINVAL),
            MapType::Xskmap => Ok(()),
            _ if self.outside(key) => Err(Errno::E2BIG),
            _ => Err(Errno::ENOENT),
        }
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        if self.map_type == MapType::Sockhash { None } else { next_index(key, self.len) }
    }

    fn read(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        Ok(None)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
