//! Why a text was not compiled.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Compiling failed.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CompileError {
    /// There is no clang.
    #[error(
        "clang is needed to compile BPF programs and was not found (looked for {tried} in PATH): install it \
         (`apt install clang`, `dnf install clang`, `apk add clang`, ...), or set BPF_CLANG to its path; objects that are \
         compiled already need no compiler"
    )]
    NoClang {
        /// The names that were looked for.
        tried: String,
    },
    /// What was given as clang is not, or cannot be run.
    #[error("'{}' cannot be used as clang: {why}", .path.display())]
    BadClang {
        /// Its path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file that compiling needs cannot be read or written.
    #[error("{}: {why}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The text is wrong: what clang says about it.
    #[error("'{name}' does not compile:\n{diagnostics}{}", list(.notes))]
    Diagnostics {
        /// The text's name.
        name: String,
        /// clang's own words.
        diagnostics: String,
        /// What may be behind it.
        notes: Vec<String>,
    },
    /// Nothing says what the kernel's types are.
    #[error("the kernel profile has no types: bcc text is compiled against a kernel's BTF or vmlinux.h")]
    NoTypes,
    /// The format of a tracepoint makes no structure.
    #[error("tracepoint {category}:{event}: {why}")]
    Tracepoint {
        /// Its category.
        category: String,
        /// Its name.
        event: String,
        /// What is wrong with its format.
        why: String,
    },
    /// The host of this guest was to compile, and did not.
    #[error("compiling on the host of this virtual machine: {why}")]
    Host {
        /// Why.
        why: String,
    },
    /// An argument spec of a statically defined probe is not understood.
    #[error("USDT probe of function '{function}', argument {number} '{spec}': {why}")]
    Usdt {
        /// The function that reads it.
        function: String,
        /// Its number, from 1.
        number: usize,
        /// The spec.
        spec: String,
        /// What is wrong with it.
        why: String,
    },
}

fn list(notes: &[String]) -> String {
    notes.iter().map(|n| format!("\nnote: {n}")).collect()
}

impl CompileError {
    pub(super) fn io(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::Io { path: path.into(), why: error.to_string() }
    }
}
