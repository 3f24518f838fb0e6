//! What is written is put to disk (`fs/sync.c`).

use super::simulation::Simulation;
use super::{Action, Real, Stimulated, real};
use crate::error::Error;

/// Everything is put to disk; see [`Stimulus::sync`](super::Stimulus::sync).
#[derive(Clone, Default, Debug)]
pub struct SyncFiles {}

impl Action for SyncFiles {
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let ret = sim.syscall("sync", &[], |sim| sim.leaf("ksys_sync", &[], 0))?;
        Ok(Stimulated::returning(ret))
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::sync()
    }
}
