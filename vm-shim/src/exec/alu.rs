//! Arithmetic whose results RFC 9669 defines beyond what the host's operators do (section 4.1).

/// Unsigned division; by zero gives 0.
#[inline(always)]
pub(crate) fn div64(a: u64, b: u64) -> u64 {
    a.checked_div(b).unwrap_or(0)
}

/// Unsigned remainder; by zero gives the dividend.
#[inline(always)]
pub(crate) fn mod64(a: u64, b: u64) -> u64 {
    a.checked_rem(b).unwrap_or(a)
}

/// Signed division, truncating; by zero gives 0, and the smallest number by -1 gives itself.
#[inline(always)]
pub(crate) fn sdiv64(a: u64, b: u64) -> u64 {
    if b == 0 { 0 } else { (a as i64).wrapping_div(b as i64) as u64 }
}

/// Signed remainder, with the dividend's sign; by zero gives the dividend, the smallest number by -1 gives 0.
#[inline(always)]
pub(crate) fn smod64(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 }
}

/// [`div64`] on the lower halves.
#[inline(always)]
pub(crate) fn div32(a: u64, b: u64) -> u64 {
    u64::from((a as u32).checked_div(b as u32).unwrap_or(0))
}

/// [`mod64`] on the lower halves.
#[inline(always)]
pub(crate) fn mod32(a: u64, b: u64) -> u64 {
    u64::from((a as u32).checked_rem(b as u32).unwrap_or(a as u32))
}

/// [`sdiv64`] on the lower halves.
#[inline(always)]
pub(crate) fn sdiv32(a: u64, b: u64) -> u64 {
    if b as u32 == 0 { 0 } else { u64::from((a as i32).wrapping_div(b as i32) as u32) }
}

/// [`smod64`] on the lower halves.
#[inline(always)]
pub(crate) fn smod32(a: u64, b: u64) -> u64 {
    if b as u32 == 0 { u64::from(a as u32) } else { u64::from((a as i32).wrapping_rem(b as i32) as u32) }
}
