//! Running programs: validated code, runs in flight as values, and the interpreter.

mod alu;
mod arena;
mod arena_access;
mod code;
mod execution;
mod interp;
mod observe;
mod uninit;
mod uop;

pub use arena::ArenaView;
pub use code::{Code, CodeSpec, Function, InvalidCode, InvalidKind};
pub use execution::{Execution, Limits, Outcome, Step};
pub use observe::{InsnView, Observer};
