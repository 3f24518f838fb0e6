//! User-space binaries and the symbols in them.
//!
//! Probes of user space and symbol names need ELF files. A test that must give the same on every machine declares
//! them ([`Binary::declared`]); real files are read by path or found by short name ([`find_binary`]).

mod binary;
mod demangle;
mod library;
mod process;
mod table;

pub use binary::Binary;
pub use demangle::demangle;
pub(crate) use library::is_library;
pub use process::{Mapping, Process, Resolved};
pub use table::{Symbol, SymbolTable};

use crate::error::Error;

/// A binary of this machine: by path, or as a library by short name (`c`), as bcc finds it.
///
/// # Errors
/// If there is none, or it is no ELF file.
pub fn find_binary(name: &str) -> Result<Binary, Error> {
    if name.contains('/') {
        return Binary::from_path(name);
    }
    match library::find(name) {
        Some(path) => Binary::from_path(path),
        None => Err(Error::not_found("library", name, [])),
    }
}

/// The binary that libbpf finds for a section's path (`resolve_full_path()`): a path, a library by its file's name, or
/// an executable of `PATH`. `None` if there is no such file.
///
/// # Errors
/// If it is no ELF file, or cannot be read.
pub(crate) fn find_like_libbpf(name: &str) -> Result<Option<Binary>, Error> {
    let path = if name.contains('/') { Some(name.into()) } else { library::resolve(name) };
    path.filter(|p| p.is_file()).map(Binary::from_path).transpose()
}

/// The last part of a path.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
