//! `struct tracepoint__CATEGORY__EVENT`: a tracepoint's record as C, from the event's `format` file.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::super::error::CompileError;
use super::kernel::BccKernel;
use crate::profile::tracepoints as format;

/// The bytes that every record begins with and programs may not read (`struct trace_entry`).
const COMMON: u32 = 8;

/// A field of a record.
struct Field<'a> {
    /// Its type as declared, without array brackets.
    ty: &'a str,
    name: &'a str,
    /// The number of elements, where that is written as a number.
    len: Option<u32>,
    is_array: bool,
    offset: u32,
    size: u32,
    signed: bool,
}

/// The structures of all tracepoints that a text mentions and the kernel knows.
///
/// What is named without being used, in a comment for instance, costs nothing.
pub(super) fn structures(
    kernel: &BccKernel,
    text: &str,
    asked: &BTreeSet<(String, String)>,
) -> Result<String, CompileError> {
    let mut all = mentioned(text);
    all.extend(asked.iter().cloned());
    let mut out = String::new();
    let mut done = BTreeSet::new();
    for (category, event) in all {
        let name = format!("tracepoint__{category}__{event}");
        if let Some(format) = (kernel.tracepoints)(&category, &event)
            && done.insert(name.clone())
        {
            let wrong = |why: String| CompileError::Tracepoint {
                category: category.clone(),
                event: event.clone(),
                why,
            };
            out += &structure(&name, &format).map_err(wrong)?;
        }
    }
    Ok(out)
}

/// The tracepoints that a text names: `TRACEPOINT_PROBE(category, event)` and `tracepoint__category__event`.
pub(super) fn mentioned(text: &str) -> BTreeSet<(String, String)> {
    let mut out = BTreeSet::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in text.match_indices("TRACEPOINT_PROBE") {
        let rest = text.get(at + "TRACEPOINT_PROBE".len()..).unwrap_or_default().trim_start();
        let args = rest.strip_prefix('(').and_then(|r| r.split_once(')')).map(|(args, _)| args);
        if let Some((category, event)) = args.and_then(|a| a.split_once(',')) {
            out.insert((category.trim().to_owned(), event.trim().to_owned()));
        }
    }
    for word in text.split(|c| !is_word(c)) {
        out.extend(named(word));
    }
    out
}

/// The readings of `tracepoint__category__event`: either part may hold two underscores itself.
pub(super) fn named(word: &str) -> Vec<(String, String)> {
    let Some(rest) = word.strip_prefix("tracepoint__") else { return Vec::new() };
    let cuts = rest.match_indices("__");
    cuts.filter_map(|(at, _)| Some((rest.get(..at)?.to_owned(), rest.get(at + 2..)?.to_owned()))).collect()
}

fn structure(name: &str, format: &str) -> Result<String, String> {
    let mut fields = Vec::new();
    for line in format.lines() {
        if line.trim().starts_with("field:") {
            let field = field(line).ok_or_else(|| format!("'{}' is no field", line.trim()))?;
            if field.offset >= COMMON {
                fields.push(field);
            }
        }
    }
    fields.sort_by_key(|f| f.offset);
    let mut out = format!("struct {name} {{\n\tu64 __do_not_use__;\n");
    let mut at = COMMON;
    for f in &fields {
        if f.offset < at {
            return Err(format!("field '{}' overlaps the one before it", f.name));
        }
        let (ty, array, align) = declaration(f);
        // What C would leave out by itself is left to it.
        let natural = at.next_multiple_of(align);
        if natural != f.offset && f.offset > at {
            let _ = writeln!(out, "\tchar __pad_{at}[{}];", f.offset - at);
        }
        let packed = if f.offset.is_multiple_of(align) { "" } else { " __attribute__((packed))" };
        let prefix = if f.ty.starts_with("__data_loc") { "data_loc_" } else { "" };
        let _ = writeln!(out, "\t{ty} {prefix}{}{array}{packed};", f.name);
        at = f.offset + f.size;
    }
    out += "};\n";
    Ok(out)
}

