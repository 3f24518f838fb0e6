//! The kernel's format strings for BPF: one engine behind `bpf_trace_printk`, `bpf_snprintf`, `bpf_seq_printf` and
//! their relatives.
//!
//! As in the kernel there are two passes: checking and fetching (`bpf_bprintf_prepare` in `kernel/bpf/helpers.c`,
//! file `prepare.rs`), then rendering (`bstr_printf` in `lib/vsprintf.c`, file `render.rs`).

mod btf;
mod legacy;
mod prepare;
mod render;

pub(crate) use btf::{Style, show};
pub(crate) use legacy::check as check_legacy;
use prepare::prepare;

use crate::errno::Errno;

/// Most arguments of the `v` forms (`MAX_BPRINTF_VARARGS`).
pub(crate) const MAX_VARARGS: u32 = 12;
/// Bytes that fetched arguments may take (`MAX_BPRINTF_BIN_ARGS`).
const MAX_BIN_ARGS: usize = 512;
/// Longest line of the trace, its end included (`MAX_BPRINTF_BUF`).
pub(crate) const MAX_BUF: usize = 1024;

/// What formatting needs to know about the machine.
pub(crate) trait Source {
    /// Reads kernel memory without faulting.
    fn kernel(&mut self, addr: u64, out: &mut [u8]) -> bool;
    /// Reads the current task's user memory without faulting.
    fn user(&mut self, addr: u64, out: &mut [u8]) -> bool;
    /// The symbol that an address is in: its name, the offset into it, its module.
    fn symbol(&mut self, addr: u64) -> Option<(String, u64, Option<String>)>;
}

/// Padding and sign options of one conversion.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Flags {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    width: usize,
}

/// One piece of a format string with its argument fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    /// Text as it is.
    Text(Vec<u8>),
    /// A character.
    Char(u8, Flags),
    /// A string, padded.
    Str(Vec<u8>, Flags),
    /// A string that the first pass made, never padded.
    Ready(Vec<u8>),
    /// A signed number.
    Signed(i64, Flags),
    /// An unsigned number: base 10, or 16 in small or capital letters.
    Unsigned(u64, Radix, Flags),
    /// A pointer in full (`%px`), hashed (`%p`), or as a symbol with or without offset (`%pS`, `%ps`).
    Pointer(u64, PointerForm, Flags),
}

/// How unsigned numbers look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Radix {
    Decimal,
    HexSmall,
    HexCapital,
}

/// How pointers look in the second pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PointerForm {
    Hashed,
    Plain,
    Symbol,
    SymbolOffset,
}

/// Formats in one go. The result has no NUL at its end.
///
/// # Errors
/// `-EINVAL` for a format that the kernel refuses, `-ENOSPC` if the arguments take too much room.
pub(crate) fn format(fmt: &[u8], args: &[u64], source: &mut dyn Source) -> Result<Vec<u8>, Errno> {
    let pieces = prepare(fmt, args, source)?;
    Ok(render::render(&pieces, source))
}

#[cfg(test)]
mod tests;
