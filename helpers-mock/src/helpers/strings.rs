//! Numbers in text, and comparing strings (`kernel/bpf/helpers.c`, `lib/kstrtox.c`).

use bpf_vm_shim::env::{CallResult, Flow};

use super::desc::{Arg, Call, HelperDesc};
use crate::errno::Errno;
use crate::kernel::Kernel;

const STRTOX: &[Arg] = &[Arg::Mem, Arg::Size, Arg::Any, Arg::FixedOut(8)];

const fn row(
    id: u32,
    name: &'static str,
    args: &'static [Arg],
    since: (u8, u8),
    func: super::HelperFn,
) -> HelperDesc {
    HelperDesc { id, name, args, since, gpl_only: false, func, resume: None }
}

pub(super) static TABLE: &[HelperDesc] = &[
    row(105, "bpf_strtol", STRTOX, (5, 2), strtol),
    row(106, "bpf_strtoul", STRTOX, (5, 2), strtoul),
    row(182, "bpf_strncmp", &[Arg::Mem, Arg::Size, Arg::Str], (5, 17), strncmp),
];

/// A number at the start of text: how many bytes it took, its magnitude and whether a minus stood before it
/// (`__bpf_strtoull`).
fn parse(text: &[u8], flags: u64) -> Result<(usize, u64, bool), Errno> {
    /// The kernel copies at most this much before it parses.
    const COPY: usize = 63;
    let base = flags & 0x1f;
    if !matches!(base, 0 | 8 | 10 | 16) || flags & !0x1f != 0 {
        return Err(Errno::EINVAL);
    }
    let blanks = text.iter().take_while(|c| matches!(c, b' ' | b'\t'..=b'\r' | 0xa0)).count();
    let negative = text.get(blanks) == Some(&b'-');
    let start = blanks + usize::from(negative);
    let rest = text.get(start..).filter(|r| !r.is_empty()).ok_or(Errno::EINVAL)?;
    let mut rest = rest.get(..COPY).unwrap_or(rest);
    let whole = rest.len();
    let hex = matches!(rest, [b'0', b'x' | b'X', c, ..] if c.is_ascii_hexdigit());
    let base = match base {
        0 if hex => 16,
        0 if rest.first() == Some(&b'0') => 8,
        0 => 10,
        base => base,
    };
    if base == 16 && matches!(rest, [b'0', b'x' | b'X', ..]) {
        rest = rest.get(2..).unwrap_or_default();
    }
    let digits = rest.iter().map_while(|c| char::from(*c).to_digit(base as u32)).collect::<Vec<_>>();
    if digits.is_empty() {
        return Err(Errno::EINVAL);
    }
    let value = digits.iter().try_fold(0u64, |v, d| v.checked_mul(base)?.checked_add(u64::from(*d)));
    let taken = start + (whole - rest.len()) + digits.len();
    Ok((taken, value.ok_or(Errno::ERANGE)?, negative))
}

/// Gives the number and how many bytes it took; 0 and the error otherwise.
fn answer(call: &mut Call<'_, '_>, result: Result<(usize, u64), Errno>) -> CallResult {
    let (ret, value) = match result {
        Ok((taken, value)) => (taken as u64, value),
        Err(e) => (e.ret(), 0),
    };
    call.put(3, call.args[3], &value.to_le_bytes())?;
    Ok(Flow::Return(ret))
}

/// `bpf_strtol`.
fn strtol(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [buf, len, flags, ..] = call.args;
    let text = call.bytes(buf, len)?;
    let signed = |(taken, value, negative): (usize, u64, bool)| {
        let limit = if negative { 1 << 63 } else { i64::MAX as u64 };
        let value_ok = value <= limit;
        let value = if negative { value.wrapping_neg() } else { value };
        if value_ok { Ok((taken, value)) } else { Err(Errno::ERANGE) }
    };
    let result = parse(&text, flags).and_then(signed);
    answer(call, result)
}

/// `bpf_strtoul`: a minus is an error.
fn strtoul(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [buf, len, flags, ..] = call.args;
    let text = call.bytes(buf, len)?;
    let unsigned = |(taken, value, negative)| if negative { Err(Errno::EINVAL) } else { Ok((taken, value)) };
    let result = parse(&text, flags).and_then(unsigned);
    answer(call, result)
}

/// `bpf_strncmp`: -1, 0 or 1.
fn strncmp(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [one, len, two, ..] = call.args;
    let one = call.bytes(one, len)?;
    let two = call.string(two)?;
    let at = |s: &[u8], i: usize| s.get(i).copied().unwrap_or(0);
    for i in 0..one.len() {
        let (a, b) = (at(&one, i), at(&two, i));
        if a != b {
            return Ok(Flow::Return(if a < b { -1i64 as u64 } else { 1 }));
        }
        if a == 0 {
            break;
        }
    }
    Ok(Flow::Return(0))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::errno::Errno;

    #[test]
    fn numbers_are_read_as_the_kernel_reads_them() {
        let table = [
            ("12", 0, Ok((2, 12, false))),
            ("-12", 10, Ok((3, 12, true))),
            ("  42x", 0, Ok((4, 42, false))),
            ("0x1f", 0, Ok((4, 31, false))),
            ("0X1F", 16, Ok((4, 31, false))),
            ("1f", 16, Ok((2, 31, false))),
            ("017", 0, Ok((3, 15, false))),
            ("08", 0, Ok((1, 0, false))),
            ("0xg", 0, Ok((1, 0, false))),
            ("0x", 16, Err(Errno::EINVAL)),
            ("", 0, Err(Errno::EINVAL)),
            ("-", 0, Err(Errno::EINVAL)),
            ("- 5", 0, Err(Errno::EINVAL)),
            ("+5", 0, Err(Errno::EINVAL)),
            ("x", 0, Err(Errno::EINVAL)),
            ("5", 7, Err(Errno::EINVAL)),
            ("5", 32, Err(Errno::EINVAL)),
            ("18446744073709551615", 0, Ok((20, u64::MAX, false))),
            ("18446744073709551616", 0, Err(Errno::ERANGE)),
        ];
        for (text, flags, want) in table {
            assert_eq!(parse(text.as_bytes(), flags), want, "{text:?} base {flags}");
        }
    }
}
