//! `struct bpf_map` as programs read it: verified programs may load the fields of a map's kernel object directly
//! (`check_ptr_to_map_access` in `kernel/bpf/verifier.c`).

use bpf_vm_shim::btf::{Btf, Kind, Type, TypeId};
use bpf_vm_shim::object::MapType;

use super::{MAP_BASE, MAP_PITCH, Map, MapId, Maps};

/// How deep structures are opened.
const MAX_DEPTH: u32 = 8;

/// The value of `size` bytes at an address inside a map's kernel object, laid out as `btf` says. `None` if the address
/// is in no map, or what lies there is not simulated.
pub(crate) fn load(maps: &Maps, btf: &Btf, addr: u64, size: u8) -> Option<u64> {
    let from_base = addr.checked_sub(MAP_BASE)?;
    let id = MapId(u32::try_from(from_base / MAP_PITCH).ok()?);
    let map = maps.get(id)?;
    let offset = u32::try_from(from_base % MAP_PITCH).ok()?;
    let object = btf.find(Kind::Struct, object_name(map.def.map_type));
    let object = object.or_else(|| btf.find(Kind::Struct, "bpf_map"))?;
    let (name, at) = member(btf, object, offset, 0)?;
    let bytes = field(id, map, name)?;
    let mut word = [0; 8];
    let part = bytes.get(at as usize..)?.iter().take(size.into());
    word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
    Some(u64::from_le_bytes(word))
}

/// The structure that a type's `struct bpf_map` is part of.
fn object_name(map_type: MapType) -> &'static str {
    use MapType as T;
    match map_type {
        T::Hash | T::PercpuHash | T::LruHash | T::LruPercpuHash | T::HashOfMaps => "bpf_htab",
        T::Array | T::PercpuArray | T::ProgArray | T::PerfEventArray | T::CgroupArray | T::ArrayOfMaps => {
            "bpf_array"
        }
        T::Arena => "bpf_arena",
        _ => "bpf_map",
    }
}

/// The member at an offset, through nested structures, and where in it the offset is.
fn member(btf: &Btf, id: TypeId, offset: u32, depth: u32) -> Option<(&str, u32)> {
    let composite = btf.resolve(id).ok()?.1.as_composite()?;
    for m in composite.members() {
        let start = m.bit_offset / 8;
        let size = btf.size_of(m.type_id).ok()?;
        if offset < start || u64::from(offset - start) >= size {
            continue;
        }
        let nested = matches!(btf.resolve(m.type_id), Ok((_, Type::Struct(_) | Type::Union(_))));
        if nested && depth < MAX_DEPTH {
            return member(btf, m.type_id, offset - start, depth + 1);
        }
        return Some((m.name, offset - start));
    }
    None
}

/// What a field holds; `None` for those that nothing here stands for.
fn field(id: MapId, map: &Map, name: &str) -> Option<Vec<u8>> {
    let def = &map.def;
    let word = match name {
        "map_type" => def.map_type.number(),
        "key_size" => def.key_size,
        "value_size" => def.value_size,
        "max_entries" => def.max_entries,
        "map_flags" => def.map_flags,
        // The kernel's ids start at 1.
        "id" => id.0 + 1,
        // NUMA_NO_NODE
        "numa_node" => def.numa_node.unwrap_or(u32::MAX),
        "elem_size" if object_name(def.map_type) == "bpf_array" => {
            def.value_size.checked_next_multiple_of(8)?
        }
        // `struct htab_elem` of 48 bytes, then the key and the value, or a pointer to the values of all CPUs.
        "elem_size" if object_name(def.map_type) == "bpf_htab" => {
            let percpu = matches!(def.map_type, MapType::PercpuHash | MapType::LruPercpuHash);
            let value = if percpu { 8 } else { def.value_size };
            48 + def.key_size.checked_next_multiple_of(8)? + value.checked_next_multiple_of(8)?
        }
        "counter" if object_name(def.map_type) == "bpf_htab" => map.ops.count()? as u32,
        "n_buckets" => def.max_entries.checked_next_power_of_two()?,
        "user_vm_start" | "user_vm_end" => {
            let arena = map.ops.as_any().downcast_ref::<super::Arena>()?;
            let addr = if name == "user_vm_start" { arena.user_start() } else { arena.user_end() };
            return Some(addr.to_le_bytes().to_vec());
        }
        "map_extra" => return Some(def.map_extra.to_le_bytes().to_vec()),
        // Some address: programs may look at it, nobody can follow it.
        "ops" => return Some((id.addr() | 0x3f8).to_le_bytes().to_vec()),
        "inner_map_meta" => {
            let addr = if def.inner.is_some() { id.addr() | 0x3f0 } else { 0 };
            return Some(addr.to_le_bytes().to_vec());
        }
        "name" => {
            let mut name = def.kernel_name().as_bytes().to_vec();
            name.resize(16, 0);
            return Some(name);
        }
        _ => return None,
    };
    Some(word.to_le_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bpf_vm_shim::btf::{Btf, BtfBuilder, IntEncoding, Member};
    use bpf_vm_shim::mem::Memory;
    use bpf_vm_shim::object::{MapDef, MapType};

    use super::load;
    use crate::maps::{MapCx, Maps, create};

    #[test]
    fn fields_are_found_by_name_whatever_the_layout() {
        let mut b = BtfBuilder::new();
        let int = b.add_int("unsigned int", 4, IntEncoding::UNSIGNED);
        let members = [Member::new("max_entries", int, 0), Member::new("id", int, 32)];
        let map = b.add_struct("bpf_map", 8, &members);
        b.add_struct("bpf_htab", 16, &[Member::new("lock", int, 0), Member::new("map", map, 64)]);
        let btf = Btf::parse(b.build()).expect("valid BTF");
        let (mut maps, mut mem) = (Maps::default(), Memory::default());
        let addrs: Vec<u64> = [MapType::Queue, MapType::Hash]
            .into_iter()
            .map(|map_type| {
                let key_size = if map_type == MapType::Hash { 4 } else { 0 };
                let def = Arc::new(MapDef::of_type("m", map_type, (key_size, 4), 7));
                maps.push(create(def, None, &mut MapCx::host(&mut mem, 1)).expect("a map")).addr()
            })
            .collect();
        assert_eq!(load(&maps, &btf, addrs[0], 4), Some(7));
        assert_eq!(load(&maps, &btf, addrs[0] + 4, 4), Some(1));
        assert_eq!(load(&maps, &btf, addrs[1] + 8, 4), Some(7));
        assert_eq!(load(&maps, &btf, addrs[1] + 12, 2), Some(2));
        assert_eq!(load(&maps, &btf, addrs[1], 4), None, "a lock is nothing here");
        assert_eq!(load(&maps, &btf, addrs[1] + 16, 4), None, "past its end");
        assert_eq!(load(&maps, &btf, addrs[0] - 4, 4), None);
    }
}
