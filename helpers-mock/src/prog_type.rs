//! Programs whose section says nothing get their type when they are attached, as bcc's do.

use std::sync::Arc;

use bpf_vm_shim::object::{AttachTarget, ProgType};

use crate::helpers;
use crate::machine::{Machine, MachineError, rewrite};
use crate::progs::{LoadedProg, ProgId};

impl Machine {
    /// Gives a program another type and attach target, as if it had been loaded with them. Forks of the machine keep
    /// what they have.
    ///
    /// # Errors
    /// If there is no such program, or its object asks for changes that cannot be made.
    pub fn set_prog_type(
        &mut self,
        prog: ProgId,
        prog_type: ProgType,
        attach: AttachTarget,
    ) -> Result<(), MachineError> {
        let old = self.kernel.progs.get(prog).cloned().ok_or(MachineError::NoProgram(prog))?;
        let mut linked = old.linked.clone();
        linked.prog_type = prog_type;
        linked.attach = attach;
        let mut code = Arc::clone(&old.code);
        if old.prog_type == ProgType::Unspec && old.object.passes.is_some() {
            rewrite(&mut linked, prog_type, &old.object)?;
            // Only the context is in a register; the rest is loaded from it.
            code = Arc::new(self.code(prog, &linked, &old.object, 0b10, None)?);
        }
        let typed_loads = helpers::typed_loads(prog_type, &linked, old.object.tables());
        self.kernel.progs.replace(LoadedProg {
            id: old.id,
            object: Arc::clone(&old.object),
            linked,
            prog_type,
            code,
            arena: old.arena,
            typed_loads,
        });
        Ok(())
    }
}
