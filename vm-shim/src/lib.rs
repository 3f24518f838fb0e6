//! BPF without a kernel: instruction set, object loading, memory and execution engines.
//!
//! This crate knows no helper and no map by name, does no I/O and reads no clock. Whatever a program
//! calls is answered by an implementation of [`env::Env`].

pub mod btf;
pub mod engine;
pub mod env;
pub mod exec;
pub mod fault;
pub mod isa;
pub mod mem;
pub mod object;
