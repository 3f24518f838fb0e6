//! Types in C: names and declarations.

use super::{Btf, BtfError, TypeId};

impl Btf {
    /// The type as C writes it without a variable: `struct task_struct *`, `char [16]`, `int (*)(void *)`.
    /// A broken type gives a comment that says so.
    #[must_use]
    pub fn type_name(&self, id: TypeId) -> String {
        self.c_decl(id, "")
    }

    /// A declaration of `name` with this type: `char comm[16]`. A broken type gives a comment that says so.
    #[must_use]
    pub fn c_decl(&self, id: TypeId, name: &str) -> String {
        self.try_c_decl(id, name).unwrap_or_else(|e| format!("/* {e} */ {name}"))
    }

    /// As [`Btf::c_decl`].
    ///
    /// # Errors
    /// If a type is broken, cyclic, or too long to write.
    pub fn try_c_decl(&self, id: TypeId, name: &str) -> Result<String, BtfError> {
        Ok(format!("{} {name}", self.name_of(id)))
    }
}
