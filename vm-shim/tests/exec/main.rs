//! Instructions, validation, memory and runs in flight.

mod agree;
mod alu;
mod arena;
mod disasm;
mod flow;
mod memory;
mod support;
mod validation;
