//! The C dialect of bcc's reference guide, compiled by plain clang.
//!
//! A forced header makes the dialect's macros expand to ordinary BPF C: maps are libbpf-style definitions beside constant
//! structures of function pointers, which clang folds. The kernel's types come from a `vmlinux.h`, and what the programs
//! include of the kernel's own headers is empty. What clang cannot know stays to be done on the bytecode: arguments that
//! are not loaded from registers yet, and kernel memory that is read as if it were the program's.

mod compile;
mod constants;
mod fixes;
mod header;
mod kernel;
mod params;
mod programs;
mod shims;
mod tracepoints;

pub use compile::{Compiled, Text};
pub use kernel::{BccKernel, Tracepoints};
pub use programs::{assign_programs, attach_of_name};
