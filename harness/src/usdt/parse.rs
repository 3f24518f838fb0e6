//! Reads argument specifications: the operands that a compiler puts into `.note.stapsdt`, in the assembler's syntax.
//!
//! x86-64 is AT&T syntax: `$5`, `%edi`, `-16(%rbp)`, `sym+8(%rip)`, `(%rax,%rbx,4)`, `sym(,%rbx,8)`. arm64 is `5`, `x0`,
//! `[sp, 16]`, `[x0, x1, lsl 3]`. A size comes first, negative if the argument is signed: `-4@%edi`.

use bpf_vm_shim::object::Arch;

use super::register::Register;
use super::spec::{ArgKind, ArgSpec};

/// An argument specification that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("argument {index} ('{text}'): {why}")]
#[non_exhaustive]
pub struct SpecError {
    /// Which argument, from 1.
    pub index: usize,
    /// The specification.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// More arguments than a probe can have: `sys/sdt.h` has macros for 12.
const MAX_ARGS: usize = 64;

impl ArgSpec {
    /// Reads all arguments of a probe.
    ///
    /// # Errors
    /// The first argument that is malformed, or whose place is not general purpose (floating point registers).
    ///
    /// ```
    /// use bpf_harness::usdt::{ArgKind, ArgSpec};
    /// use bpf_vm_shim::object::Arch;
    /// let args = ArgSpec::parse_all("-4@%edi 8@-16(%rbp) 8@$5", Arch::X86_64)?;
    /// assert_eq!(args[2].kind, ArgKind::Const(5));
    /// assert_eq!(args[1].to_string(), "8@-16(%rbp)");
    /// # Ok::<(), bpf_harness::usdt::SpecError>(())
    /// ```
    pub fn parse_all(text: &str, arch: Arch) -> Result<Vec<Self>, SpecError> {
        let words = split(text);
        if let Some(word) = words.get(MAX_ARGS) {
            let (index, text) = (MAX_ARGS + 1, (*word).to_owned());
            return Err(SpecError { index, text, why: "a probe cannot have so many arguments".to_owned() });
        }
        let parse = |(i, word): (usize, &str)| {
            Self::parse(word, arch).map_err(|why| SpecError { index: i + 1, text: word.to_owned(), why })
        };
        words.into_iter().enumerate().map(parse).collect()
    }

    /// Reads one argument.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, arch: Arch) -> Result<Self, String> {
        let (size, operand) = match text.split_once('@') {
            Some((size, operand)) if is_size(size) => (Some(size), operand.trim()),
            _ => (None, text.trim()),
        };
        let kind = match arch {
            Arch::X86_64 => x86_64(operand)?,
            Arch::Arm64 => arm64(operand)?,
            _ => return Err("arguments of this architecture are not known".to_owned()),
        };
        // Without a size an argument is as wide as its register, or a word.
        let natural = match &kind {
            ArgKind::Register(r) => r.size,
            _ => 8,
        };
        let (size, signed) = match size {
            None => (natural, false),
            Some(s) if s.ends_with('f') => return Err("floating point arguments cannot be read".to_owned()),
            Some(s) => (s.trim_start_matches('-').parse().unwrap_or(0), s.starts_with('-')),
        };
        if !matches!(size, 1 | 2 | 4 | 8) {
            return Err("its size is none of 1, 2, 4, 8".to_owned());
        }
        if matches!(&kind, ArgKind::Register(r) if r.shift > 0 && size > r.size) {
            return Err("it is larger than the part of the register".to_owned());
        }
        Ok(Self::new(size, signed, kind))
    }
}

/// The words of a text; brackets hold a word together.
fn split(text: &str) -> Vec<&str> {
    let (mut words, mut start, mut depth) = (Vec::new(), None, 0u32);
    for (i, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (c.is_whitespace() && depth == 0, start) {
            (true, Some(s)) => {
                words.extend(text.get(s..i));
                start = None;
            }
            (false, None) => start = Some(i),
            _ => {}
        }
    }
    words.extend(start.and_then(|s| text.get(s..)));
    words
}

