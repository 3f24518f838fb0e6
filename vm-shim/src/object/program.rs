//! Programs and subprograms of an object, before linking.

use super::attach::AttachTarget;
use super::elf::{Elf, SymbolKind, next_offsets};
use super::error::{LoadError, limit};
use super::kinds::{AttachType, ProgType};
use super::section_defs::find_section_def;
use crate::isa::Insn;

/// Visibility of a function in its object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FuncLinkage {
    /// Seen in its object only.
    Static,
    /// Seen by other objects.
    Global,
    /// Seen by other objects, and replaceable by theirs.
    Weak,
}

/// A program: a function that something outside may run.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ProgramDef {
    /// Function name.
    pub name: String,
    /// ELF section, without the `?` that turns automatic loading off.
    pub section: String,
    /// Program type; `Unspec` where the section name does not say. The caller may set it.
    pub prog_type: ProgType,
    /// How it is attached. The caller may set it.
    pub attach: AttachTarget,
    /// Loaded with the object; off for a `?` section. The caller may set it.
    pub autoload: bool,
    /// The section name follows the rules of libbpf before 1.0.
    pub legacy_section: bool,
    /// Visibility.
    pub linkage: FuncLinkage,
    /// Own instructions, as they stand in the file: without subprograms, not relocated.
    pub insns: Vec<Insn>,
    /// The kernel structure and its member that it implements, if a `struct_ops` map of the object says so.
    pub struct_ops: Option<(String, String)>,
    /// Index into the object's functions.
    pub(super) func: usize,
}

/// Any function of the object: a program or a subprogram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Function {
    pub(super) name: String,
    /// Index into the code sections.
    pub(super) code: usize,
    /// First instruction slot in the section.
    pub(super) start: usize,
    /// Slot behind the last.
    pub(super) end: usize,
    pub(super) linkage: FuncLinkage,
}

/// A section of instructions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Code {
    /// ELF section index.
    pub(super) section: usize,
    /// Section name as written, which is what BTF.ext calls it.
    pub(super) name: String,
    pub(super) insns: Vec<Insn>,
}

/// All code of an object.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Program {
    pub(super) code: Vec<Code>,
    /// Sorted by section and start.
    pub(super) functions: Vec<Function>,
}

impl Program {
    /// Collects code sections and the functions in them (libbpf's `bpf_object__add_programs`).
    pub(super) fn collect(elf: &Elf<'_>) -> Result<Self, LoadError> {
        let mut all = Self::default();
        let mut copied = 0u64;
        for (index, section) in elf.sections.iter().enumerate() {
            if !section.exec || !section.is_progbits() || section.data.is_empty() {
                continue;
            }
            copied = copied.saturating_add(section.size);
            LoadError::check("code", copied, limit::COPIED_BYTES)?;
            let insns = Insn::decode_all(section.data)
                .ok_or_else(|| LoadError::RaggedCode { section: section.name.clone(), size: section.size })?;
            all.code.push(Code { section: index, name: section.name.clone(), insns });
        }
        for code in 0..all.code.len() {
            all.collect_functions(elf, code)?;
        }
        LoadError::check("functions", all.functions.len() as u64, limit::FUNCTIONS)?;
        let insns = all.functions.iter().map(|f| (f.end - f.start) as u64).sum();
        LoadError::check("instructions of all functions", insns, limit::FUNCTION_INSNS)?;
        all.functions.sort_by_key(|f| (f.code, f.start));
        Ok(all)
    }

