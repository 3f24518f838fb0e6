//! Arrays of programs that an object fills, when not all of its programs are loaded.
//!
//! libbpf puts the descriptor of every program that the object names into its slot when all is loaded
//! (`init_prog_array_slots`), and fails on one that was left out. On the simulator such a slot stays empty, and a tail call
//! into it goes on behind it. So libbpf gets an object that does not name the programs that are left out: the relocations of
//! `.maps` that do (`bpf_object__collect_map_relos`) are taken out of their table.

use std::borrow::Cow;
use std::ops::Range;

use bpf_vm_shim::object::{Object, SlotTarget};
use goblin::elf::Elf;
use goblin::elf::section_header::SHT_REL;
use goblin::elf::sym::STT_FUNC;

/// A relocation without an addend, and where a section's header has its size, in a 64-bit file.
const REL: usize = 16;
const SIZE_IN_HEADER: usize = 32;

/// The object with the slots empty of all programs but those that are loaded: unchanged if that is no matter, or if the file
/// is not what it seems; libbpf says what it thinks of it.
pub(super) fn only<'a>(bytes: &'a [u8], object: &Object, loaded: impl Fn(&str) -> bool) -> Cow<'a, [u8]> {
    let values = object.maps.iter().flat_map(|m| &m.values);
    let targets = values.filter_map(|v| match v.target {
        SlotTarget::Program(index) => object.programs.get(index),
        _ => None,
    });
    let left_out: Vec<&str> = targets.map(|p| p.name.as_str()).filter(|name| !loaded(name)).collect();
    let changed = if left_out.is_empty() { None } else { without(bytes, &left_out) };
    changed.map_or(Cow::Borrowed(bytes), Cow::Owned)
}

/// Without the relocations of `.maps` that name these functions; `None` if the file cannot be taken apart.
fn without(bytes: &[u8], functions: &[&str]) -> Option<Vec<u8>> {
    let elf = Elf::parse(bytes).ok()?;
    let is_maps = |index: u32| {
        let header = elf.section_headers.get(index as usize);
        header.is_some_and(|h| elf.shdr_strtab.get_at(h.sh_name) == Some(".maps"))
    };
    let mut out = bytes.to_vec();
    for (index, table) in elf.section_headers.iter().enumerate() {
        if table.sh_type != SHT_REL || !is_maps(table.sh_info) {
            continue;
        }
        let Range { start, end } = table.file_range()?;
        let mut kept = Vec::new();
        for relocation in bytes.get(start..end)?.chunks_exact(REL) {
            let symbol = relocation.get(12..)?.first_chunk::<4>().map(|n| u32::from_le_bytes(*n) as usize)?;
            let symbol = elf.syms.get(symbol)?;
            let name = elf.strtab.get_at(symbol.st_name).unwrap_or_default();
            if symbol.st_type() != STT_FUNC || !functions.contains(&name) {
                kept.extend_from_slice(relocation);
            }
        }
        out.get_mut(start..)?.get_mut(..kept.len())?.copy_from_slice(&kept);
        let header = usize::try_from(elf.header.e_shoff).ok()? + index * usize::from(elf.header.e_shentsize);
        let size = (kept.len() as u64).to_le_bytes();
        out.get_mut(header + SIZE_IN_HEADER..)?.get_mut(..size.len())?.copy_from_slice(&size);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use bpf_vm_shim::object::{Object, SlotTarget};

    use super::only;

    fn targets(bytes: &[u8]) -> Vec<(u32, String)> {
        let object = Object::parse(bytes).unwrap();
        let name = |index: usize| object.programs[index].name.clone();
        let values = object.maps.iter().flat_map(|m| &m.values);
        let mut all: Vec<_> = values
            .filter_map(|v| match v.target {
                SlotTarget::Program(index) => Some((v.slot, name(index))),
                _ => None,
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn slots_of_programs_that_are_left_out_are_empty() {
        let bytes = bpf_fixtures::object("tail_calls").unwrap();
        let object = Object::parse(bytes).unwrap();
        let all = targets(bytes);
        assert!(all.len() > 1, "{all:?}");
        assert!(matches!(only(bytes, &object, |_| true), Cow::Borrowed(_)));
        let one = &all[0].1;
        let changed = only(bytes, &object, |name| name == one);
        let left: Vec<_> = all.iter().filter(|(_, name)| name == one).cloned().collect();
        assert_eq!(targets(&changed), left);
        assert_eq!(targets(&only(bytes, &object, |_| false)), []);
        let again = Object::parse(&changed).unwrap();
        assert_eq!(again.programs.len(), object.programs.len());
    }

    #[test]
    fn damaged_objects_are_no_matter() {
        let bytes = bpf_fixtures::object("tail_calls").unwrap();
        let object = Object::parse(bytes).unwrap();
        let mut changed = 0;
        for at in 0..bytes.len() {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= 0x55;
            changed += u32::from(matches!(only(&bytes, &object, |_| false), Cow::Owned(_)));
        }
        assert!(changed > 100, "{changed}");
    }
}
