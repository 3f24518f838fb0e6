//! `struct bpf_map` behind a map's address: programs may read its members (`check_ptr_to_map_access` in
//! `kernel/bpf/verifier.c`).

use bpf_vm_shim::btf::{Btf, Kind, TypeId};

use crate::kernel::Kernel;
use crate::maps::MapId;

/// The value of a load through a map's address; `None` if it is none, or the kernel's types do not say what is there.
pub(super) fn load(kernel: &Kernel, addr: u64, size: u8) -> Option<u64> {
    let (id, offset) = MapId::containing(addr)?;
    let map = kernel.maps.get(id)?;
    let btf = kernel.types()?;
    let type_id = btf.find(Kind::Struct, "bpf_map")?;
    let len = btf.size_of(type_id).ok()?;
    if offset.checked_add(size.into())? > len {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    let def = &map.def;
    let fields = [
        ("map_type", u128::from(def.map_type.number())),
        ("key_size", def.key_size.into()),
        ("value_size", def.value_size.into()),
        ("max_entries", def.max_entries.into()),
        ("map_extra", def.map_extra.into()),
        ("map_flags", def.map_flags.into()),
        ("id", u128::from(id.0) + 1),
    ];
    for (name, value) in fields {
        put(btf, type_id, &mut bytes, name, value);
    }
    let name: Vec<u8> = def.name.bytes().take(15).collect();
    put_name(btf, type_id, &mut bytes, &name);
    let at = usize::try_from(offset).ok()?;
    let mut word = [0; 8];
    word.get_mut(..size.into())?.copy_from_slice(bytes.get(at..at + usize::from(size))?);
    Some(u64::from_le_bytes(word))
}

/// Writes a number where the type has the member; kernels differ.
fn put(btf: &Btf, type_id: TypeId, bytes: &mut [u8], name: &str, value: u128) -> Option<()> {
    let composite = btf.resolve(type_id).ok()?.1.as_composite()?;
    let member = composite.members().find(|m| m.name == name)?;
    btf.bit_range(&member).ok()?.insert(bytes, value)
}

fn put_name(btf: &Btf, type_id: TypeId, bytes: &mut [u8], name: &[u8]) -> Option<()> {
    let composite = btf.resolve(type_id).ok()?.1.as_composite()?;
    let member = composite.members().find(|m| m.name == "name")?;
    let at = member.bit_offset as usize / 8;
    bytes.get_mut(at..at + name.len())?.copy_from_slice(name);
    Some(())
}