    fn collect_functions(&mut self, elf: &Elf<'_>, index: usize) -> Result<(), LoadError> {
        let Some(code) = self.code.get(index) else { return Ok(()) };
        let by_kind =
            |kind| elf.symbols_in(code.section).filter(move |s| s.kind == kind && !s.name.is_empty());
        // Compilers before clang 6 gave functions no type; then global labels are functions.
        let typed = by_kind(SymbolKind::Func).next().is_some();
        let symbols: Vec<_> = if typed {
            by_kind(SymbolKind::Func).collect()
        } else {
            by_kind(SymbolKind::None).filter(|s| !s.local).collect()
        };
        let section_size = (code.insns.len() * Insn::SIZE) as u64;
        let offsets: Vec<_> = symbols.iter().map(|s| s.value).collect();
        let ends = next_offsets(&offsets, section_size);
        let mut found = Vec::new();
        for (sym, next) in symbols.iter().zip(ends) {
            let end = if sym.size > 0 { sym.value.checked_add(sym.size) } else { Some(next) };
            let aligned = |v: u64| v.is_multiple_of(Insn::SIZE as u64);
            let end = end.filter(|end| {
                *end <= section_size && sym.value < *end && aligned(*end) && aligned(sym.value)
            });
            let Some(end) = end else {
                return Err(LoadError::BadFunction {
                    function: sym.name.clone(),
                    section: code.name.clone(),
                    offset: sym.value,
                    size: sym.size,
                    section_size,
                });
            };
            found.push(Function {
                name: sym.name.clone(),
                code: index,
                start: sym.value as usize / Insn::SIZE,
                end: end as usize / Insn::SIZE,
                linkage: match (sym.local, sym.weak) {
                    (true, _) => FuncLinkage::Static,
                    (_, true) => FuncLinkage::Weak,
                    _ => FuncLinkage::Global,
                },
            });
        }
        self.functions.append(&mut found);
        Ok(())
    }

    /// The functions that can be run from outside.
    ///
    /// Functions of `.text` are subprograms (`prog_is_subprog`), unless the object has no others: then its
    /// global ones, or its only one, are what there is to run. Static functions of other sections are
    /// subprograms too, where libbpf refuses them.
    pub(super) fn programs(&self) -> Vec<ProgramDef> {
        let is_text = |f: &Function| self.code.get(f.code).is_some_and(|c| c.name == ".text");
        let only_text = self.functions.iter().all(is_text);
        let alone = self.functions.len() == 1;
        let mut out = Vec::new();
        for (index, func) in self.functions.iter().enumerate() {
            let Some(code) = self.code.get(func.code) else { continue };
            let is_static = func.linkage == FuncLinkage::Static;
            let runnable = if is_text(func) { alone || (only_text && !is_static) } else { !is_static };
            if !runnable {
                continue;
            }
            let insns = code.insns.get(func.start..func.end).unwrap_or_default().to_vec();
            let section = code.name.strip_prefix('?').unwrap_or(&code.name).to_owned();
            let def = find_section_def(&section);
            out.push(ProgramDef {
                name: func.name.clone(),
                prog_type: def.map_or(ProgType::Unspec, |(d, _)| d.prog_type),
                attach: def
                    .map_or_else(AttachTarget::default, |(d, _)| AttachTarget::from_section(d, &section)),
                autoload: !code.name.starts_with('?'),
                legacy_section: def.is_some_and(|(_, legacy)| legacy),
                linkage: func.linkage,
                insns,
                struct_ops: None,
                func: index,
                section,
            });
        }
        out
    }

    /// The function that begins at a slot.
    pub(super) fn function_at(&self, code: usize, start: usize) -> Option<usize> {
        self.functions.binary_search_by_key(&(code, start), |f| (f.code, f.start)).ok()
    }

    /// Name and extent of what a call to this slot runs.
    ///
    /// Normally a function begins there. Where the symbol is gone, the code up to the end of the function
    /// around it, or up to the next function, does.
    pub(super) fn extent(&self, code: usize, slot: usize) -> Option<(Option<usize>, usize)> {
        if let Some(index) = self.function_at(code, slot) {
            return Some((Some(index), self.functions.get(index)?.end));
        }
        let len = self.code.get(code)?.insns.len();
        if slot >= len {
            return None;
        }
        let after = self.functions.partition_point(|f| (f.code, f.start) <= (code, slot));
        let around = after.checked_sub(1).and_then(|i| self.functions.get(i));
        let around = around.filter(|f| f.code == code && slot < f.end);
        let next = self.functions.get(after).filter(|f| f.code == code);
        Some((None, around.map(|f| f.end).or(next.map(|f| f.start)).unwrap_or(len)))
    }
}

impl ProgramDef {
    /// The expected attach type that the kernel is told; zero where there is none.
    #[must_use]
    pub const fn attach_type(&self) -> AttachType {
        self.attach.attach_type
    }
}