/// Type, array brackets and alignment: a type of the right size, whatever the kernel calls it, since the types of many
/// records are not in BTF.
fn declaration(f: &Field<'_>) -> (String, String, u32) {
    if f.ty.starts_with("__data_loc") || f.ty.starts_with("__rel_loc") {
        return ("u32".to_owned(), String::new(), 4);
    }
    if f.ty.ends_with('*') && f.size == 8 && !f.is_array {
        let text = matches!(f.ty, "const char *" | "char *");
        let ty = if text { "const char *" } else { pointer(f.ty) };
        return (ty.to_owned(), String::new(), 8);
    }
    let element = f.len.filter(|n| *n > 0 && f.size.is_multiple_of(*n)).map(|n| f.size / n);
    let (size, count) = match element {
        Some(size) if f.is_array => (size, f.size / size),
        _ if f.is_array => (1, f.size),
        _ => (f.size, 0),
    };
    let is_char = f.ty.trim_start_matches("const ") == "char";
    let ty = match (size, f.signed) {
        (1, _) if is_char => "char",
        (1, true) => "s8",
        (1, false) => "u8",
        (2, true) => "s16",
        (2, false) => "u16",
        (4, true) => "s32",
        (4, false) => "u32",
        (8, true) => "s64",
        (8, false) => "u64",
        _ => return ("char".to_owned(), format!("[{}]", f.size), 1),
    };
    let array = if f.is_array { format!("[{count}]") } else { String::new() };
    (ty.to_owned(), array, size)
}

/// A pointer as declared if its target needs no declaration, else an untyped one.
fn pointer(ty: &str) -> &str {
    let target = ty.trim_end_matches(['*', ' ']).trim_start_matches("const ");
    let known = target.strip_prefix("struct ").is_some_and(|n| !n.contains(' ')) || target == "void";
    if known { ty } else { "void *" }
}

/// Reads one line of a format file, `field:...`.
fn field(line: &str) -> Option<Field<'_>> {
    let format::Field { offset, size, signed, .. } = format::Field::parse(line)?;
    let declared = line.trim().strip_prefix("field:")?.split(';').next()?.trim();
    let is_loc = declared.starts_with("__data_loc") || declared.starts_with("__rel_loc");
    let (decl, len, is_array) = match declared.split_once('[').filter(|_| !is_loc) {
        Some((decl, rest)) => (decl, rest.split(']').next().and_then(|n| n.parse().ok()), true),
        None => (declared, None, false),
    };
    let split = decl.trim_end().rfind([' ', '*'])? + 1;
    let (ty, name) = (decl.get(..split)?.trim(), decl.get(split..)?.trim());
    let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty();
    word.then_some(Field { ty, name, len, is_array, offset, size, signed })
}

#[cfg(test)]
mod tests {
    use super::{mentioned, structure};

    #[test]
    fn tracepoints_are_found_in_text() {
        let text = "TRACEPOINT_PROBE( block , block_rq_issue ) {}\nint tracepoint__a__b(void *x);";
        let found: Vec<_> = mentioned(text).into_iter().map(|(c, e)| format!("{c}:{e}")).collect();
        assert_eq!(found, ["a:b", "block:block_rq_issue"]);
    }

    #[test]
    fn records_keep_the_kernel_s_offsets() {
        let format = "name: x\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
            \tfield:dev_t dev;\toffset:8;\tsize:4;\tsigned:0;\n\
            \tfield:sector_t sector;\toffset:16;\tsize:8;\tsigned:0;\n\
            \tfield:unsigned int fd;\toffset:24;\tsize:8;\tsigned:0;\n\
            \tfield:char rwbs[8];\toffset:32;\tsize:8;\tsigned:0;\n\
            \tfield:__u8 saddr_v6[16];\toffset:41;\tsize:16;\tsigned:0;\n\
            \tfield:__data_loc char[] cmd;\toffset:60;\tsize:4;\tsigned:0;\n\
            \tfield:const char * filename;\toffset:64;\tsize:8;\tsigned:0;\n\
            \tfield:struct sock *sk;\toffset:72;\tsize:8;\tsigned:0;\n\nprint fmt: \"\"";
        let expected = "\
struct tracepoint__a__x {
	u64 __do_not_use__;
	u32 dev;
	u64 sector;
	u64 fd;
	char rwbs[8];
	char __pad_40[1];
	u8 saddr_v6[16];
	u32 data_loc_cmd;
	const char * filename;
	struct sock * sk;
};
";
        assert_eq!(structure("tracepoint__a__x", format).unwrap(), expected);
        assert!(structure("x", "\tfield:int;").is_err());
    }
}
