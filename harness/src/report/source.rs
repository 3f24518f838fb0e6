//! C lines of instructions.

use std::fmt;

use bpf_vm_shim::object::{LineInfo, LinkedProgram};

/// A place in a C (or Rust) source, as the compiler noted it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SourceLine {
    /// The file as the compiler saw it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub col: u32,
    /// The line's text, may be empty.
    pub text: String,
}

impl SourceLine {
    pub(crate) fn of(program: &LinkedProgram, insn: u32) -> Option<Self> {
        program.line(insn as usize).map(Self::from)
    }
}

impl From<&LineInfo> for SourceLine {
    fn from(line: &LineInfo) -> Self {
        Self { file: line.file.to_string(), line: line.line, col: line.col, text: line.text.to_string() }
    }
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Logs of the verifier before Linux 6.9 have the text alone.
        if self.file.is_empty() {
            return write!(f, "'{}'", self.text.trim());
        }
        write!(f, "{}:{}", self.file, self.line)?;
        if self.col > 0 {
            write!(f, ":{}", self.col)?;
        }
        Ok(())
    }
}