fn is_size(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let digits = digits.strip_suffix('f').unwrap_or(digits);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn register(arch: Arch, name: &str) -> Result<Register, String> {
    let found = Register::find(arch, name.trim());
    found.ok_or_else(|| format!("'{}' is no general purpose register", name.trim()))
}

fn x86_64(text: &str) -> Result<ArgKind, String> {
    if let Some(value) = text.strip_prefix('$') {
        return number(value).map(ArgKind::Const).ok_or_else(|| format!("'{value}' is no number"));
    }
    if text.starts_with('%') {
        if text.contains(':') {
            return Err("segment registers are not known".to_owned());
        }
        return register(Arch::X86_64, text).map(ArgKind::Register);
    }
    let (outer, inner) = match text.split_once('(') {
        Some((outer, rest)) => {
            let inner = rest.strip_suffix(')').ok_or_else(|| "a ')' is missing at its end".to_owned())?;
            (outer, Some(inner))
        }
        None => (text, None),
    };
    let (disp, symbol) = displacement(outer.trim())?;
    let (mut base, mut index, mut scale) = (None, None, 1);
    if let Some(inner) = inner {
        let mut parts = inner.split(',').map(str::trim);
        if let Some(name) = parts.next().filter(|n| !n.is_empty()) {
            base = Some(register(Arch::X86_64, name)?);
        }
        if let Some(name) = parts.next() {
            index = Some(register(Arch::X86_64, name)?);
        }
        if let Some(text) = parts.next() {
            let known = text.parse().ok().filter(|s| matches!(s, 1 | 2 | 4 | 8));
            scale = known.ok_or_else(|| format!("the scale '{text}' is none of 1, 2, 4, 8"))?;
        }
        if parts.next().is_some() {
            return Err("too many parts in its brackets".to_owned());
        }
    } else if outer.is_empty() {
        return Err("it is empty".to_owned());
    }
    memory(base, index, scale, disp, symbol)
}

fn memory(
    base: Option<Register>,
    index: Option<Register>,
    scale: u8,
    disp: i64,
    symbol: Option<String>,
) -> Result<ArgKind, String> {
    if index.is_some_and(|i| i.is_pc()) {
        return Err("the program counter cannot be an index".to_owned());
    }
    Ok(ArgKind::Memory { base, index, scale, disp, symbol })
}

/// Numbers and at most one symbol, added up: `-16`, `sym`, `sym+8`, `8+sym`.
fn displacement(text: &str) -> Result<(i64, Option<String>), String> {
    let (mut disp, mut symbol) = (0i64, None);
    let mut rest = text;
    while !rest.is_empty() {
        let (negative, term) = match (rest.strip_prefix('-'), rest.strip_prefix('+')) {
            (Some(r), _) => (true, r),
            (_, Some(r)) => (false, r),
            _ => (false, rest),
        };
        let end = term.find(['+', '-']).unwrap_or(term.len());
        let (word, after) = term.split_at(end);
        let word = word.trim();
        match number(word) {
            Some(n) => disp = disp.wrapping_add(if negative { n.wrapping_neg() } else { n }),
            None if is_symbol(word) && !negative && symbol.is_none() => symbol = Some(word.to_owned()),
            None => return Err(format!("'{text}' is neither a number nor a symbol")),
        }
        rest = after;
    }
    Ok((disp, symbol))
}

fn is_symbol(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b"_.".contains(&b))
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.$@".contains(&b))
}

/// Decimal or `0x`, with a sign; the upper half of 64 bits wraps to negative numbers.
fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse::<u64>().ok()?,
    };
    let value = value.cast_signed();
    Some(if negative { value.wrapping_neg() } else { value })
}

