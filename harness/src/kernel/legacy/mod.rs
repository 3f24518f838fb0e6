//! Objects whose maps libbpf no longer reads, said again in the way that it does.
//!
//! libbpf 1.0 dropped maps that are plain structures of numbers in a section `maps` (`bpf_object__elf_collect` refuses the
//! object, and what has another name is no map to it). They are what aya, gobpf, iproute2 and older objects have. Before
//! libbpf sees such an object, it gets a section `.maps` with one variable for each of these maps and the BTF that describes
//! it, as `bpf_object__init_user_btf_maps` wants it; the symbols that programs use point there. What a map is has been read
//! by the simulator's loader: both tiers have the same definitions.

mod btf;
mod elf;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bpf_helpers_mock::maps::MapId;
use bpf_vm_shim::object::{MapDef, MapOrigin, Object, SlotTarget};

use crate::error::Error;
use elf::File;

/// Where a map was, and where it is going to be.
#[derive(Clone, Debug)]
struct Moved<'a> {
    def: &'a MapDef,
    /// The section and offset of its definition.
    from: (usize, u64),
    /// The offset in the new section.
    to: u64,
    size: u64,
}

/// The object with all its maps where libbpf finds them: unchanged if they are there already.
///
/// # Errors
/// If the file cannot be taken apart.
pub(super) fn modern<'a>(bytes: &'a [u8], object: &Object) -> Result<Cow<'a, [u8]>, Error> {
    let legacy: Vec<&MapDef> = object.maps.iter().filter(|m| m.origin == MapOrigin::Legacy).collect();
    if legacy.is_empty() {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut file = File::parse(bytes).map_err(failed)?;
    let mut maps = file.section_data(btf::SECTION).unwrap_or_default().to_vec();
    let mut moved = Vec::new();
    for def in legacy {
        let from = file.place_of(&def.section, &def.name).ok_or_else(|| failed("a map has no symbol"))?;
        maps.resize(maps.len().next_multiple_of(8), 0);
        let (to, size) = (maps.len() as u64, btf::definition_size(def));
        maps.resize(maps.len() + size as usize, 0);
        moved.push(Moved { def, from, to, size });
    }
    let types = btf::describe(object.btf.as_ref(), &file, &moved, maps.len());
    // A name that says nothing: what is called `maps` is refused.
    for name in moved.iter().map(|m| m.def.section.as_str()) {
        file.rename(name, ".maps.legacy");
    }
    let index = file.put(btf::SECTION, &maps);
    file.move_symbols(&moved, index);
    file.put(".BTF", &types);
    Ok(Cow::Owned(file.write()))
}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::Invalid(format!("the maps of the object cannot be described to libbpf: {why}"))
}

/// What is in maps of maps from the start, by their numbers: slot and map. libbpf fills those of `.maps` itself.
pub(super) fn initial_maps(
    object: &Object,
    maps: &[(MapDef, MapId)],
) -> impl Iterator<Item = (MapId, u32, MapId)> {
    let id = |name: &str| maps.iter().find(|(def, _)| def.name == name).map(|(_, id)| *id);
    let mut all = Vec::new();
    for def in object.maps.iter().filter(|m| m.origin == MapOrigin::Legacy) {
        for value in &def.values {
            let SlotTarget::Map(inside) = value.target else { continue };
            let inside = object.maps.get(inside).and_then(|m| id(&m.name));
            if let (Some(outer), Some(inside)) = (id(&def.name), inside) {
                all.push((outer, value.slot, inside));
            }
        }
    }
    all.into_iter()
}
