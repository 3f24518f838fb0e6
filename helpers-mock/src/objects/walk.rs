//! From an object and a path to the bytes that are meant.

use bpf_vm_shim::btf::{BitRange, Btf, Composite, Kind, Member, Type, TypeId};
use bpf_vm_shim::mem::Memory;

use super::alloc_type;
use super::error::ObjectError;
use super::path::{Step, parse};

/// Structures nested without names.
const MAX_NESTING: u32 = 16;

/// Where a path leads.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) addr: u64,
    pub(super) type_id: TypeId,
    /// For numbers: the bits, relative to `addr`.
    pub(super) bits: Option<BitRange>,
}

/// Follows a path from an object. Null pointers on the way get fresh objects if `create`.
pub(super) fn walk(
    btf: &Btf,
    mem: &mut Memory,
    start: (u64, TypeId),
    path: &str,
    create: bool,
) -> Result<Place, ObjectError> {
    let mut place = Place { addr: start.0, type_id: start.1, bits: None };
    let mut done = 0;
    for (step, end) in parse(path)? {
        let wrong = |why: String| ObjectError::Path { path: path.to_owned(), why };
        if place.bits.is_some() {
            return Err(wrong(format!("'{}' is a bit-field", &path[..done])));
        }
        place = match step {
            Step::Member(name) => {
                let at = through_pointer(btf, mem, &place, path, &path[..done], create)?;
                let (_, ty) = btf.resolve(at.type_id)?;
                let composite = ty
                    .as_composite()
                    .ok_or_else(|| wrong(format!("{} has no members", btf.type_name(at.type_id))))?;
                let (base, member) =
                    find_member(btf, composite, &name, MAX_NESTING).ok_or_else(|| ObjectError::NoMember {
                        path: path.to_owned(),
                        ty: btf.type_name(at.type_id),
                        member: name.clone(),
                    })?;
                let addr = at.addr + u64::from(base / 8);
                if member.bitfield_size == 0 {
                    let addr = addr + u64::from(member.bit_offset / 8);
                    Place { addr, type_id: member.type_id, bits: None }
                } else {
                    Place { addr, type_id: member.type_id, bits: Some(btf.bit_range(&member)?) }
                }
            }
            Step::Index(n) => {
                let (_, ty) = btf.resolve(place.type_id)?;
                let element = match ty {
                    Type::Array(a) if a.len != 0 && n >= a.len => {
                        return Err(wrong(format!("'{}' has {} elements", &path[..done], a.len)));
                    }
                    Type::Array(a) => a.element,
                    Type::Ptr(_) => {
                        place = through_pointer(btf, mem, &place, path, &path[..done], create)?;
                        place.type_id
                    }
                    _ => return Err(wrong(format!("'{}' is no array", &path[..done]))),
                };
                let addr = place.addr + btf.size_of(element)? * u64::from(n);
                Place { addr, type_id: element, bits: None }
            }
        };
        done = end;
    }
    Ok(place)
}

/// What a pointer points to; anything else stays as it is.
fn through_pointer(
    btf: &Btf,
    mem: &mut Memory,
    place: &Place,
    path: &str,
    at: &str,
    create: bool,
) -> Result<Place, ObjectError> {
    let Type::Ptr(target) = btf.resolve(place.type_id)?.1 else { return Ok(place.clone()) };
    let type_id = defined(btf, target)?;
    let missing = |addr| ObjectError::Pointer { path: path.to_owned(), at: at.to_owned(), addr };
    let mut word = [0; 8];
    mem.peek(place.addr, &mut word).map_err(|_| missing(place.addr))?;
    let mut addr = u64::from_le_bytes(word);
    if addr == 0 && create {
        addr = alloc_type(mem, btf, type_id)?;
        mem.poke(place.addr, &addr.to_le_bytes()).map_err(|_| missing(place.addr))?;
    }
    if mem.region(addr).is_none() {
        return Err(missing(addr));
    }
    Ok(Place { addr, type_id, bits: None })
}

/// The definition of a type that may only be declared.
fn defined(btf: &Btf, id: TypeId) -> Result<TypeId, ObjectError> {
    let (id, ty) = btf.resolve(id)?;
    Ok(match ty {
        Type::Fwd { name, union } => {
            btf.find(if union { Kind::Union } else { Kind::Struct }, name).unwrap_or(id)
        }
        _ => id,
    })
}

/// A member by name, also in members without a name. The number is the bit at which the structure that has it starts.
pub(super) fn find_member<'a>(
    btf: &'a Btf,
    composite: Composite<'a>,
    name: &str,
    depth: u32,
) -> Option<(u32, Member<'a>)> {
    if let Some(member) = composite.members().find(|m| m.name == name) {
        return Some((0, member));
    }
    let depth = depth.checked_sub(1)?;
    composite.members().filter(|m| m.name.is_empty()).find_map(|m| {
        let inner = btf.resolve(m.type_id).ok()?.1.as_composite()?;
        let (base, found) = find_member(btf, inner, name, depth)?;
        Some((base.checked_add(m.bit_offset)?, found))
    })
}
