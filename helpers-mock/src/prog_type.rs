//! Programs whose section says nothing get their type when they are attached, as bcc's do.

use std::sync::Arc;

use bpf_vm_shim::object::{AttachTarget, ProgType};

use crate::helpers;
use crate::machine::{Machine, MachineError};
use crate::progs::{LoadedProg, ProgId};

impl Machine {
    /// Gives a program another type and attach target, as if it had been loaded with them. Forks of the machine keep
    /// what they have.
    ///
    /// # Errors
    /// If there is no such program.
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
        // Which loads may go through typed pointers was found out for another type: none is blamed now.
        let typed_loads = if helpers::has_typed_context(prog_type) {
            (0..linked.insns.len() as u32).collect()
        } else {
            old.typed_loads.clone()
        };
        self.kernel.progs.replace(LoadedProg {
            id: old.id,
            object: Arc::clone(&old.object),
            linked,
            prog_type,
            code: Arc::clone(&old.code),
            arena: old.arena,
            typed_loads,
        });
        Ok(())
    }
}
