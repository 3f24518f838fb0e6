//! The instruction set: raw encoding, the opcode table, validation and disassembly.
//!
//! Source: RFC 9669, and for what Linux adds to it `include/uapi/linux/bpf.h` and `kernel/bpf/verifier.c`.

mod insn;

pub use insn::{Insn, class, pseudo};
