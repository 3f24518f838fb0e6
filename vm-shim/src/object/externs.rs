//! What an object expects from the kernel by name (libbpf's `bpf_object__collect_externs`).

use std::collections::{BTreeMap, BTreeSet};

use super::elf::Elf;
use super::error::{LoadError, limit};
use super::parse::Notes;
use crate::btf::core::essential_name;
use crate::btf::{Btf, Kind, Linkage, Type, TypeId};

/// How a `.kconfig` value is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KconfigType {
    /// `char`: a letter (`y`, `m`, `n`) or a small number.
    Char {
        /// Negative numbers fit.
        signed: bool,
    },
    /// `bool`: `y` or `n`.
    Bool,
    /// An integer of 2, 4 or 8 bytes.
    Int {
        /// Negative numbers fit.
        signed: bool,
    },
    /// `enum libbpf_tristate`: `n`, `y` or `m` as 0, 1, 2.
    Tristate,
    /// A string.
    CharArray,
}

/// What an extern stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ExternKind {
    /// A kernel configuration value (`__kconfig`).
    Kconfig {
        /// How it is read.
        ty: KconfigType,
        /// Offset in the `.kconfig` map, in bytes.
        offset: u32,
        /// Size in bytes.
        size: u32,
    },
    /// The address of a kernel symbol (`__ksym` variable).
    Ksym {
        /// Its type; `None` if it is declared as `void` and looked up in kallsyms.
        type_id: Option<TypeId>,
    },
    /// A kernel function (`__ksym` function), or a library function that the compiler calls.
    Kfunc {
        /// Its prototype; `None` without BTF.
        proto: Option<TypeId>,
    },
}

/// A symbol that the object uses and does not define.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ExternDef {
    /// Name in the object, with its flavour (`bpf_dynptr_slice___v2`).
    pub name: String,
    /// What it stands for.
    pub kind: ExternKind,
    /// It may be missing.
    pub weak: bool,
    /// Its variable or function in the object's BTF.
    pub btf_id: Option<TypeId>,
}

impl ExternDef {
    /// The name that the kernel knows: without the flavour.
    #[must_use]
    pub fn kernel_name(&self) -> &str {
        match self.kind {
            ExternKind::Kconfig { .. } => &self.name,
            _ => essential_name(&self.name),
        }
    }
}

/// Externs with the symbol each comes from, and the size of the `.kconfig` map.
#[derive(Debug, Default)]
pub(super) struct Externs {
    pub(super) list: Vec<ExternDef>,
    /// Symbol index to index into `list`.
    pub(super) by_symbol: BTreeMap<usize, usize>,
    /// Size of `.kconfig` in bytes; `None` if there are no such externs.
    pub(super) kconfig_size: Option<u32>,
}

struct Found<'a> {
    symbol: usize,
    name: &'a str,
    weak: bool,
    btf_id: Option<TypeId>,
    kind: ExternKind,
    align: u64,
}

pub(super) fn collect(elf: &Elf<'_>, btf: Option<&Btf>, notes: &mut Notes) -> Result<Externs, LoadError> {
    let sections = btf.map(section_of_each_var).unwrap_or_default();
    let called = called_symbols(elf);
    let used = used_symbols(elf);
    let mut described = BTreeMap::new();
    let mut found = Vec::new();
    for (symbol, sym) in elf.symbols.iter().enumerate() {
        if !sym.is_extern() || sym.name.is_empty() {
            continue;
        }
        let described = btf.and_then(|btf| {
            let found = described.entry(&sym.name).or_insert_with(|| describe(btf, &sym.name, &sections));
            found.map(|d| (btf, d))
        });
        let (btf_id, kind, align) = match described {
            Some((btf, (id, section))) => {
                let (kind, align) = classify(btf, &sym.name, id, section)?;
                (Some(id), kind, align)
            }
            None if !used.contains(&symbol) => continue,
            None => {
                // libbpf refuses the object here; Rust and older compilers give their externs no BTF.
                notes.push(format!("extern '{}' has no BTF and is looked up by its name alone", sym.name));
                let call = called.contains(&symbol);
                let kind =
                    if call { ExternKind::Kfunc { proto: None } } else { ExternKind::Ksym { type_id: None } };
                (None, kind, 1)
            }
        };
        found.push(Found { symbol, name: &sym.name, weak: sym.weak, btf_id, kind, align });
    }
    // By kind; configuration values by falling alignment, rising size and name (`cmp_externs`).
    found.sort_by_key(|f| match f.kind {
        ExternKind::Kconfig { size, .. } => (0, u64::MAX - f.align, size, f.name),
        _ => (1, 0, 0, f.name),
    });
    let mut externs = Externs::default();
    for f in found {
        let mut kind = f.kind;
        if let ExternKind::Kconfig { offset, size, .. } = &mut kind {
            let at = u64::from(externs.kconfig_size.unwrap_or(0)).next_multiple_of(f.align.max(1));
            let end = at.saturating_add(u64::from(*size));
            LoadError::check("size of all .kconfig values", end, limit::KCONFIG)?;
            *offset = at as u32;
            externs.kconfig_size = Some(end as u32);
        }
        externs.by_symbol.insert(f.symbol, externs.list.len());
        externs.list.push(ExternDef { name: f.name.to_owned(), kind, weak: f.weak, btf_id: f.btf_id });
    }
    Ok(externs)
}

