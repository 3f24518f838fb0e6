//! Values of `.kconfig` externs (libbpf's `bpf_object__resolve_externs`, `set_kcfg_value_*`).

use std::collections::BTreeMap;

use crate::object::externs::{ExternDef, ExternKind, KconfigType};
use crate::object::map::MapDef;
use crate::object::parse::Object;
use crate::object::profile::KernelProfile;

/// Fills the `.kconfig` map. What the caller has written into it before is overwritten.
///
/// Gives, by index of the extern, why a value is missing; libbpf refuses the object then, here only the
/// instructions that would read it are poisoned.
pub(super) fn fill(object: &Object, kernel: &KernelProfile, maps: &mut [MapDef]) -> BTreeMap<usize, String> {
    let mut missing = BTreeMap::new();
    let map = object.kconfig_map.and_then(|i| maps.get_mut(i));
    let Some(data) = map.and_then(|m| m.data.as_mut()) else { return missing };
    for (index, ext) in object.externs.iter().enumerate() {
        let ExternKind::Kconfig { ty, offset, size } = ext.kind else { continue };
        let bytes = match value(ext, kernel) {
            Some(text) => encode(&text, ty, size),
            None if ext.weak => Ok(vec![0; size as usize]),
            None => Err("the kernel profile does not say its value (weak externs default to 0)".to_owned()),
        };
        match bytes {
            Ok(bytes) => {
                if data.write(offset, &bytes).is_none() {
                    missing.insert(index, "it does not fit its map".to_owned());
                }
            }
            Err(why) => {
                missing.insert(index, why);
            }
        }
    }
    missing
}

/// The value as a configuration file spells it.
fn value(ext: &ExternDef, kernel: &KernelProfile) -> Option<String> {
    let flag = |on: bool| Some(u8::from(on).to_string());
    match ext.name.as_str() {
        "LINUX_KERNEL_VERSION" => Some(kernel.version.to_string()),
        "LINUX_HAS_BPF_COOKIE" => flag(kernel.bpf_cookie),
        "LINUX_HAS_SYSCALL_WRAPPER" => flag(kernel.syscall_wrapper),
        name if name.starts_with("CONFIG_") => kernel.config(name),
        // Other `LINUX_*` names are of later libbpf; like theirs, an unknown one must be weak.
        _ => None,
    }
}

fn encode(text: &str, ty: KconfigType, size: u32) -> Result<Vec<u8>, String> {
    let mismatch = |implied: &str| Err(format!("value {text} implies {implied}"));
    match text.as_bytes() {
        [letter @ (b'y' | b'm' | b'n')] => match ty {
            KconfigType::Bool if *letter == b'm' => mismatch("tristate or char"),
            KconfigType::Bool => Ok(vec![u8::from(*letter == b'y')]),
            KconfigType::Char { .. } => Ok(vec![*letter]),
            KconfigType::Tristate => {
                let n: u32 = match letter {
                    b'y' => 1,
                    b'm' => 2,
                    _ => 0,
                };
                let mut bytes = n.to_le_bytes().to_vec();
                bytes.resize(size as usize, 0);
                Ok(bytes)
            }
            _ => mismatch("bool, tristate or char"),
        },
        [b'"', rest @ ..] => {
            if ty != KconfigType::CharArray {
                return mismatch("a char array");
            }
            let inside = rest.strip_suffix(b"\"").ok_or("the closing quote is missing")?;
            // Cut to the array, with its final NUL.
            let mut bytes = inside.to_vec();
            bytes.truncate((size as usize).saturating_sub(1));
            bytes.resize(size as usize, 0);
            Ok(bytes)
        }
        _ => number(text, ty, size),
    }
}

fn number(text: &str, ty: KconfigType, size: u32) -> Result<Vec<u8>, String> {
    let n = parse_integer(text).ok_or_else(|| format!("{text} is no integer"))?;
    let bits = size.saturating_mul(8);
    let signed = match ty {
        KconfigType::Int { signed } | KconfigType::Char { signed } => signed,
        KconfigType::Bool if n <= 1 => false,
        KconfigType::Bool => return Err(format!("{n} is no bool")),
        _ => return Err(format!("value {text} implies an integer")),
    };
    let fits = match (bits, signed) {
        (64.., _) => true,
        (_, false) => n >> bits == 0,
        (_, true) => n.wrapping_add(1 << (bits - 1)) < 1 << bits,
    };
    if !fits {
        return Err(format!("{text} does not fit {size} bytes"));
    }
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(size as usize, 0);
    Ok(bytes)
}

/// As C's `strtoull` with base 0: decimal, hexadecimal, octal, with a sign.
fn parse_integer(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let n = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(if negative { n.wrapping_neg() } else { n })
}

#[cfg(test)]
mod tests {
    use super::{KconfigType as K, encode};

    #[test]
    fn values_are_typed_as_libbpf_types_them() {
        type Row = (&'static str, K, u32, Result<&'static [u8], ()>);
        let table: &[Row] = &[
            ("y", K::Bool, 1, Ok(&[1])),
            ("n", K::Bool, 1, Ok(&[0])),
            ("m", K::Bool, 1, Err(())),
            ("m", K::Tristate, 4, Ok(&[2, 0, 0, 0])),
            ("y", K::Tristate, 4, Ok(&[1, 0, 0, 0])),
            ("m", K::Char { signed: true }, 1, Ok(b"m")),
            ("y", K::Int { signed: true }, 4, Err(())),
            ("1000", K::Int { signed: true }, 4, Ok(&[0xe8, 3, 0, 0])),
            ("0x10", K::Int { signed: false }, 2, Ok(&[16, 0])),
            ("-1", K::Int { signed: true }, 4, Ok(&[255, 255, 255, 255])),
            ("-1", K::Int { signed: false }, 4, Err(())),
            ("65536", K::Int { signed: false }, 2, Err(())),
            ("32768", K::Int { signed: true }, 2, Err(())),
            ("\"abc\"", K::CharArray, 8, Ok(b"abc\0\0\0\0\0")),
            ("\"abcdef\"", K::CharArray, 4, Ok(b"abc\0")),
            ("\"\"", K::CharArray, 2, Ok(b"\0\0")),
            ("\"", K::CharArray, 2, Err(())),
            ("\"abc\"", K::Int { signed: true }, 4, Err(())),
            ("2", K::Bool, 1, Err(())),
            ("", K::Int { signed: true }, 4, Err(())),
        ];
        for (text, ty, size, expected) in table {
            let got = encode(text, *ty, *size);
            assert_eq!(got.as_deref().map_err(|_| ()), *expected, "{text} as {ty:?}");
        }
    }
}
