//! Constant expressions as C macros leave them in a tag: `-22`, `0x10`, `(1 << 4)`, `-EINVAL`, `INT_MIN`.

use bpf_helpers_mock::Errno;

/// Evaluates an expression of C constants; `None` if it is none.
///
/// ```
/// use bpf_harness::annotations::parse_number;
/// assert_eq!(parse_number("(1 << 4) | 0x3"), Some(19));
/// assert_eq!(parse_number("-EINVAL"), Some(-22));
/// assert_eq!(parse_number("_INT_MIN"), Some(-2147483648));
/// assert_eq!(parse_number("x + 1"), None);
/// ```
#[must_use]
pub fn parse_number(text: &str) -> Option<i64> {
    let mut p = Parser { rest: text.trim(), depth: 0 };
    let v = p.binary(0)?;
    p.rest.is_empty().then_some(v)
}

struct Parser<'a> {
    rest: &'a str,
    depth: u32,
}

/// Binary operators by rising precedence. Longer ones stand before those they begin with.
static OPERATORS: &[&[&str]] = &[&["|"], &["^"], &["&"], &["<<", ">>"], &["+", "-"], &["*", "/", "%"]];

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn binary(&mut self, level: usize) -> Option<i64> {
        let Some(ops) = OPERATORS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        'next: loop {
            for op in *ops {
                if self.eat(op) {
                    let right = self.binary(level + 1)?;
                    left = apply(op, left, right)?;
                    continue 'next;
                }
            }
            return Some(left);
        }
    }

    fn unary(&mut self) -> Option<i64> {
        self.depth += 1;
        if self.depth > 64 {
            return None;
        }
        if self.eat("-") {
            return Some(self.unary()?.wrapping_neg());
        }
        if self.eat("~") {
            return Some(!self.unary()?);
        }
        if self.eat("+") {
            return self.unary();
        }
        if self.eat("(") {
            // A cast changes nothing that matters in 32 bits.
            for cast in ["int)", "unsigned int)", "__u32)", "__s32)", "u32)", "s32)"] {
                if self.eat(cast) {
                    return self.unary();
                }
            }
            let v = self.binary(0)?;
            return self.eat(")").then_some(v);
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end)?;
        let v = constant(word)?;
        self.rest = rest.trim_start();
        Some(v)
    }
}

fn apply(op: &str, a: i64, b: i64) -> Option<i64> {
    Some(match op {
        "|" => a | b,
        "^" => a ^ b,
        "&" => a & b,
        "<<" => a.checked_shl(u32::try_from(b).ok()?)?,
        ">>" => a.checked_shr(u32::try_from(b).ok()?)?,
        "+" => a.wrapping_add(b),
        "-" => a.wrapping_sub(b),
        "*" => a.wrapping_mul(b),
        "/" => a.checked_div(b)?,
        _ => a.checked_rem(b)?,
    })
}

fn constant(word: &str) -> Option<i64> {
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = word.trim_end_matches(['u', 'U', 'l', 'L']);
        let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16),
            None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
            None => digits.parse(),
        };
        return parsed.ok().map(u64::cast_signed);
    }
    match word {
        "INT_MIN" | "_INT_MIN" => Some(i32::MIN.into()),
        "INT_MAX" => Some(i32::MAX.into()),
        "UINT_MAX" => Some(u32::MAX.into()),
        "POINTER_VALUE" => Some(super::POINTER_VALUE),
        "XDP_ABORTED" | "SK_DROP" | "TC_ACT_OK" => Some(0),
        "XDP_DROP" | "SK_PASS" => Some(1),
        "XDP_PASS" | "TC_ACT_SHOT" => Some(2),
        "true" => Some(1),
        "false" => Some(0),
        _ => Errno::from_name(word).map(|e| e.number().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_number;

    #[test]
    fn expressions_as_in_c() {
        let table = [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("0x88442211", Some(0x8844_2211)),
            ("010", Some(8)),
            ("(INT_MIN)", Some(-0x8000_0000)),
            ("(-2147483647 - 1)", Some(-0x8000_0000)),
            ("1 << 4 | 1", Some(17)),
            ("2 + 3 * 4", Some(14)),
            ("~0", Some(-1)),
            ("(int)-34", Some(-34)),
            ("TEST_DATA_LEN", None),
            ("1 +", None),
            ("", None),
            ("1 / 0", None),
            ("1 << 64", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_number(text), expected, "{text}");
        }
        assert_eq!(parse_number(&"(".repeat(10_000)), None);
    }
}
