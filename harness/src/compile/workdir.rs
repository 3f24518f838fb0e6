//! A directory for one compilation, gone when it is over.

use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::error::CompileError;

/// A directory that is removed when it is dropped.
#[derive(Debug)]
pub(super) struct WorkDir(PathBuf);

impl WorkDir {
    pub(super) fn new(cache: &Cache) -> Result<Self, CompileError> {
        let path = cache.fresh();
        std::fs::create_dir_all(&path).map_err(|e| CompileError::io(&path, &e))?;
        // The compiler sees absolute paths, whatever its working directory is.
        let path = std::fs::canonicalize(&path).map_err(|e| CompileError::io(&path, &e))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into a folder of it.
    pub(super) fn write(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<PathBuf, CompileError> {
        let folder = self.0.join(folder);
        std::fs::create_dir_all(&folder).map_err(|e| CompileError::io(&folder, &e))?;
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|e| CompileError::io(&path, &e))?;
        Ok(path)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // What stays behind is a directory of temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
