//! Which clang compiles.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::error::CompileError;

/// The names under which clang is looked for, the best first: a distribution's default, then newest to oldest.
const NAMES: [&str; 7] = ["clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"];

/// Names of newer ones, looked for last: nothing was tried with them.
const NEWER: [&str; 3] = ["clang-20", "clang-21", "clang-22"];

/// A clang that can be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clang {
    path: PathBuf,
    version: String,
}

/// Versions by path: asking for one takes as long as a small compilation.
static VERSIONS: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());

impl Clang {
    /// The clang that `BPF_CLANG` names, or else the first one in `PATH`: `clang`, `clang-19` and so on.
    ///
    /// # Errors
    /// If there is none, or what was found cannot be run.
    pub fn find() -> Result<Self, CompileError> {
        if let Some(path) = std::env::var_os("BPF_CLANG").filter(|p| !p.is_empty()) {
            let path = PathBuf::from(path);
            let found = if path.components().count() == 1 { in_path(&path) } else { Some(path.clone()) };
            return Self::at(found.unwrap_or(path));
        }
        let names = NAMES.iter().chain(&NEWER);
        let found = names.clone().find_map(|name| in_path(Path::new(name)));
        found.map_or_else(|| Err(CompileError::NoClang { tried: NAMES.join(", ") }), Self::at)
    }

    /// The clang at a path.
    ///
    /// # Errors
    /// If it cannot be run or is something else.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, CompileError> {
        let path = path.into();
        let mut versions = VERSIONS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(version) = versions.get(&path) {
            return Ok(Self { path, version: version.clone() });
        }
        let bad = |why: String| CompileError::BadClang { path: path.clone(), why };
        let output = Command::new(&path).arg("--version").output().map_err(|e| bad(e.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().next().unwrap_or_default().trim().to_owned();
        if !output.status.success() || !version.contains("clang version") {
            return Err(bad(format!("`--version` says '{version}'")));
        }
        versions.insert(path.clone(), version.clone());
        Ok(Self { path, version })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of its version: one line.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its major version, if it can be read from its words.
    #[must_use]
    pub fn major(&self) -> Option<u32> {
        let (_, rest) = self.version.split_once("clang version ")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }
}

fn in_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
