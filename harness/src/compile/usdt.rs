//! Readers of USDT arguments as C, from the specifications in the binaries' notes (bcc's `bcc_usdt_genargs`).
//!
//! A program says `bpf_usdt_readarg(1, ctx, &x)`; which probe it is attached to is known before it is compiled. A probe in
//! an inlined function has several places with arguments of their own: the instruction pointer tells which one it is, by
//! its place in the page, which does not depend on where the binary is loaded.

use std::collections::BTreeMap;
use std::fmt::Write;

use bpf_vm_shim::object::Arch;

use super::error::CompileError;
use crate::usdt::{ArgKind, ArgSpec, Location, Register, Usdt};

/// What the last digits of an address are that loading leaves alone.
const IN_PAGE: u64 = 0xfff;

/// The places of the probes that one function is attached to, and the addresses of the symbols in their arguments.
#[derive(Default)]
struct Function {
    places: Vec<(Location, BTreeMap<String, u64>)>,
}

/// C functions that read the arguments of all probes that are enabled, and the one that chooses among them.
pub(super) fn readers(contexts: &[Usdt], arch: Arch) -> Result<String, CompileError> {
    let functions = functions(contexts);
    let mut out = HELPERS.to_owned();
    let mut choice = String::new();
    for (number, (name, function)) in functions.iter().enumerate() {
        let count = function.places.iter().map(|(l, _)| l.args.len()).max().unwrap_or(0);
        // A helper of the only function that reads arguments reads the same ones.
        let test =
            if functions.len() == 1 { "1".to_owned() } else { format!("!__builtin_strcmp(fn, \"{name}\")") };
        let _ = writeln!(choice, "\tif ({test}) {{\n\t\tswitch (n) {{");
        for arg in 0..count {
            out += &reader(name, function, number, arg, arch)?;
            let _ =
                writeln!(choice, "\t\tcase {}: return __bcc_usdt_{number}_{arg}(ctx, dest, size);", arg + 1);
        }
        choice += "\t\tdefault: return -1;\n\t\t}\n\t}\n";
    }
    let _ = write!(
        out,
        "static __always_inline int __bcc_usdt_readarg(const char *fn, int n, struct pt_regs *ctx, void *dest, u64 size)\n\
         {{\n{choice}\treturn bpf_usdt_readarg_without_usdt_context();\n}}\n"
    );
    Ok(out)
}

/// What readers call. A destination of a size that no number has is an error, as in bcc.
const HELPERS: &str = "\
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 5, 0)
#define __bcc_read_user bpf_probe_read_user
#else
#define __bcc_read_user bpf_probe_read
#endif
static __always_inline int __bcc_usdt_store(void *dest, u64 size, u64 value)
{
	switch (size) {
	case 1: *(u8 *)dest = value; return 0;
	case 2: *(u16 *)dest = value; return 0;
	case 4: *(u32 *)dest = value; return 0;
	case 8: *(u64 *)dest = value; return 0;
	default: return -1;
	}
}
";

fn functions(contexts: &[Usdt]) -> BTreeMap<&str, Function> {
    let mut out: BTreeMap<&str, Function> = BTreeMap::new();
    for (usdt, enabled) in contexts.iter().flat_map(|u| u.enabled().iter().map(move |e| (u, e))) {
        let function = out.entry(&enabled.fn_name).or_default();
        for location in &enabled.probe.locations {
            let binary = usdt.binary(&enabled.path);
            let symbols = location.args.iter().filter_map(symbol);
            let addrs = symbols.filter_map(|s| Some((s.to_owned(), binary?.address(s)?)));
            function.places.push((location.clone(), addrs.collect()));
        }
    }
    out
}

fn symbol(spec: &ArgSpec) -> Option<&str> {
    match &spec.kind {
        ArgKind::Memory { symbol, .. } => symbol.as_deref(),
        _ => None,
    }
}

