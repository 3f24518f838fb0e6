//! CO-RE: relocating what an object knows about kernel types to the types of another kernel.
//!
//! [`CoreResolver::resolve`] turns one record of `.BTF.ext` into a [`CoreValue`], which
//! [`CoreValue::patch`] writes into the instruction. What cannot be resolved is no error: the loader
//! poisons the instruction, which matters only if the program reaches it.
//!
//! Source: libbpf's `relo_core.c`, and `libbpf.c` for the choice of candidates.

mod calc;
mod compat;
mod error;
mod find;
mod patch;
mod relo;
mod resolve;
mod spec;
mod types_match;

pub use compat::types_compat;
pub use error::CoreError;
pub use patch::Patched;
pub use relo::{CoreRelo, CoreReloKind};
pub use resolve::{CoreOutcome, CoreResolver, CoreValue, TargetId, Unresolvable};

/// A type or enumerator name without its flavour: what stands before the last `___` that has something
/// other than an underscore on both sides (libbpf's `bpf_core_essential_name_len`).
#[must_use]
pub fn essential_name(name: &str) -> &str {
    name.get(..essential_len(name.as_bytes())).unwrap_or(name)
}

pub(super) fn essential_len(name: &[u8]) -> usize {
    let separates = |w: &[u8]| matches!(w, [a, b'_', b'_', b'_', b] if *a != b'_' && *b != b'_');
    name.windows(5).rposition(separates).map_or(name.len(), |at| at + 1)
}