fn arm64(text: &str) -> Result<ArgKind, String> {
    let immediate = |s: &str| number(s.trim().trim_start_matches('#'));
    if let Some(value) = immediate(text.trim_start_matches('$')) {
        return Ok(ArgKind::Const(value));
    }
    let Some(inner) = text.strip_prefix('[') else {
        return register(Arch::Arm64, text).map(ArgKind::Register);
    };
    let inner = inner.strip_suffix(']').ok_or_else(|| "a ']' is missing at its end".to_owned())?;
    let mut parts = inner.split(',').map(str::trim);
    let base = register(Arch::Arm64, parts.next().unwrap_or_default())?;
    let (mut index, mut scale, mut disp) = (None, 1, 0);
    if let Some(second) = parts.next() {
        match immediate(second) {
            Some(n) => disp = n,
            None => index = Some(register(Arch::Arm64, second)?),
        }
    }
    if let Some(third) = parts.next() {
        let shift =
            third.strip_prefix("lsl").and_then(immediate).filter(|s| index.is_some() && (0..=3).contains(s));
        scale = 1 << shift.ok_or_else(|| format!("'{third}' is no shift of an index by 0 to 3"))?;
    }
    if parts.next().is_some() {
        return Err("too many parts in its brackets".to_owned());
    }
    memory(Some(base), index, scale, disp, None)
}

#[cfg(test)]
pub(super) mod tests {
    use bpf_vm_shim::object::Arch;
    use proptest::prelude::*;

    use super::super::register::Register;
    use super::super::spec::{ArgKind, ArgSpec};

