//! The BTF of map definitions (libbpf's `parse_btf_map_def`).
//!
//! A definition is a structure that nobody reads: a number `n` is a member that points to an array of `n` elements.

use bpf_vm_shim::btf::{Btf, BtfBuilder, IntEncoding, Linkage, Member, SecVar, Type, TypeId};
use bpf_vm_shim::object::MapDef;

use super::Moved;
use super::elf::File;

/// Where libbpf looks for maps.
pub(super) const SECTION: &str = ".maps";

/// Bytes of the variable that defines a map.
pub(super) fn definition_size(def: &MapDef) -> u64 {
    numbers(def).len() as u64 * 8
}

/// The members with numbers.
fn numbers(def: &MapDef) -> Vec<(&'static str, u32)> {
    let always = [
        ("type", def.map_type.number()),
        ("key_size", def.key_size),
        ("value_size", def.value_size),
        ("max_entries", def.max_entries),
        ("map_flags", def.map_flags),
    ];
    // Whether a map is to be pinned is not said: maps are a test's own.
    always.into_iter().chain(def.numa_node.map(|node| ("numa_node", node))).collect()
}

/// The object's BTF, with the moved maps in the data section `.maps` of `size` bytes.
pub(super) fn describe(btf: Option<&Btf>, file: &File<'_>, moved: &[Moved<'_>], size: usize) -> Vec<u8> {
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    let mut to = btf.map_or_else(BtfBuilder::new, BtfBuilder::continuing);
    let mut vars = Vec::new();
    if let Some(btf) = btf {
        for (id, name) in sections(btf) {
            let of_maps = name == SECTION;
            if of_maps || moved.iter().any(|m| m.def.section == name) {
                let placed = places(btf, file, id, name);
                // libbpf looks for sizes and offsets of those that have none, and does not find them under another name.
                let known = if of_maps { size } else { file.size_of(name) };
                to.replace_datasec(btf, id, ".maps.legacy", known, &placed);
                if of_maps {
                    vars.extend(placed);
                }
            }
        }
    }
    let number = to.add_int("unsigned int", 4, IntEncoding(0));
    // Arrays of bytes, so that no number is too large for a type.
    let byte = to.add_int("unsigned char", 1, IntEncoding(0));
    for map in moved {
        let def = definition(&mut to, map.def, (byte, number), true);
        let var = to.add_var(&map.def.name, def, Linkage::Global);
        let (offset, size) = (u32::try_from(map.to).unwrap_or(0), u32::try_from(map.size).unwrap_or(0));
        vars.push(SecVar { type_id: var, offset, size });
    }
    vars.sort_by_key(|v| v.offset);
    to.add_datasec(SECTION, size, &vars);
    to.build()
}

fn definition(to: &mut BtfBuilder, def: &MapDef, (byte, number): (TypeId, TypeId), outer: bool) -> TypeId {
    let mut members: Vec<(&str, TypeId)> = Vec::new();
    for (name, n) in numbers(def) {
        let array = to.add_array(byte, number, n);
        members.push((name, to.add_ptr(array)));
    }
    let size = u32::try_from(definition_size(def)).unwrap_or(0);
    if let Some(inner) = def.inner.as_ref().filter(|_| outer) {
        let inside = definition(to, inner, (byte, number), false);
        let pointer = to.add_ptr(inside);
        members.push(("values", to.add_array(pointer, number, 0)));
    }
    let member = |(i, (name, id)): (usize, &(&'static str, TypeId))| Member::new(name, *id, i as u32 * 64);
    let members: Vec<Member<'_>> = members.iter().enumerate().map(member).collect();
    to.add_struct("", size, &members)
}

fn sections(btf: &Btf) -> impl Iterator<Item = (TypeId, &str)> {
    btf.iter().filter_map(|(id, ty)| match ty {
        Type::DataSec(sec) => Some((id, sec.name)),
        _ => None,
    })
}

/// The variables of a data section where they are: compilers leave that of globals to the symbol table.
fn places(btf: &Btf, file: &File<'_>, id: TypeId, section: &str) -> Vec<SecVar> {
    let Ok(Type::DataSec(sec)) = btf.get(id) else { return Vec::new() };
    let place = |var: SecVar| {
        let offset = match btf.get(var.type_id) {
            Ok(Type::Var { name, .. }) => file.place_of(section, name).map(|(_, offset)| offset),
            _ => None,
        };
        SecVar { offset: offset.and_then(|o| u32::try_from(o).ok()).unwrap_or(var.offset), ..var }
    };
    let mut vars: Vec<SecVar> = sec.vars().map(place).collect();
    vars.sort_by_key(|v| v.offset);
    vars
}
