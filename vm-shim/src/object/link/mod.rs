//! From an object to what a kernel would be given: code in one piece per program, references resolved.
//!
//! Order of work as in libbpf's `bpf_object_load`: externs, CO-RE, references, subprograms.

mod append;
mod core;
mod externs;
mod kconfig;
mod lines;
mod refs;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attach::AttachTarget;
use super::error::{LinkError, limit};
use super::kinds::{AttachType, MapType, ProgType};
use super::map::MapDef;
use super::parse::Object;
use super::profile::{KernelProfile, LinkOptions};
use super::program::FuncLinkage;
use crate::btf::TypeId;
use crate::isa::Insn;

pub use externs::{KfuncDecl, KsymDecl};

/// An object made ready for one kernel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Linked {
    /// The programs to load.
    pub programs: Vec<LinkedProgram>,
    /// Maps with their final data; the object's indexes hold.
    pub maps: Vec<MapDef>,
    /// Kernel functions that are called.
    pub kfuncs: Vec<KfuncDecl>,
    /// Kernel symbols whose address is taken.
    pub ksyms: Vec<KsymDecl>,
    /// Remarks about what was decided for the author.
    pub notes: Vec<String>,
}

/// A program in one piece.
///
/// References stay symbolic: `ld_imm64` of source `MAP_IDX` or `MAP_IDX_VALUE` holds an index into
/// [`Linked::maps`] (and, in its second slot, an offset); of source `BTF_ID` one into [`Linked::ksyms`]; a
/// call of source `CALL_KFUNC` one into [`Linked::kfuncs`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkedProgram {
    /// Name.
    pub name: String,
    /// Section, without `?`.
    pub section: String,
    /// Program type.
    pub prog_type: ProgType,
    /// How it is attached.
    pub attach: AttachTarget,
    /// Index into [`Object::programs`].
    pub index: usize,
    /// The code: the program, then its subprograms.
    pub insns: Vec<Insn>,
    /// The functions in the code, the program itself first.
    pub subprogs: Vec<SubprogDef>,
    /// Source lines, by ascending instruction.
    pub lines: Vec<LineInfo>,
    /// Instructions with the offset of a field in them, by ascending instruction.
    pub fields: Vec<FieldUse>,
    /// Instructions that fault if they are reached, and why.
    pub poisoned: BTreeMap<usize, Poison>,
}

/// A function inside a linked program.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SubprogDef {
    /// Name; `sub_<slot>` if its symbol is gone.
    pub name: String,
    /// First instruction slot.
    pub start: usize,
    /// Slot behind the last.
    pub end: usize,
    /// Its function in the object's BTF.
    pub func: Option<TypeId>,
    /// Visibility.
    pub linkage: FuncLinkage,
}

/// The source line that an instruction and those behind it come from.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LineInfo {
    /// Instruction slot.
    pub insn: usize,
    /// Source file as the compiler saw it.
    pub file: Arc<str>,
    /// Text of the line; may be empty.
    pub text: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub col: u32,
}

/// An instruction that CO-RE relocation has given the offset of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FieldUse {
    /// Instruction slot.
    pub insn: usize,
    /// The type that the field is in, in the object's BTF.
    pub type_id: TypeId,
}

/// Why an instruction must not be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Poison {
    /// What is missing.
    pub what: PoisonKind,
    /// The whole story, for a person.
    pub message: String,
}

/// What an instruction cannot do without.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PoisonKind {
    /// A type, field or enumerator that the kernel does not have, or has in another form.
    CoreRelo {
        /// The type in C.
        type_name: String,
        /// The field or enumerator; empty for the type itself.
        field: String,
    },
    /// A kernel function that does not exist.
    Kfunc {
        /// Its name.
        name: String,
        /// It was declared weak: the program should have tested for it.
        weak: bool,
    },
    /// A kernel symbol that does not exist.
    Ksym {
        /// Its name.
        name: String,
    },
    /// A kernel configuration value that the profile does not give.
    Kconfig {
        /// Its name.
        name: String,
    },
    /// A map that is not created (`?.struct_ops`).
    Map {
        /// Its name.
        name: String,
    },
}

/// What libbpf writes over an instruction that must not be reached: a call of a helper that does not exist
/// (`poison_reloc_insn`).
pub(super) const POISON_INSN: Insn = Insn { opcode: 0x85, dst: 0, src: 0, off: 0, imm: 0x0bad_2310 };

impl LinkedProgram {
    /// The expected attach type.
    #[must_use]
    pub const fn attach_type(&self) -> AttachType {
        self.attach.attach_type
    }

