//! Python's format language (`Format Specification Mini-Language` of its library reference), for numbers and text.

use minijinja::value::{Value as Any, ValueKind};

use crate::value::bytes_to_hex;

/// `[[fill]align][sign][#][0][width][,][.precision][type]`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    grouped: bool,
    precision: Option<usize>,
    kind: Option<char>,
}

/// The widest field, so that a line cannot ask for gigabytes.
const MAX_WIDTH: usize = 4096;

/// Types of the language that are offered: of text, of integers, of any number.
const KINDS: &str = "sdxXobcfeE%g";

impl Spec {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is no format: it is [[fill]align][sign][#][0][width][,][.precision][type], as in '<16', '08x' \
                 or '>9.3f'"
            )
        };
        let mut spec = Self::default();
        let mut rest = text;
        let is_align = |c: char| "<>^".contains(c);
        let mut chars = rest.chars();
        match (chars.next(), chars.next()) {
            (Some(fill), Some(align)) if is_align(align) => {
                (spec.fill, spec.align) = (Some(fill), Some(align));
                rest = chars.as_str();
            }
            (Some(align), _) if is_align(align) => {
                spec.align = Some(align);
                rest = rest.get(1..).unwrap_or_default();
            }
            _ => {}
        }
        if let Some(sign) = rest.chars().next().filter(|c| "+- ".contains(*c)) {
            spec.sign = Some(sign);
            rest = rest.get(1..).unwrap_or_default();
        }
        spec.alternate = take(&mut rest, '#');
        spec.zero = take(&mut rest, '0');
        spec.width = number(&mut rest).map_err(|()| wrong())?.unwrap_or(0);
        spec.grouped = take(&mut rest, ',');
        if take(&mut rest, '.') {
            spec.precision = Some(number(&mut rest).ok().flatten().ok_or_else(wrong)?);
        }
        let mut kinds = rest.chars();
        spec.kind = kinds.next();
        if kinds.next().is_some() || spec.kind.is_some_and(|k| !KINDS.contains(k)) {
            return Err(wrong());
        }
        Ok(spec)
    }

    /// The value as text.
    pub(super) fn apply(&self, value: &Any) -> Result<String, String> {
        let is_number = matches!(value.kind(), ValueKind::Number);
        let text = match self.kind {
            Some(kind @ ('d' | 'x' | 'X' | 'o' | 'b' | 'c')) => self.integer(kind, value)?,
            Some(kind @ ('f' | 'e' | 'E' | 'g' | '%')) => self.float(kind, value)?,
            None if is_number && value.is_integer() => self.integer('d', value)?,
            None if is_number => match self.precision {
                Some(_) => self.float('g', value)?,
                // As Python's `repr`: the shortest text that is this number.
                None => self.signed(format!("{:?}", f64::try_from(value.clone()).unwrap_or_default())),
            },
            _ => self.text(value)?,
        };
        let missing = self.width.saturating_sub(text.chars().count());
        if missing == 0 {
            return Ok(text);
        }
        let fill = |n: usize| std::iter::repeat_n(self.fill.unwrap_or(' '), n).collect::<String>();
        if self.zero && self.align.is_none() && is_number {
            // Zeroes go between sign or prefix and the digits.
            let digits = text.find(|c: char| c.is_ascii_hexdigit()).unwrap_or(0);
            let digits = digits + if self.alternate { 2 } else { 0 };
            let (sign, rest) = text.split_at_checked(digits).unwrap_or(("", &text));
            return Ok(format!("{sign}{}{rest}", "0".repeat(missing)));
        }
        Ok(match self.align.unwrap_or(if is_number { '>' } else { '<' }) {
            '>' => fill(missing) + &text,
            '^' => fill(missing / 2) + &text + &fill(missing - missing / 2),
            _ => text + &fill(missing),
        })
    }

    fn integer(&self, kind: char, value: &Any) -> Result<String, String> {
        let n = Some(value).filter(|v| v.is_integer() || v.kind() == ValueKind::Bool);
        let n = n.and_then(|v| i128::try_from(v.clone()).ok());
        let n = n.ok_or_else(|| format!("'{kind}' is for integers, this is {}", value.kind()))?;
        if self.precision.is_some() {
            return Err("an integer has no precision".to_owned());
        }
        let (digits, prefix) = match kind {
            'x' => (format!("{:x}", n.unsigned_abs()), "0x"),
            'X' => (format!("{:X}", n.unsigned_abs()), "0X"),
            'o' => (format!("{:o}", n.unsigned_abs()), "0o"),
            'b' => (format!("{:b}", n.unsigned_abs()), "0b"),
            'c' => {
                let c = u32::try_from(n).ok().and_then(char::from_u32);
                return c.map(String::from).ok_or_else(|| format!("{n} is no character"));
            }
            _ => (n.unsigned_abs().to_string(), ""),
        };
        let digits = if self.grouped { group(&digits) } else { digits };
        let prefix = if self.alternate { prefix } else { "" };
        let sign = if n < 0 { "-" } else { "" };
        Ok(self.signed(format!("{sign}{prefix}{digits}")))
    }

    fn float(&self, kind: char, value: &Any) -> Result<String, String> {
        let v = Some(value).filter(|v| v.is_number()).and_then(|v| f64::try_from(v.clone()).ok());
        let v = v.ok_or_else(|| format!("'{kind}' is for numbers, this is {}", value.kind()))?;
        let precision = self.precision.unwrap_or(6);
        let text = match kind {
            'e' | 'E' => {
                let text = format!("{v:.precision$e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap_or(0);
                let sign = if exponent < 0 { '-' } else { '+' };
                let text = format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
                if kind == 'E' { text.to_uppercase() } else { text }
            }
            'g' => format!("{v}"),
            '%' => format!("{:.precision$}%", v * 100.0),
            _ => format!("{v:.precision$}"),
        };
        let text = match text.split_once('.') {
            Some((whole, rest)) if self.grouped => format!("{}.{rest}", group(whole)),
            _ => text,
        };
        Ok(self.signed(text))
    }

    fn text(&self, value: &Any) -> Result<String, String> {
        let text = match value.kind() {
            ValueKind::Bytes => bytes_to_hex(value.as_bytes().unwrap_or_default()),
            ValueKind::Undefined => return Err("it has no value".to_owned()),
            _ => value.to_string(),
        };
        Ok(text.chars().take(self.precision.unwrap_or(usize::MAX)).collect())
    }

    fn signed(&self, text: String) -> String {
        match self.sign {
            Some(sign @ ('+' | ' ')) if !text.starts_with('-') => format!("{sign}{text}"),
            _ => text,
        }
    }
}

