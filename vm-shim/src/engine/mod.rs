//! The engines that can run a program, behind one trait.
//!
//! [`Interp`] is the reference for behaviour. [`Rbpf`] (feature `rbpf`) is an independent opinion on what instructions
//! mean, for programs that need nothing but registers, stack and one block of memory.

#[cfg(feature = "rbpf")]
mod rbpf;

use std::fmt;

use crate::env::Env;
use crate::exec::{Execution, Outcome};
use crate::mem::Memory;

#[cfg(feature = "rbpf")]
pub use rbpf::Rbpf;

/// Something that runs programs. Whatever it cannot run exactly as the reference does, it refuses as unsupported.
pub trait Engine: fmt::Debug + Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Runs a program that stands at its beginning to its end. Gives the outcome and the instructions executed.
    fn run(&self, execution: Execution, mem: &mut Memory, env: &mut dyn Env) -> (Outcome, u64);
}

/// The interpreter of this crate.
#[derive(Clone, Copy, Default, Debug)]
pub struct Interp;

impl Engine for Interp {
    fn name(&self) -> &'static str {
        "interp"
    }

    fn run(&self, mut execution: Execution, mem: &mut Memory, env: &mut dyn Env) -> (Outcome, u64) {
        let outcome = execution.run(mem, env);
        (outcome, execution.executed())
    }
}

/// The names of the engines that this build has.
#[must_use]
pub fn names() -> &'static [&'static str] {
    if cfg!(feature = "rbpf") { &["interp", "rbpf"] } else { &["interp"] }
}

/// An engine by its name.
#[must_use]
pub fn by_name(name: &str) -> Option<std::sync::Arc<dyn Engine>> {
    match name {
        "interp" => Some(std::sync::Arc::new(Interp)),
        #[cfg(feature = "rbpf")]
        "rbpf" => Some(std::sync::Arc::new(Rbpf)),
        _ => None,
    }
}
