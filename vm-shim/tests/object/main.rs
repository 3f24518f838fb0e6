//! Reading and linking objects built byte by byte.

mod core;
mod elf_builder;
mod errors;
mod externs;
mod insns;
mod linking;
mod maps;
mod mutation;
mod programs;
