//! `BPF_MAP_TYPE_HASH_OF_MAPS` (`kernel/bpf/hashtab.c`) and what maps may go into maps (`kernel/bpf/map_in_map.c`).

use bpf_vm_shim::object::{MapDef, MapType};

use super::attr::flag;
use super::hash::check_exists;
use super::index::Index;
use super::{Map, MapCx, MapId, MapOps};
use crate::errno::Errno;

/// A hash map of maps; values are map numbers, which programs see as the maps' addresses.
#[derive(Clone, Debug)]
pub(super) struct HashOfMaps {
    index: Index,
    max_entries: u32,
}

impl HashOfMaps {
    pub(super) fn new(key_size: u32, max_entries: u32) -> Self {
        Self { index: Index::new(key_size, max_entries), max_entries }
    }
}

impl MapOps for HashOfMaps {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, _: &mut MapCx<'_>, key: &[u8]) -> Result<Option<u64>, Errno> {
        Ok(self.index.get(key))
    }

    fn update(&mut self, _: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags > flag::EXIST {
            return Err(Errno::EINVAL);
        }
        let number = value.first_chunk::<4>().ok_or(Errno::EFAULT)?;
        let addr = MapId(u32::from_le_bytes(*number)).addr();
        check_exists(self.index.get(key).is_some(), flags)?;
        if self.index.replace(key, addr).is_some() {
            return Ok(());
        }
        if self.index.len() >= self.max_entries {
            return Err(Errno::E2BIG);
        }
        self.index.insert(key, addr).map(|_| ()).ok_or(Errno::ENOMEM)
    }

    fn delete(&mut self, _: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno> {
        self.index.remove(key).map(|_| ()).ok_or(Errno::ENOENT)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        self.index.next_key(key)
    }

    fn read(&self, _: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let id = self.index.get(key).and_then(MapId::from_addr);
        Ok(id.map(|id| vec![id.0.to_le_bytes().to_vec()]))
    }

    fn count(&self) -> Option<u64> {
        Some(self.index.len().into())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

/// Types that may be inside (those with `map_meta_equal`).
pub(super) fn may_be_inside(map_type: MapType) -> bool {
    use MapType as T;
    !matches!(
        map_type,
        T::ProgArray
            | T::CgroupStorage
            | T::PercpuCgroupStorage
            | T::StructOps
            | T::ArrayOfMaps
            | T::HashOfMaps
    )
}

/// Why a map may not go into one whose template is this (`bpf_map_meta_equal`, `array_map_meta_equal`).
pub(super) fn mismatch(template: &MapDef, inner: &Map) -> Option<String> {
    let def = &inner.def;
    let differs =
        |what: &str, is: String, must: String| Some(format!("{what} is {is}, the template says {must}"));
    if def.map_type != template.map_type {
        return differs("type", def.map_type.to_string(), template.map_type.to_string());
    }
    let array = template.map_type == MapType::Array;
    let sized = array && template.map_flags & flag::INNER_MAP == 0;
    let pairs = [
        ("key_size", def.key_size, template.key_size),
        ("value_size", def.value_size, template.value_size),
        ("map_flags", def.map_flags, template.map_flags),
        ("max_entries", def.max_entries, if sized { template.max_entries } else { def.max_entries }),
    ];
    let (what, is, must) = pairs.into_iter().find(|(_, is, must)| is != must)?;
    differs(what, is.to_string(), must.to_string())
}
