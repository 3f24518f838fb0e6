//! A stimulus of a test's own.

use std::fmt;

use super::{Action, Real, Simulation, Stimulated};
use crate::error::Error;

/// A pair of closures; see [`Stimulus::custom`](super::Stimulus::custom).
pub struct Custom<R, S> {
    name: String,
    real: R,
    simulated: S,
}

impl<R, S> Custom<R, S> {
    pub(super) fn new(name: String, real: R, simulated: S) -> Self {
        Self { name, real, simulated }
    }
}

impl<R, S> Action for Custom<R, S>
where
    R: Fn(&mut Real<'_>) -> Result<Stimulated, Error>,
    S: Fn(&mut Simulation<'_>) -> Result<Stimulated, Error>,
{
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        (self.simulated)(sim)
    }

    fn perform(&self, real: &mut Real<'_>) -> Result<Stimulated, Error> {
        (self.real)(real)
    }
}

impl<R, S> fmt::Debug for Custom<R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").field("name", &self.name).finish_non_exhaustive()
    }
}
