//! Running programs: validated code, runs in flight as values, and the interpreter.

mod alu;
mod code;
mod execution;
mod interp;
mod observe;
mod uninit;
mod uop;

pub use code::{Code, CodeSpec, Function, InvalidCode, InvalidKind};
pub use execution::{Execution, Limits, Outcome, Step};
pub use observe::{InsnView, Observer};
