//! Global variables by name.

use crate::btf::{Linkage, TypeId};

/// A global variable, and where its value lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GlobalVar {
    /// Name in C.
    pub name: String,
    /// Index into [`super::Object::maps`] of the map that holds it.
    pub map: usize,
    /// Offset in the map's value, in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// Its type; `None` without BTF.
    pub type_id: Option<TypeId>,
    /// Visibility; hidden variables count as static, as in libbpf.
    pub linkage: Linkage,
}
