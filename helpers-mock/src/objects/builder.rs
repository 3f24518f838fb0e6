//! Objects as a test builds and reads them.

use bpf_vm_shim::btf::{Btf, TypeId};
use bpf_vm_shim::mem::Memory;

use super::error::ObjectError;
use super::value::{Value, range, store};
use super::walk::walk;
use super::{alloc_type, find_type};
use crate::machine::Machine;

/// A typed object in kernel memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its guest address.
    pub addr: u64,
    /// Its type in the kernel's BTF ([`crate::Kernel::types`]).
    pub type_id: TypeId,
}

/// Builds or changes an object, member by member. The first error is kept and given at the end.
///
/// Paths go through structures, anonymous members, arrays (`a[3]`) and pointers; a null pointer on the way gets a
/// fresh zeroed object of its type.
#[derive(Debug)]
#[must_use = "nothing is known of errors before `build`"]
pub struct ObjectBuilder<'a> {
    mem: &'a mut Memory,
    state: Result<(Btf, Object), ObjectError>,
}

impl ObjectBuilder<'_> {
    /// Sets a member.
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        if let Ok((btf, object)) = &self.state
            && let Err(e) = set(btf, self.mem, *object, path, &value.into())
        {
            self.state = Err(e);
        }
        self
    }

    /// The object.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub fn build(self) -> Result<Object, ObjectError> {
        self.state.map(|(_, object)| object)
    }
}

/// Sets a member of an object.
pub(super) fn set(
    btf: &Btf,
    mem: &mut Memory,
    object: Object,
    path: &str,
    value: &Value,
) -> Result<(), ObjectError> {
    let place = walk(btf, mem, (object.addr, object.type_id), path, true)?;
    store(btf, mem, &place, path, value)
}

impl Machine {
    /// A new zeroed kernel object of a type of the kernel's BTF (`task_struct`, `struct sock`).
    ///
    /// ```no_run
    /// # fn test(machine: &mut bpf_helpers_mock::Machine) -> Result<(), bpf_helpers_mock::objects::ObjectError> {
    /// let task = machine.object("task_struct").set("pid", 7).set("mm.arg_start", 0x7ffc_0000_1000_u64).build()?;
    /// let child = machine.object("task_struct").set("real_parent", task).build()?;
    /// assert_eq!(machine.read_object(child, "real_parent->pid")?, 7);
    /// # Ok(()) }
    /// ```
    pub fn object(&mut self, type_name: &str) -> ObjectBuilder<'_> {
        let state = self.new_object(type_name);
        ObjectBuilder { mem: &mut self.mem, state }
    }

    fn new_object(&mut self, name: &str) -> Result<(Btf, Object), ObjectError> {
        let (btf, type_id) = self.find_object_type(name)?;
        let addr = alloc_type(&mut self.mem, &btf, type_id)?;
        Ok((btf, Object { addr, type_id }))
    }

    fn find_object_type(&self, name: &str) -> Result<(Btf, TypeId), ObjectError> {
        let types = self.kernel.types();
        let btf = types.cloned().ok_or_else(|| ObjectError::NoTypes { name: name.to_owned() })?;
        let type_id = find_type(&btf, name).ok_or_else(|| ObjectError::NoType { name: name.to_owned() })?;
        Ok((btf, type_id))
    }

    /// Changes an object.
    pub fn edit_object(&mut self, object: Object) -> ObjectBuilder<'_> {
        let types = self.kernel.types().cloned();
        let state = types.map(|btf| (btf, object)).ok_or(ObjectError::NoTypes { name: String::new() });
        ObjectBuilder { mem: &mut self.mem, state }
    }

    /// What is at an address, taken for an object of this type.
    ///
    /// # Errors
    /// If the kernel's BTF has no such type.
    pub fn object_at(&self, addr: u64, type_name: &str) -> Result<Object, ObjectError> {
        let (_, type_id) = self.find_object_type(type_name)?;
        Ok(Object { addr, type_id })
    }

    /// A number in an object.
    ///
    /// # Errors
    /// If the path does not lead to a number.
    pub fn read_object(&mut self, object: Object, path: &str) -> Result<i128, ObjectError> {
        let types = self.kernel.types();
        let btf = types.cloned().ok_or(ObjectError::NoTypes { name: String::new() })?;
        let place = walk(&btf, &mut self.mem, (object.addr, object.type_id), path, false)?;
        let wrong = |why: &str| ObjectError::Value { path: path.to_owned(), why: why.to_owned() };
        let range = range(&btf, &place).ok_or_else(|| wrong("is no number"))?;
        let mut bytes = vec![0; (range.byte_offset + range.byte_len) as usize];
        self.mem.peek(place.addr, &mut bytes).map_err(|_| wrong("its memory is gone"))?;
        let signed = btf.int_encoding(place.type_id)?.is_some_and(|e| e.is_signed());
        let value =
            if signed { range.extract_signed(&bytes) } else { range.extract(&bytes).map(u128::cast_signed) };
        value.ok_or_else(|| wrong("its bits lie strangely"))
    }
}