    #[test]
    fn every_form_is_read() {
        let x86 = |name| Register::find(Arch::X86_64, name);
        let arm = |name| Register::find(Arch::Arm64, name);
        let mem = |base, index, scale, disp, symbol: &str| ArgKind::Memory {
            base,
            index,
            scale,
            disp,
            symbol: (!symbol.is_empty()).then(|| symbol.to_owned()),
        };
        for (arch, text, size, signed, kind) in [
            (Arch::X86_64, "-4@%edi", 4, true, ArgKind::Register(x86("edi").unwrap())),
            (Arch::X86_64, "1@%ah", 1, false, ArgKind::Register(x86("ah").unwrap())),
            (Arch::X86_64, "%esi", 4, false, ArgKind::Register(x86("esi").unwrap())),
            (Arch::X86_64, "8@$5", 8, false, ArgKind::Const(5)),
            (Arch::X86_64, "-4@$-9", 4, true, ArgKind::Const(-9)),
            (Arch::X86_64, "8@$0xffffffffffffffff", 8, false, ArgKind::Const(-1)),
            (Arch::X86_64, "8@-16(%rbp)", 8, false, mem(x86("rbp"), None, 1, -16, "")),
            (Arch::X86_64, "8@(%rsp)", 8, false, mem(x86("rsp"), None, 1, 0, "")),
            (Arch::X86_64, "4@sym(%rip)", 4, false, mem(x86("rip"), None, 1, 0, "sym")),
            (Arch::X86_64, "4@sym+8(%rip)", 4, false, mem(x86("rip"), None, 1, 8, "sym")),
            (Arch::X86_64, "4@-4+a.b(%rip)", 4, false, mem(x86("rip"), None, 1, -4, "a.b")),
            (Arch::X86_64, "8@(%rax,%rbx,4)", 8, false, mem(x86("rax"), x86("rbx"), 4, 0, "")),
            (Arch::X86_64, "2@6(%rax,%rbx)", 2, false, mem(x86("rax"), x86("rbx"), 1, 6, "")),
            (Arch::X86_64, "8@table(,%rdx,8)", 8, false, mem(None, x86("rdx"), 8, 0, "table")),
            (Arch::X86_64, "4@counter", 4, false, mem(None, None, 1, 0, "counter")),
            (Arch::Arm64, "-4@w0", 4, true, ArgKind::Register(arm("w0").unwrap())),
            (Arch::Arm64, "8@5", 8, false, ArgKind::Const(5)),
            (Arch::Arm64, "-4@-7", 4, true, ArgKind::Const(-7)),
            (Arch::Arm64, "8@[sp]", 8, false, mem(arm("sp"), None, 1, 0, "")),
            (Arch::Arm64, "8@[x29, -8]", 8, false, mem(arm("x29"), None, 1, -8, "")),
            (Arch::Arm64, "8@[sp,#16]", 8, false, mem(arm("sp"), None, 1, 16, "")),
            (Arch::Arm64, "8@[x0, x1]", 8, false, mem(arm("x0"), arm("x1"), 1, 0, "")),
            (Arch::Arm64, "8@[x0, x1, lsl 3]", 8, false, mem(arm("x0"), arm("x1"), 8, 0, "")),
        ] {
            assert_eq!(ArgSpec::parse(text, arch), Ok(ArgSpec::new(size, signed, kind)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (arch, text, why) in [
            (Arch::X86_64, "8f@%xmm0", "xmm0"),
            (Arch::X86_64, "8f@%rax", "floating point"),
            (Arch::X86_64, "8@%xmm0", "no general purpose register"),
            (Arch::X86_64, "3@%eax", "1, 2, 4, 8"),
            (Arch::X86_64, "8@", "empty"),
            (Arch::X86_64, "8@8(%rax", "')' is missing"),
            (Arch::X86_64, "8@(%rax,%rbx,3)", "scale '3'"),
            (Arch::X86_64, "8@(%rax,%rip,2)", "index"),
            (Arch::X86_64, "8@%ah", "larger"),
            (Arch::X86_64, "8@%fs:40", "segment"),
            (Arch::X86_64, "8@a-b(%rip)", "neither a number nor a symbol"),
            (Arch::Arm64, "8@[x0", "']' is missing"),
            (Arch::Arm64, "8@[x0, 8, lsl 1]", "no shift"),
            (Arch::Arm64, "8@%rdi", "no general purpose register"),
        ] {
            let error = ArgSpec::parse(text, arch).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn brackets_hold_an_argument_together() {
        let all = ArgSpec::parse_all("8@[sp, 16] -4@w1", Arch::Arm64).unwrap();
        assert_eq!(all.iter().map(ToString::to_string).collect::<Vec<_>>(), ["8@[sp, 16]", "-4@w1"]);
        let error = ArgSpec::parse_all("4@%eax 8@%nope", Arch::X86_64).unwrap_err();
        assert_eq!((error.index, error.text.as_str()), (2, "8@%nope"));
        assert_eq!(ArgSpec::parse_all("  ", Arch::X86_64), Ok(Vec::new()));
        assert!(ArgSpec::parse_all(&"1@%al ".repeat(70), Arch::X86_64).is_err());
    }

    fn any_register(arch: Arch) -> impl Strategy<Value = Register> {
        let all: Vec<_> = Register::all(arch).filter(|r| !r.is_pc()).collect();
        proptest::sample::select(all)
    }

    pub(in super::super) fn any_spec(arch: Arch) -> impl Strategy<Value = ArgSpec> {
        let scale = proptest::sample::select(vec![1u8, 2, 4, 8]);
        let wide = |r: &Register| r.size == 8;
        let base = any_register(arch).prop_filter("whole registers hold addresses", wide);
        let index = proptest::option::of(any_register(arch).prop_filter("whole", wide));
        let memory = (base, index, scale, -4096i64..4096).prop_map(move |(base, index, scale, disp)| {
            // arm64 has an index or a displacement.
            let disp = if arch == Arch::Arm64 && index.is_some() { 0 } else { disp };
            let scale = if index.is_some() { scale } else { 1 };
            ArgKind::Memory { base: Some(base), index, scale, disp, symbol: None }
        });
        let kind = prop_oneof![
            any::<i64>().prop_map(ArgKind::Const),
            any_register(arch).prop_map(ArgKind::Register),
            memory,
        ];
        let size = proptest::sample::select(vec![1u8, 2, 4, 8]);
        (size, any::<bool>(), kind).prop_map(|(size, signed, kind)| {
            let size = if matches!(&kind, ArgKind::Register(r) if r.shift > 0) { 1 } else { size };
            ArgSpec::new(size, signed, kind)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            x86 in proptest::collection::vec(any_spec(Arch::X86_64), 0..8),
            arm in proptest::collection::vec(any_spec(Arch::Arm64), 0..8),
        ) {
            for (arch, specs) in [(Arch::X86_64, x86), (Arch::Arm64, arm)] {
                let text = specs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                prop_assert_eq!(ArgSpec::parse_all(&text, arch).map_err(|e| format!("{text}: {e}")), Ok(specs));
            }
        }

        #[test]
        fn no_text_is_too_strange(text in "[-+@$%()\\[\\], a-z0-9#:.]{0,40}") {
            let _ = ArgSpec::parse_all(&text, Arch::X86_64);
            let _ = ArgSpec::parse_all(&text, Arch::Arm64);
        }
    }
}
