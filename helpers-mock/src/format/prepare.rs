//! The first pass: which formats are allowed, and fetching what their arguments point to.

use super::{Flags, MAX_BIN_ARGS, Piece, PointerForm, Radix, Source};
use crate::errno::Errno;

/// Cuts a format string into pieces. Its end is the first NUL, or its last byte.
///
/// # Errors
/// As `bpf_bprintf_prepare`.
pub(super) fn prepare(fmt: &[u8], args: &[u64], source: &mut dyn Source) -> Result<Vec<Piece>, Errno> {
    let mut p = Prepare { fmt, at: 0, args: args.iter(), used: 0, pieces: Vec::new() };
    while let Some(c) = p.peek(0) {
        if c.is_ascii() && !printable(c) {
            return Err(Errno::EINVAL);
        }
        if c != b'%' {
            p.text(c);
            p.at += 1;
        } else if p.peek(1) == Some(b'%') {
            p.text(b'%');
            p.at += 2;
        } else {
            p.at += 1;
            p.conversion(source)?;
        }
    }
    Ok(p.pieces)
}

struct Prepare<'a> {
    fmt: &'a [u8],
    at: usize,
    args: std::slice::Iter<'a, u64>,
    used: usize,
    pieces: Vec<Piece>,
}

impl Prepare<'_> {
    /// The byte `n` ahead; none at the end.
    fn peek(&self, n: usize) -> Option<u8> {
        self.fmt.get(self.at + n).copied().filter(|c| *c != 0)
    }

    fn text(&mut self, c: u8) {
        match self.pieces.last_mut() {
            Some(Piece::Text(t)) => t.push(c),
            _ => self.pieces.push(Piece::Text(vec![c])),
        }
    }

    fn conversion(&mut self, source: &mut dyn Source) -> Result<(), Errno> {
        let arg = *self.args.next().ok_or(Errno::EINVAL)?;
        let flags = self.flags();
        let piece = match self.peek(0) {
            Some(b'p') => self.pointer(arg, flags, source)?,
            Some(b's') => {
                self.at += 1;
                self.string_end()?;
                let user = arg < TASK_SIZE;
                Piece::Str(self.string(arg, user, source)?, flags)
            }
            Some(b'c') => {
                self.at += 1;
                self.room(1)?;
                Piece::Char(arg as u8, flags)
            }
            _ => self.number(arg, flags)?,
        };
        self.pieces.push(piece);
        Ok(())
    }

    /// `[0 +-]*` and a width.
    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        loop {
            match self.peek(0) {
                Some(b'0') => flags.zero = true,
                Some(b'+') => flags.plus = true,
                Some(b'-') => flags.left = true,
                Some(b' ') => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        while let Some(c @ b'0'..=b'9') = self.peek(0) {
            flags.width = (flags.width * 10 + usize::from(c - b'0')).min(MAX_WIDTH);
            self.at += 1;
        }
        flags
    }

    fn pointer(&mut self, arg: u64, flags: Flags, source: &mut dyn Source) -> Result<Piece, Errno> {
        self.at += 1;
        let form = match (self.peek(0), self.peek(1)) {
            (c, _) if ends(c) => PointerForm::Hashed,
            (Some(kind @ (b'k' | b'u')), Some(b's')) => {
                self.at += 2;
                self.string_end()?;
                let text = self.string(arg, kind == b'u', source)?;
                return Ok(Piece::Ready(text));
            }
            (Some(b'K'), _) => PointerForm::Hashed,
            (Some(b'x'), _) => PointerForm::Plain,
            (Some(b's'), _) => PointerForm::Symbol,
            (Some(b'S'), _) => PointerForm::SymbolOffset,
            (Some(b'B'), _) => {
                let text = super::render::symbol(arg, super::render::SymbolForm::Backtrace, source);
                self.room(text.len() + 1)?;
                self.skip_alnum();
                return Ok(Piece::Ready(text));
            }
            (Some(kind @ (b'i' | b'I')), Some(family @ (b'4' | b'6'))) => {
                let mut ip = [0; 16];
                let ip = if family == b'4' { &mut ip[..4] } else { &mut ip[..] };
                self.room(ip.len())?;
                self.used -= ip.len();
                if !source.kernel(arg, ip) {
                    ip.fill(0);
                }
                let text = super::render::ip(ip, kind == b'I').into_bytes();
                self.used = (self.used + text.len() + 1).min(MAX_BIN_ARGS);
                self.skip_alnum();
                return Ok(Piece::Ready(text));
            }
            _ => return Err(Errno::EINVAL),
        };
        self.aligned_room(8)?;
        self.skip_alnum();
        Ok(Piece::Pointer(arg, form, flags))
    }

    fn number(&mut self, arg: u64, flags: Flags) -> Result<Piece, Errno> {
        let mut long = false;
        for _ in 0..2 {
            if self.peek(0) == Some(b'l') {
                long = true;
                self.at += 1;
            }
        }
        let piece = match (self.peek(0), long) {
            (Some(b'd' | b'i'), false) => Piece::Signed(i64::from(arg as i32), flags),
            (Some(b'd' | b'i'), true) => Piece::Signed(arg as i64, flags),
            (Some(c @ (b'u' | b'x' | b'X')), _) => {
                let radix = match c {
                    b'u' => Radix::Decimal,
                    b'x' => Radix::HexSmall,
                    _ => Radix::HexCapital,
                };
                Piece::Unsigned(if long { arg } else { u64::from(arg as u32) }, radix, flags)
            }
            _ => return Err(Errno::EINVAL),
        };
        self.at += 1;
        self.aligned_room(if long { 8 } else { 4 })?;
        Ok(piece)
    }

    /// After a string conversion only white space, punctuation or the end may stand.
    fn string_end(&self) -> Result<(), Errno> {
        if ends(self.peek(0)) { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Fetches a string, cut at what room is left; empty if it cannot be read.
    fn string(&mut self, addr: u64, user: bool, source: &mut dyn Source) -> Result<Vec<u8>, Errno> {
        let room = MAX_BIN_ARGS - self.used;
        if room == 0 {
            return Err(Errno::ENOSPC);
        }
        let mut text = Vec::new();
        while text.len() + 1 < room {
            let mut byte = [0];
            let at = addr.wrapping_add(text.len() as u64);
            let ok = if user { source.user(at, &mut byte) } else { source.kernel(at, &mut byte) };
            if !ok {
                text.clear();
                break;
            }
            if byte[0] == 0 {
                break;
            }
            text.push(byte[0]);
        }
        self.used += text.len() + 1;
        Ok(text)
    }

    fn room(&mut self, bytes: usize) -> Result<(), Errno> {
        if self.used + bytes > MAX_BIN_ARGS {
            return Err(Errno::ENOSPC);
        }
        self.used += bytes;
        Ok(())
    }

    fn aligned_room(&mut self, bytes: usize) -> Result<(), Errno> {
        self.used = self.used.next_multiple_of(4);
        self.room(bytes)
    }

    /// The second pass skips every letter and digit after a `%p`, known or not.
    fn skip_alnum(&mut self) {
        while self.peek(0).is_some_and(|c| c.is_ascii_alphanumeric()) {
            self.at += 1;
        }
    }
}

/// Widths above this are cut, so that a format cannot take all memory. (The kernel's limit is 64 times as high.)
const MAX_WIDTH: usize = 1 << 17;

/// Below it lies user memory: `%s` reads that on architectures whose address spaces do not overlap.
const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// `isprint` or `isspace`.
fn printable(c: u8) -> bool {
    matches!(c, 0x20..=0x7e | b'\t'..=b'\r')
}

/// The end of the string, `isspace` or `ispunct`.
fn ends(c: Option<u8>) -> bool {
    c.is_none_or(|c| matches!(c, b' ' | b'\t'..=b'\r') || c.is_ascii_punctuation())
}