    /// The source line of an instruction.
    #[must_use]
    pub fn line(&self, insn: usize) -> Option<&LineInfo> {
        let after = self.lines.partition_point(|l| l.insn <= insn);
        let line = self.lines.get(after.checked_sub(1)?)?;
        // A function without lines does not borrow those of its neighbour.
        let start = self.subprog(insn).map_or(0, |s| s.start);
        (line.insn >= start).then_some(line)
    }

    /// The function around an instruction.
    #[must_use]
    pub fn subprog(&self, insn: usize) -> Option<&SubprogDef> {
        let after = self.subprogs.partition_point(|s| s.start <= insn);
        self.subprogs.get(after.checked_sub(1)?).filter(|s| insn < s.end)
    }
}

/// Code of an object while it is being linked: by code section, in step with the object's.
pub(super) struct Work {
    /// Instructions of each section.
    pub(super) insns: Vec<Vec<Insn>>,
    /// Poisoned instructions by section and slot.
    pub(super) poisoned: BTreeMap<(usize, usize), Poison>,
}

impl Work {
    /// Makes an instruction fault when reached. The first reason stands.
    pub(super) fn poison(&mut self, code: usize, slot: usize, poison: Poison) {
        let Some(insns) = self.insns.get_mut(code) else { return };
        let wide = insns.get(slot).is_some_and(|i| i.is_ld_imm64());
        let slots = insns.iter_mut().skip(slot).take(if wide { 2 } else { 1 });
        slots.for_each(|i| *i = POISON_INSN);
        if wide {
            self.poisoned.entry((code, slot + 1)).or_insert_with(|| poison.clone());
        }
        self.poisoned.entry((code, slot)).or_insert(poison);
    }
}

impl Object {
    /// Links the object against a kernel.
    ///
    /// What concerns one instruction only (a CO-RE relocation without a match, a missing kernel function)
    /// poisons that instruction: see [`LinkedProgram::poisoned`].
    ///
    /// # Errors
    /// If a call leads nowhere, a CO-RE record is out of place, or a program becomes too large.
    pub fn link(&self, kernel: &KernelProfile, options: &LinkOptions) -> Result<Linked, LinkError> {
        let mut notes = self.notes.clone();
        let mut maps = self.maps.clone();
        for map in &mut maps {
            // libbpf's `map_set_def_max_entries`.
            if map.map_type == MapType::PerfEventArray && map.max_entries == 0 {
                map.max_entries = kernel.cpus;
            }
        }
        let missing = kconfig::fill(self, kernel, &mut maps);

        let insns = self.code.code.iter().map(|c| c.insns.clone()).collect();
        let mut work = Work { insns, poisoned: BTreeMap::new() };
        core::relocate(self, kernel, &mut work, &mut notes)?;
        let externs = externs::resolve(self, kernel, &missing);
        refs::apply(self, &externs, &missing, &maps, &mut work);

        let struct_ops = self.struct_ops_autoload();
        let mut jump_table_bytes = 0u64;
        let mut total = 0u64;
        let mut programs = Vec::new();
        for (index, def) in self.programs.iter().enumerate() {
            let wanted = options.programs.is_empty() || options.programs.contains(&def.name);
            let autoload = struct_ops.get(&index).copied().unwrap_or(def.autoload);
            let named = options.programs.contains(&def.name);
            if !wanted || !(autoload || options.all || named) {
                continue;
            }
            let program = append::link(self, &work, &mut maps, &mut jump_table_bytes, index, def)?;
            total = total.saturating_add(program.insns.len() as u64);
            if total > limit::LINKED_INSNS {
                let (what, limit) = ("instructions of all programs".to_owned(), limit::LINKED_INSNS);
                return Err(LinkError::Limit { what, size: total, limit });
            }
            programs.push(program);
        }
        Ok(Linked { programs, maps, kfuncs: externs.kfuncs, ksyms: externs.ksyms, notes })
    }
    /// Programs of `struct_ops` structures are loaded if one of the structures is created, whatever their
    /// section says (libbpf's `bpf_object_adjust_struct_ops_autoload`).
    fn struct_ops_autoload(&self) -> BTreeMap<usize, bool> {
        let mut out = BTreeMap::new();
        for map in &self.maps {
            for member in map.struct_ops.iter().flat_map(|ops| &ops.members) {
                *out.entry(member.program).or_insert(false) |= map.autocreate;
            }
        }
        out
    }
}
