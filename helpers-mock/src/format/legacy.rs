//! What `bpf_trace_printk` allowed before Linux 5.13 (`bpf_trace_printk` in `kernel/trace/bpf_trace.c` of those times).

use crate::errno::Errno;

/// Checks a format against the old rules: no widths, no `%c`, `%X` or `%%`, at most three conversions, at most one `%s`
/// before 5.13's predecessor 5.5 had `%pks` and `%pus`.
///
/// # Errors
/// `-EINVAL`.
pub(crate) fn check(fmt: &[u8], version: (u8, u8)) -> Result<(), Errno> {
    let at = |i: usize| fmt.get(i).copied().unwrap_or(0);
    let (mut i, mut conversions, mut strings) = (0, 0, 0);
    while i < fmt.len() {
        let c = at(i);
        if !matches!(c, 0x20..=0x7e | b'\t'..=b'\r') || conversions > 3 {
            return Err(Errno::EINVAL);
        }
        i += 1;
        if c != b'%' {
            continue;
        }
        conversions += 1;
        if conversions > 3 {
            return Err(Errno::EINVAL);
        }
        let mut longs = 0;
        while at(i) == b'l' && longs < 2 {
            longs += 1;
            i += 1;
        }
        match at(i) {
            b'p' if longs == 0 && version >= (5, 5) && matches!(at(i + 1), b'k' | b'u') => {
                if at(i + 2) != b's' {
                    return Err(Errno::EINVAL);
                }
                strings += 1;
                i += 2;
            }
            b'p' if longs == 0 && version >= (5, 10) && at(i + 1) == b'B' => i += 1,
            b'p' if longs == 0 => {}
            b's' if longs == 0 => strings += 1,
            b'd' | b'i' | b'u' | b'x' => {
                i += 1;
                continue;
            }
            _ => return Err(Errno::EINVAL),
        }
        i += 1;
        // Only one string may be printed, and a pointer must be followed by something else than a modifier.
        let next = at(i);
        if strings > 1 || (next != 0 && !matches!(next, b' ' | b'\t'..=b'\r') && !next.is_ascii_punctuation())
        {
            return Err(Errno::EINVAL);
        }
    }
    Ok(())
}
