//! Typed kernel objects: structures laid out by BTF, in kernel memory that programs reach by probing or through typed
//! pointers.

mod builder;
mod cgroup;
mod error;
mod path;
mod skb;
mod task;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use bpf_vm_shim::btf::{Btf, Kind, Type, TypeId};
use bpf_vm_shim::fault::{Trap, Unsupported, UnsupportedKind};
use bpf_vm_shim::mem::{Alloc, Area, Memory, Perm, RegionKind};

pub use builder::{Object, ObjectBuilder};
pub use error::ObjectError;
pub use value::Value;

use crate::kernel::Kernel;

/// The objects that stand for what the kernel knows: made when they are first asked for.
#[derive(Clone, Default, Debug)]
pub struct Objects {
    sets: Vec<Btf>,
    known: std::collections::BTreeMap<(Thing, u32), Known>,
}

/// What an object stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Thing {
    Task(u32),
    Cgroup(u64),
    UserRegs(u32),
    Skb(u64),
}

#[derive(Clone, Copy, Debug)]
struct Known {
    addr: u64,
    /// Of the tasks, when the object was last filled.
    generation: u64,
}

/// The number of no types at all.
const UNTYPED: u32 = u32::MAX;
/// What an array without a length gets.
const FLEXIBLE_ROOM: u32 = 64;
/// The size of an object whose type nobody knows.
const OPAQUE_SIZE: u32 = 16 << 10;

impl Objects {
    /// The number of a set of types; the same types get the same number.
    fn set(&mut self, btf: &Btf) -> u32 {
        let same = |b: &Btf| std::ptr::eq(b.bytes(), btf.bytes());
        match self.sets.iter().position(same) {
            Some(i) => i as u32,
            None => {
                self.sets.push(btf.clone());
                self.sets.len() as u32 - 1
            }
        }
    }
}

impl Kernel {
    /// The kernel's types as the running program sees them: the profile's, else those of its object, else (for the
    /// host, with nothing running) those of the first object loaded.
    #[must_use]
    pub fn types(&self) -> Option<&Btf> {
        let own = || self.run().and_then(|r| r.prog.object.btf.as_ref());
        let first = || self.progs.iter().find_map(|p| p.object.btf.as_ref());
        self.profile.btf.as_ref().or_else(own).or_else(first)
    }
}

/// Allocates zeroed kernel memory for a type. A type without a size, or none, gives room for anything.
pub(crate) fn alloc_type(mem: &mut Memory, btf: &Btf, id: TypeId) -> Result<u64, ObjectError> {
    let size = btf.size_of(id).ok().and_then(|s| u32::try_from(s).ok()).unwrap_or(OPAQUE_SIZE);
    alloc(mem, size.saturating_add(flexible_tail(btf, id)), &btf.type_name(id))
}

/// Room for an array without a length at the end of a structure.
fn flexible_tail(btf: &Btf, id: TypeId) -> u32 {
    let composite = btf.resolve(id).ok().and_then(|(_, t)| t.as_composite());
    let last = composite.and_then(|c| c.members().last());
    let array = last.and_then(|m| btf.resolve(m.type_id).ok());
    match array {
        Some((_, Type::Array(a))) if a.len == 0 => FLEXIBLE_ROOM,
        _ => 0,
    }
}

fn alloc(mem: &mut Memory, size: u32, name: &str) -> Result<u64, ObjectError> {
    let request = Alloc::new(Area::Kernel, RegionKind::Kernel, size.max(1), name);
    Ok(mem.alloc(request.perm(Perm::ProbeOnly).align(64))?)
}

/// A structure or union by its name, `struct` or `union` before it allowed, or a typedef of one.
fn find_type(btf: &Btf, name: &str) -> Option<TypeId> {
    let (kinds, bare): (&[Kind], &str) = match name.split_once(' ') {
        Some(("struct", bare)) => (&[Kind::Struct], bare),
        Some(("union", bare)) => (&[Kind::Union], bare),
        _ => (&[Kind::Struct, Kind::Union, Kind::Typedef, Kind::Int, Kind::Enum, Kind::Enum64], name),
    };
    kinds.iter().find_map(|k| btf.find(*k, bare.trim()))
}

/// What keeps an object from being made is our gap, not the program's bug.
impl From<ObjectError> for Trap {
    fn from(e: ObjectError) -> Self {
        Unsupported::new(UnsupportedKind::Feature, e.to_string()).into()
    }
}
