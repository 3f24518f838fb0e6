//! From C to a compiled object: clang is found and run, its diagnostics come through, its results are kept.
//!
//! [`bcc`] is the dialect of bcc's reference guide: maps with methods, programs attached by their names. It needs no
//! kernel headers and no bcc: a forced header, the kernel's types from its BTF, and plain clang. Whoever loads bcc text
//! uses [`Bpf::from_text`](crate::Bpf::from_text) and its like; this module is for those who want the object itself.

pub mod bcc;
mod cache;
mod clang;
mod depfile;
mod error;
mod output;
mod overlay;
pub mod remote;
mod usdt;
mod workdir;

pub use clang::Clang;
pub use error::CompileError;

/// Hashes parts into a name for a file; the parts' boundaries count.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.iter().take(20).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
