//! Bytes as readable text, reversibly.

/// Characters of a C array as text: up to the last byte that is not NUL.
///
/// Printable text stays as it is; a backslash becomes `\\`, a NUL inside `\0`, newline, tab and return `\n`, `\t` and
/// `\r`, everything else that is not printable UTF-8 `\xNN`. [`unescape`] is the way back.
///
/// ```
/// use bpf_harness::value::escape;
/// assert_eq!(escape(b"ls\0-l\0\0\0"), "ls\\0-l");
/// assert_eq!(escape(b"\xffok\n"), "\\xffok\\n");
/// ```
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    let mut out = String::new();
    for chunk in bytes.get(..end).unwrap_or_default().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\0' => out.push_str("\\0"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                c if c.is_control() => {
                    let mut buf = [0; 4];
                    for b in c.encode_utf8(&mut buf).bytes() {
                        out.push_str(&format!("\\x{b:02x}"));
                    }
                }
                c => out.push(c),
            }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out
}

/// The bytes that [`escape`] made this text from, without trailing NULs. A backslash that begins no escape stands for
/// itself.
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, tail) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        let (byte, used) = match tail.as_bytes() {
            [_, b'\\', ..] => (b'\\', 2),
            [_, b'0', ..] => (0, 2),
            [_, b'n', ..] => (b'\n', 2),
            [_, b't', ..] => (b'\t', 2),
            [_, b'r', ..] => (b'\r', 2),
            [_, b'x', ..] => match tail.get(2..4).and_then(|h| u8::from_str_radix(h, 16).ok()) {
                Some(b) => (b, 4),
                None => (b'\\', 1),
            },
            _ => (b'\\', 1),
        };
        out.push(byte);
        rest = tail.get(used..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Bytes as spaced hexadecimal: `0a 00 00 01`.
#[must_use]
pub fn bytes_to_hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 3);
    for (i, b) in bytes.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        out.push_str(&format!("{b:02x}"));
    }
    out
}

/// Bytes from hexadecimal; white space, colons and a leading `0x` are skipped. `None` if it is no hexadecimal.
///
/// ```
/// use bpf_harness::value::hex_to_bytes;
/// assert_eq!(hex_to_bytes("0a 00:00 01"), Some(vec![10, 0, 0, 1]));
/// assert_eq!(hex_to_bytes("0x0a0"), None);
/// ```
#[must_use]
pub fn hex_to_bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let text = text.strip_prefix("0x").unwrap_or(text);
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect::<Option<_>>()?;
    let (pairs, odd) = digits.as_chunks::<2>();
    odd.is_empty().then(|| pairs.iter().map(|[hi, lo]| hi << 4 | lo).collect())
}

#[cfg(test)]
mod tests {
    use super::{escape, hex_to_bytes, unescape};
    use proptest::prelude::{any, proptest};

    #[test]
    fn text_ends_before_the_padding() {
        assert_eq!(escape(b"bash\0\0\0\0"), "bash");
        assert_eq!(escape(b"\0\0"), "");
        assert_eq!(escape(b"a\\b"), "a\\\\b");
        assert_eq!(escape("é\u{7f}".as_bytes()), "é\\x7f");
    }

    #[test]
    fn a_stray_backslash_stands_for_itself() {
        assert_eq!(unescape(r"a\qb\xzz\"), br"a\qb\xzz\");
    }

    #[test]
    fn hexadecimal_needs_pairs() {
        assert_eq!(hex_to_bytes(""), Some(vec![]));
        assert_eq!(hex_to_bytes("abc"), None);
        assert_eq!(hex_to_bytes("zz"), None);
    }

    proptest! {
        #[test]
        fn escaping_is_reversible(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = escape(&bytes);
            while bytes.last() == Some(&0) {
                bytes.pop();
            }
            assert_eq!(unescape(&text), bytes);
        }
    }
}
