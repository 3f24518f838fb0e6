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
mod kinds;
mod section_defs;

pub use attach::{AttachKind, AttachPoint, AttachTarget};
pub use error::{LinkError, LoadError};
pub use kinds::{AttachType, MapType, ProgType};
pub use section_defs::{NameRule, SECTION_DEFS, SectionDef, find_section_def};