/// The data section of every variable and function that is in one.
fn section_of_each_var(btf: &Btf) -> BTreeMap<TypeId, &str> {
    let mut out = BTreeMap::new();
    for (_, ty) in btf.iter() {
        if let Type::DataSec(sec) = ty {
            for var in sec.vars() {
                out.entry(var.type_id).or_insert(sec.name);
            }
        }
    }
    out
}

/// The extern's variable or function in BTF and the section that it is in.
fn describe<'a>(
    btf: &'a Btf,
    name: &'a str,
    sections: &BTreeMap<TypeId, &'a str>,
) -> Option<(TypeId, &'a str)> {
    btf.find_all(name).find_map(|id| {
        let declared = matches!(
            btf.get(id),
            Ok(Type::Var { linkage: Linkage::Extern, .. } | Type::Func { linkage: Linkage::Extern, .. })
        );
        match (declared, sections.get(&id)) {
            (true, Some(section)) => Some((id, *section)),
            // The linker of libbpf gives static inline declarations no section.
            (true, None) if btf.kind_of(id) == Some(Kind::Func) => Some((id, ".ksyms")),
            _ => None,
        }
    })
}

fn classify(btf: &Btf, name: &str, id: TypeId, section: &str) -> Result<(ExternKind, u64), LoadError> {
    let bad = |reason: String| LoadError::BadExtern { name: name.to_owned(), reason };
    let ty = btf.get(id).map_err(|e| bad(e.to_string()))?;
    match (section, ty) {
        (".kconfig", Type::Func { .. }) => Err(bad("a function cannot be in section .kconfig".to_owned())),
        (".kconfig", Type::Var { target, .. }) => {
            let size = btf.size_of(target).map_err(|e| bad(e.to_string()))?;
            let align = btf.align_of(target).map_err(|e| bad(e.to_string()))?;
            let ty = kconfig_type(btf, target).ok_or_else(|| {
                bad(format!("'{}' is no type of a configuration value", btf.type_name(target)))
            })?;
            let size = u32::try_from(size).ok().filter(|s| *s > 0 && u64::from(*s) <= limit::KCONFIG);
            let size = size.ok_or_else(|| bad("its size is out of range".to_owned()))?;
            Ok((ExternKind::Kconfig { ty, offset: 0, size }, align))
        }
        (".ksyms", Type::Func { proto, .. }) => Ok((ExternKind::Kfunc { proto: Some(proto) }, 1)),
        (".ksyms", Type::Var { target, .. }) => {
            let (resolved, ty) = btf.resolve(target).map_err(|e| bad(e.to_string()))?;
            let type_id = (!matches!(ty, Type::Void)).then_some(resolved);
            Ok((ExternKind::Ksym { type_id }, 1))
        }
        (other, _) => Err(bad(format!("it is in section '{other}', which is neither .kconfig nor .ksyms"))),
    }
}

/// libbpf's `find_kcfg_type`.
fn kconfig_type(btf: &Btf, id: TypeId) -> Option<KconfigType> {
    let scalar = |id| match btf.resolve(id).ok()?.1 {
        Type::Int(int) => {
            let signed = int.encoding.is_signed();
            match int.size {
                1 if int.encoding.is_bool() => Some(KconfigType::Bool),
                _ if int.encoding.is_bool() => None,
                1 => Some(KconfigType::Char { signed }),
                2 | 4 | 8 => Some(KconfigType::Int { signed }),
                _ => None,
            }
        }
        Type::Enum(e) | Type::Enum64(e) if e.name == "libbpf_tristate" && e.size == 4 => {
            Some(KconfigType::Tristate)
        }
        _ => None,
    };
    match btf.resolve(id).ok()?.1 {
        Type::Array(a) if a.len > 0 => {
            matches!(scalar(a.element), Some(KconfigType::Char { .. })).then_some(KconfigType::CharArray)
        }
        _ => scalar(id),
    }
}

/// Symbols that code refers to.
fn used_symbols(elf: &Elf<'_>) -> BTreeSet<usize> {
    elf.sections.iter().filter(|s| s.exec).flat_map(|s| s.relocs.iter().map(|r| r.symbol)).collect()
}

/// Symbols that a call instruction refers to.
fn called_symbols(elf: &Elf<'_>) -> BTreeSet<usize> {
    let is_call = |data: &[u8], offset: u64| {
        usize::try_from(offset).ok().and_then(|at| data.get(at)).is_some_and(|op| *op == 0x85)
    };
    let code = elf.sections.iter().filter(|s| s.exec);
    code.flat_map(|s| s.relocs.iter().filter(|r| is_call(s.data, r.offset)).map(|r| r.symbol)).collect()
}
