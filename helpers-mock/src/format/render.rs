//! The second pass: numbers, strings and pointers as text (`lib/vsprintf.c`).

use std::fmt::Write as _;

use super::{Flags, Piece, PointerForm, Radix, Source};

/// Text of all pieces.
pub(super) fn render(pieces: &[Piece], source: &mut dyn Source) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) | Piece::Ready(text) => out.extend_from_slice(text),
            Piece::Char(c, flags) => pad(&mut out, &[*c], *flags),
            Piece::Str(text, flags) => pad(&mut out, text, *flags),
            Piece::Signed(v, flags) => {
                let sign = match (*v < 0, flags.plus, flags.space) {
                    (true, _, _) => "-",
                    (_, true, _) => "+",
                    (_, _, true) => " ",
                    _ => "",
                };
                number(&mut out, sign, &v.unsigned_abs().to_string(), *flags);
            }
            Piece::Unsigned(v, radix, flags) => {
                let digits = match radix {
                    Radix::Decimal => v.to_string(),
                    Radix::HexSmall => format!("{v:x}"),
                    Radix::HexCapital => format!("{v:X}"),
                };
                number(&mut out, "", &digits, *flags);
            }
            Piece::Pointer(v, form, flags) => pointer(&mut out, *v, *form, *flags, source),
        }
    }
    out
}

/// Strings and characters are padded with spaces whatever the flags say.
fn pad(out: &mut Vec<u8>, text: &[u8], flags: Flags) {
    let fill = flags.width.saturating_sub(text.len());
    if !flags.left {
        out.resize(out.len() + fill, b' ');
    }
    out.extend_from_slice(text);
    if flags.left {
        out.resize(out.len() + fill, b' ');
    }
}

fn number(out: &mut Vec<u8>, sign: &str, digits: &str, flags: Flags) {
    let fill = flags.width.saturating_sub(sign.len() + digits.len());
    let zeros = flags.zero && !flags.left;
    if !zeros && !flags.left {
        out.resize(out.len() + fill, b' ');
    }
    out.extend_from_slice(sign.as_bytes());
    if zeros {
        out.resize(out.len() + fill, b'0');
    }
    out.extend_from_slice(digits.as_bytes());
    if flags.left {
        out.resize(out.len() + fill, b' ');
    }
}

fn pointer(out: &mut Vec<u8>, v: u64, form: PointerForm, flags: Flags, source: &mut dyn Source) {
    let v = match form {
        PointerForm::Symbol => return pad(out, &symbol(v, SymbolForm::Name, source), flags),
        PointerForm::SymbolOffset => return pad(out, &symbol(v, SymbolForm::Offset, source), flags),
        PointerForm::Plain => v,
        PointerForm::Hashed => hash(v),
    };
    // Without a width a pointer has all its digits.
    let flags = if flags.width == 0 { Flags { width: 16, zero: true, ..flags } } else { flags };
    number(out, "", &format!("{v:x}"), flags);
}

/// Hashed pointers have 32 bits; null and error pointers stay what they are (`default_pointer`).
///
/// The kernel's key is random at each boot; here the same address gives the same text on every host.
pub(super) fn hash(v: u64) -> u64 {
    if v == 0 || v >= -4095i64 as u64 {
        return v;
    }
    let mut h = v ^ 0x9e37_79b9_7f4a_7c15;
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (h ^ (h >> 31)) & 0xffff_ffff
}

/// How an address is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SymbolForm {
    /// `sprint_symbol_no_offset`.
    Name,
    /// `sprint_symbol`.
    Offset,
    /// `sprint_backtrace`: looks one byte earlier, so that a call at a function's end is in that function.
    Backtrace,
}

/// A symbol's name, or the number where there is none. Symbols have no known size here, so the `/0x..` after the offset
/// is left out.
pub(super) fn symbol(v: u64, form: SymbolForm, source: &mut dyn Source) -> Vec<u8> {
    let back = u64::from(form == SymbolForm::Backtrace);
    let Some((mut name, offset, module)) = source.symbol(v.wrapping_sub(back)) else {
        return format!("0x{v:x}").into_bytes();
    };
    if form != SymbolForm::Name {
        let _ = write!(name, "+0x{:x}", offset + back);
    }
    if let Some(module) = module {
        let _ = write!(name, " [{module}]");
    }
    name.into_bytes()
}

/// An IP address; `plain` is the form with separators and zeros left out (`%pI4`, `%pI6`).
pub(super) fn ip(ip: &[u8], plain: bool) -> String {
    let mut out = String::new();
    for (i, byte) in ip.iter().enumerate() {
        let four = ip.len() == 4;
        if i > 0 && (four || plain && i % 2 == 0) {
            out.push(if four { '.' } else { ':' });
        }
        let _ = match (four, plain) {
            (true, true) => write!(out, "{byte}"),
            (true, false) => write!(out, "{byte:03}"),
            (false, _) => write!(out, "{byte:02x}"),
        };
    }
    out
}
