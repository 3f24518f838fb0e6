//! The instruction set: raw encoding, the opcode table and disassembly.
//!
//! Source: RFC 9669, and for what Linux adds to it `include/uapi/linux/bpf.h` and `kernel/bpf/verifier.c`.

mod disasm;
mod insn;
mod op;

pub use disasm::{disassemble, disassemble_all};
pub use insn::{Insn, class, pseudo};
pub use op::{Form, Key, Op, Row, TABLE, Uses, Width, lookup};
