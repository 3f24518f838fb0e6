//! The forced header: the kernel's types, then the dialect.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::cache::Cache;
use super::super::clang::Clang;
use super::super::digest;
use super::super::error::CompileError;
use super::constants;
use super::kernel::BccKernel;

/// The parts of the dialect, in their order; they ship in the library.
const PARTS: [(&str, &str); 6] = [
    ("base.h", include_str!("../../../include/bcc/base.h")),
    ("kernel_inline.h", include_str!("../../../include/bcc/kernel_inline.h")),
    ("helpers.h", include_str!("../../../include/bcc/helpers.h")),
    ("output.h", include_str!("../../../include/bcc/output.h")),
    ("maps.h", include_str!("../../../include/bcc/maps.h")),
    ("probes.h", include_str!("../../../include/bcc/probes.h")),
];

/// The name of the header that includes the parts.
const FORCED: &str = "forced.h";

/// The forced header of one kernel, in the cache.
#[derive(Debug)]
pub(super) struct Header {
    /// Its directory.
    pub(super) dir: PathBuf,
    /// What it was made of.
    pub(super) hash: String,
}

impl Header {
    /// Writes the header, unless the cache has it. Types of the given names get out of the way of the text's own.
    pub(super) fn new(cache: &Cache, kernel: &BccKernel, renamed: &[String]) -> Result<Self, CompileError> {
        let types = rename(&kernel.vmlinux_h, renamed);
        let macros = kernel.macros();
        let constants = constants::macros(kernel.arch);
        let parts = PARTS.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
        let all = [types.as_bytes(), macros.as_bytes(), constants.as_bytes()];
        let hash = digest(all.into_iter().chain(parts));
        let dir = cache.file(&format!("bcc-{hash}"), |dir| {
            let write = |name: &str, text: &str| {
                let path = dir.join(name);
                std::fs::write(&path, text).map_err(|e| CompileError::io(path, &e))
            };
            std::fs::create_dir_all(dir).map_err(|e| CompileError::io(dir, &e))?;
            write("vmlinux.h", &types)?;
            write("kernel.h", &macros)?;
            write("constants.h", &constants)?;
            let mut forced =
                "#pragma once\n#define BPF_NO_PRESERVE_ACCESS_INDEX\n#include \"vmlinux.h\"\n".to_owned();
            forced += "#include \"kernel.h\"\n#include \"constants.h\"\n";
            for (name, text) in PARTS {
                // Writing to a string cannot fail.
                let _ = writeln!(forced, "#include \"{name}\"");
                write(name, text)?;
            }
            write(FORCED, &forced)
        })?;
        Ok(Self { dir, hash })
    }

    /// The header, to be included.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(FORCED)
    }

    /// The header compiled in advance for these flags; parsing it takes longer than compiling most texts. `None` if
    /// this clang does not make one.
    pub(super) fn precompiled(&self, cache: &Cache, clang: &Clang, flags: &[String]) -> Option<PathBuf> {
        let flag_bytes = flags.iter().map(String::as_bytes);
        let all = [clang.version().as_bytes(), self.hash.as_bytes()];
        let key = digest(all.into_iter().chain(flag_bytes));
        let made = cache.file(&format!("bcc-{key}.pch"), |path| self.precompile(clang, flags, path));
        made.ok()
    }

    fn precompile(&self, clang: &Clang, flags: &[String], to: &Path) -> Result<(), CompileError> {
        let mut command = Command::new(clang.path());
        command.args(flags).args(["-x", "c-header", "-Xclang", "-fno-pch-timestamp"]);
        command.arg(self.path()).arg("-o").arg(to);
        let output = command.output().map_err(|e| CompileError::io(clang.path(), &e))?;
        if output.status.success() {
            return Ok(());
        }
        let diagnostics = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(CompileError::Diagnostics { name: FORCED.to_owned(), diagnostics, notes: Vec::new() })
    }
}

/// Gives types of the kernel other names, wherever they are mentioned: a text that defines such a type itself means its
/// own. Members of the same name keep theirs where C can tell them from types.
fn rename(header: &str, names: &[String]) -> String {
    if names.is_empty() {
        return header.to_owned();
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::with_capacity(header.len() + 64);
    let mut rest = header;
    let mut before = "";
    while let Some(start) = rest.find(is_word) {
        let (gap, from) = rest.split_at(start);
        let end = from.find(|c| !is_word(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        out += gap;
        out += word;
        if names.iter().any(|n| n == word) {
            let tag = matches!(before, "struct" | "union" | "enum");
            let member = gap.ends_with('.') || gap.ends_with("->");
            let declared = !tag
                && after.trim_start().starts_with([';', ':', '['])
                && !before.is_empty()
                && before != "}";
            let alias = before == "typedef"
                || out.lines().next_back().is_some_and(|l| l.starts_with("typedef") || l.starts_with('}'));
            if tag || !(member || declared) || alias {
                out += "___kernel";
            }
        }
        before = word;
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::rename;

    #[test]
    fn types_are_renamed_and_members_are_not() {
        let header = "struct mount {\n\tint mount;\n\tstruct mount *next;\n\tu32 x;\n};\ntypedef int mount_t;\n\
                      enum e {\n\tA = 0,\n\tB = 1,\n};\ntypedef struct {\n\tint a;\n} pair;\n";
        let names = ["mount", "B", "mount_t", "pair"].map(str::to_owned);
        let renamed = "struct mount___kernel {\n\tint mount;\n\tstruct mount___kernel *next;\n\tu32 x;\n};\n\
                       typedef int mount_t___kernel;\nenum e {\n\tA = 0,\n\tB___kernel = 1,\n};\n\
                       typedef struct {\n\tint a;\n} pair___kernel;\n";
        assert_eq!(rename(header, &names), renamed);
    }
}
