//! A kernel's types as C, kept: writing them takes longer than compiling a text.

use std::path::Path;
use std::sync::Arc;

use super::super::cache::Cache;
use super::super::digest;
use super::super::error::CompileError;
use crate::profile::Profile;

/// The types in a file of raw BTF or a `vmlinux`, as one C header for [`BccKernel`](crate::compile::bcc::BccKernel).
///
/// # Errors
/// If it cannot be read, or holds no valid BTF.
pub fn types_of_file(path: &Path) -> Result<Arc<str>, CompileError> {
    let bytes = std::fs::read(path).map_err(|e| CompileError::io(path, &e))?;
    let key = digest([env!("CARGO_PKG_VERSION").as_bytes(), &bytes]);
    let cache = Cache::open();
    let kept = cache.file(&format!("types-{key}.h"), |to| {
        let header = Profile::from_btf_file(path).and_then(|profile| profile.vmlinux_h());
        let header = header.map_err(|e| CompileError::Io { path: path.to_owned(), why: e.to_string() })?;
        std::fs::write(to, header.as_bytes()).map_err(|e| CompileError::io(to, &e))
    })?;
    std::fs::read_to_string(&kept).map(Arc::from).map_err(|e| CompileError::io(kept, &e))
}
