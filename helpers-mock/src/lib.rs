//! A simulated kernel for BPF programs: helpers, maps, clock, CPUs, tasks, memory and symbols.
//!
//! [`Machine`] is the whole state; [`Kernel`] is all of it but the guest's memory, and answers what programs call.

pub mod contexts;
mod dynptr;
mod errno;
pub mod flow;
mod format;
pub mod helpers;
mod kernel;
pub mod kfuncs;
mod ksyms;
mod machine;
mod machine_maps;
mod machine_output;
mod machine_time;
pub mod maps;
pub mod objects;
pub mod passes;
mod prepare;
mod prog_type;
mod progs;
mod run;
pub mod state;
#[cfg(test)]
mod testing;
pub mod verifier;

pub use dynptr::{Dynptr, DynptrKind, Dynptrs};
pub use errno::Errno;
pub use kernel::Kernel;
pub use machine::{LoadOptions, Loaded, Machine, MachineError, Report};
pub use machine_output::RingRecords;
pub use machine_time::Fired;
pub use progs::{LoadedObject, LoadedProg, ProgId, Progs, TypedLoads};
pub use run::{Held, HeldKind, ResLock, Run, RunInput};