/// The function that reads one argument.
fn reader(
    name: &str,
    function: &Function,
    number: usize,
    arg: usize,
    arch: Arch,
) -> Result<String, CompileError> {
    let mut out = format!(
        "static __always_inline int __bcc_usdt_{number}_{arg}(struct pt_regs *ctx, void *dest, u64 size)\n{{\n\
         \tu64 value = 0;\n"
    );
    let specs: Vec<_> =
        function.places.iter().map(|(l, symbols)| (l.addr, l.args.get(arg), symbols)).collect();
    // Where the symbols of a place are follows from where the place is.
    let alike = specs
        .iter()
        .all(|(_, s, _)| s.is_some_and(|s| symbol(s).is_none()) && *s == specs.first().and_then(|f| f.1));
    match specs.first() {
        Some((addr, Some(spec), symbols)) if alike => out += &read(name, arg, spec, *addr, symbols, arch)?,
        _ => {
            let mut seen: BTreeMap<u64, (u64, Option<&ArgSpec>)> = BTreeMap::new();
            out += "\tswitch (PT_REGS_IP(ctx) & 0xfff) {\n";
            for (addr, spec, symbols) in &specs {
                let page = addr & IN_PAGE;
                if let Some(other) = seen.insert(page, (*addr, *spec)) {
                    if other == (*addr, *spec)
                        || (other.1 == *spec && spec.is_none_or(|s| symbol(s).is_none()))
                    {
                        continue;
                    }
                    let text = spec.map_or_else(String::new, ToString::to_string);
                    let why = format!(
                        "the probe's places {:#x} and {addr:#x} have different arguments and cannot be told apart \
                         wherever the binary is loaded",
                        other.0
                    );
                    return Err(CompileError::Usdt {
                        function: name.to_owned(),
                        number: arg + 1,
                        spec: text,
                        why,
                    });
                }
                let Some(spec) = spec else { continue };
                let _ = writeln!(out, "\tcase {page:#x}:");
                out += &read(name, arg, spec, *addr, symbols, arch)?;
                out += "\tbreak;\n";
            }
            out += "\tdefault: return -1;\n\t}\n";
        }
    }
    out += "\treturn __bcc_usdt_store(dest, size, value);\n}\n";
    Ok(out)
}

/// Statements that put an argument's value, extended to 64 bits, into `value`.
fn read(
    function: &str,
    arg: usize,
    spec: &ArgSpec,
    place: u64,
    symbols: &BTreeMap<String, u64>,
    arch: Arch,
) -> Result<String, CompileError> {
    let ty = c_type(spec);
    Ok(match &spec.kind {
        ArgKind::Const(value) => format!("\tvalue = (u64)({ty}){:#x}ULL;\n", value.cast_unsigned()),
        ArgKind::Register(r) => format!("\tvalue = (u64)({ty})({} >> {});\n", whole(r, arch), r.shift),
        ArgKind::Memory { base, index, scale, disp, symbol } => {
            let mut addr = format!("{:#x}ULL", disp.cast_unsigned());
            if let Some(symbol) = symbol {
                let Some(at) = symbols.get(symbol) else {
                    let why = format!("the binary has no symbol '{symbol}'");
                    let (function, spec) = (function.to_owned(), spec.to_string());
                    return Err(CompileError::Usdt { function, number: arg + 1, spec, why });
                };
                // As far from the probe as in the file.
                let _ = write!(addr, " + PT_REGS_IP(ctx) + {:#x}ULL", at.wrapping_sub(place));
            }
            if let Some(base) = base.filter(|b| !(b.is_pc() && symbol.is_some())) {
                let _ = write!(addr, " + {}", part(&base, arch));
            }
            if let Some(index) = index {
                let _ = write!(addr, " + {} * {scale}", part(index, arch));
            }
            format!(
                "\t{{\n\t\t{ty} raw = 0;\n\t\tif (__bcc_read_user(&raw, sizeof(raw), (const void *)({addr})))\n\
                 \t\t\treturn -1;\n\t\tvalue = (u64)raw;\n\t}}\n"
            )
        }
    })
}

const fn c_type(spec: &ArgSpec) -> &'static str {
    match (spec.size, spec.signed) {
        (1, true) => "s8",
        (1, false) => "u8",
        (2, true) => "s16",
        (2, false) => "u16",
        (4, true) => "s32",
        (4, false) => "u32",
        (_, true) => "s64",
        (_, false) => "u64",
    }
}

/// The register that a name is a part of.
fn whole(register: &Register, arch: Arch) -> String {
    let field = register.field;
    match arch {
        Arch::Arm64 => format!("((const struct user_pt_regs *)ctx)->{field}"),
        _ => format!("ctx->{field}"),
    }
}

/// The part of a register that its name means, in an address.
fn part(register: &Register, arch: Arch) -> String {
    let ty = match register.size {
        1 => "u8",
        2 => "u16",
        4 => "u32",
        _ => "u64",
    };
    format!("({ty})({} >> {})", whole(register, arch), register.shift)
}
