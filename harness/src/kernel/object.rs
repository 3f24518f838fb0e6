//! Objects and programs in the kernel.

use std::fmt;
use std::sync::Arc;

use libbpf_rs::ProgramMut;

use crate::error::Error;

/// A loaded object of libbpf's, and the instance whose maps it shares.
pub(super) struct Opened {
    pub(super) object: libbpf_rs::Object,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("name", &self.object.name()).finish_non_exhaustive()
    }
}

/// A loaded program.
#[derive(Clone, Debug)]
pub(super) struct Prog {
    pub(super) name: String,
    pub(super) object: Arc<Opened>,
}

impl Prog {
    /// Does something with libbpf's program.
    pub(super) fn with<R>(&self, f: impl FnOnce(ProgramMut<'_>) -> R) -> Result<R, Error> {
        let found = self.object.object.progs_mut().find(|p| p.name() == self.name.as_str());
        match found {
            Some(prog) => Ok(f(prog)),
            None => Err(Error::Invalid(format!("libbpf knows no program '{}'", self.name))),
        }
    }
}