/// Thousands set apart by commas.
fn group(digits: &str) -> String {
    let count = digits.chars().filter(char::is_ascii_digit).count();
    let mut out = String::new();
    let mut seen = 0;
    for c in digits.chars() {
        if c.is_ascii_digit() {
            if seen > 0 && (count - seen).is_multiple_of(3) {
                out.push(',');
            }
            seen += 1;
        }
        out.push(c);
    }
    out
}

fn take(rest: &mut &str, c: char) -> bool {
    match rest.strip_prefix(c) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    }
}

fn number(rest: &mut &str) -> Result<Option<usize>, ()> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    if digits.is_empty() {
        return Ok(None);
    }
    digits.parse().ok().filter(|n| *n <= MAX_WIDTH).map(Some).ok_or(())
}

#[cfg(test)]
mod tests {
    use minijinja::value::Value as Any;
    use proptest::prelude::*;

    use super::Spec;

    #[track_caller]
    fn check(spec: &str, value: impl Into<Any>, expected: &str) {
        assert_eq!(Spec::parse(spec).and_then(|s| s.apply(&value.into())), Ok(expected.to_owned()), "{spec}");
    }

    /// What Python's `format` gives for the same value and format.
    #[test]
    fn formats_are_pythons() {
        check("<6", 42, "42    ");
        check("6", 42, "    42");
        check("6", "cat", "cat   ");
        check("*^7", "cat", "**cat**");
        check("06d", -42, "-00042");
        check("#06x", 42, "0x002a");
        check("x", 0xffff_8880_0000_1000u64, "ffff888000001000");
        check(",", 1_234_567, "1,234,567");
        check("+d", 5, "+5");
        check(".3f", 1.5, "1.500");
        check(">9.2f", 2, "     2.00");
        check(",.1f", -12345.67, "-12,345.7");
        check(".2e", 12345.0, "1.23e+04");
        check(".1%", 0.125, "12.5%");
        check("", 3.0, "3.0");
        check("", true, "True");
        check(".2", "cat", "ca");
        check("c", 65, "A");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (spec, value) in
            [("d", Any::from("x")), ("x", Any::from(1.5)), ("f", Any::from("x")), (".2d", Any::from(1))]
        {
            assert!(Spec::parse(spec).and_then(|s| s.apply(&value)).is_err(), "{spec}");
        }
        for spec in ["99999", ">q", "5.", "d5", "5x5"] {
            assert!(Spec::parse(spec).is_err(), "{spec}");
        }
    }

    proptest! {
        #[test]
        fn a_field_is_as_wide_as_it_is_asked_to_be(n in any::<i64>(), width in 0usize..40) {
            let text = Spec::parse(&format!("<{width}")).and_then(|s| s.apply(&Any::from(n))).unwrap();
            prop_assert_eq!(text.trim_end(), n.to_string());
            prop_assert_eq!(text.len(), width.max(n.to_string().len()));
        }

        #[test]
        fn no_format_is_too_strange(spec in "[<>^+ #0-9,.a-zA-Z%]{0,12}", n in any::<u64>(), text in "\\PC{0,8}") {
            if let Ok(spec) = Spec::parse(&spec) {
                let _ = spec.apply(&Any::from(n));
                let _ = spec.apply(&Any::from(text));
            }
        }
    }
}
