//! Programs whose section says nothing get their type when they are attached, as bcc's do.

use bpf_vm_shim::object::{AttachTarget, ProgType};

use crate::machine::{Machine, MachineError};
use crate::prepare::PrepareError;
use crate::progs::ProgId;

impl Machine {
    /// Gives a program another type and attach target, as if it had been loaded with them. Forks of the machine keep
    /// what they have.
    ///
    /// # Errors
    /// If there is no such program, or it is none of that type: the passes that its object was loaded with are applied
    /// now, and may refuse it.
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
        let program = linked.name.clone();
        match self.prepare(old.id, linked, prog_type, &old.object) {
            Ok((new, _)) => self.kernel.progs.replace(new),
            Err(PrepareError::Invalid(source)) => return Err(MachineError::Invalid { program, source }),
            Err(PrepareError::Pass(error)) => return Err(error.into()),
        }
        Ok(())
    }
}
