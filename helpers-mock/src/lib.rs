//! A simulated kernel for BPF programs: helpers, maps, clock, CPUs, tasks, memory and symbols.
//!
//! [`Machine`] is the whole state; [`Kernel`] is all of it but the guest's memory, and answers what programs call.

mod dynptr;
mod errno;
pub mod helpers;
mod kernel;
pub mod kfuncs;
mod machine;
pub mod maps;
mod progs;
mod run;
pub mod state;

pub use dynptr::{Dynptr, DynptrKind, Dynptrs};
pub use errno::Errno;
pub use kernel::Kernel;
pub use machine::{LoadOptions, Loaded, Machine, MachineError, Report};
pub use progs::{LoadedObject, LoadedProg, ProgId, Progs};
pub use run::{Held, HeldKind, ResLock, Run, RunInput};
