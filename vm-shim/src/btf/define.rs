//! Types in C: whole definitions.

use super::{Btf, BtfError, TypeId};

impl Btf {
    /// The definition of a named type, as it would stand in a header, with the final semicolon.
    ///
    /// # Errors
    /// If a type is broken, cyclic, or too long to write.
    pub fn c_definition(&self, id: TypeId) -> Result<String, BtfError> {
        self.try_c_decl(id, "")
    }
}
