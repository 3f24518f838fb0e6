//! Compiled BPF objects: from ELF bytes to programs, maps and externs, and from there to what a kernel loads.
//!
//! Reading is pure: [`Object::parse`] depends on the bytes alone. Whatever depends on a kernel happens in
//! [`Object::link`] against a [`KernelProfile`].
//!
//! Source of behaviour: `tools/lib/bpf/libbpf.c`. Where libbpf refuses what other loaders accept (legacy
//! `maps`, calls across sections, undefined functions without BTF), this one accepts it.

mod attach;
mod elf;
mod error;
mod externs;
mod globals;
mod kinds;
mod link;
mod map;
mod maps_btf;
mod maps_data;
mod maps_legacy;
mod parse;
mod places;
mod profile;
mod program;
mod relocs;
mod section_defs;
mod struct_ops;
mod symbols;

pub use attach::{AttachKind, AttachPoint, AttachTarget};
pub use error::{LinkError, LoadError};
pub use externs::{ExternDef, ExternKind, KconfigType};
pub use globals::GlobalVar;
pub use kinds::{AttachType, MapType, ProgType};
pub use link::{
    FieldUse, KfuncDecl, KsymDecl, LineInfo, Linked, LinkedProgram, Poison, PoisonKind, SubprogDef,
};
pub use map::{
    BPF_F_LINK, BPF_F_MMAPABLE, BPF_F_RDONLY_PROG, InitialValue, MapData, MapDef, MapOrigin, Pinning,
    SlotTarget, StructOps, StructOpsMember,
};
pub use parse::Object;
pub use profile::{Arch, KernelProfile, LinkOptions};
pub use program::{FuncLinkage, ProgramDef};
pub use section_defs::{NameRule, SECTION_DEFS, SectionDef, find_section_def};
pub use symbols::SymbolNames;
