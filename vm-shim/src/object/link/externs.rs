//! Which of the kernel functions and symbols that an object names exist (libbpf's
//! `bpf_object__resolve_ksyms_btf_id` and `bpf_object__read_kallsyms_file`).

use std::collections::BTreeMap;

use crate::btf::core::types_compat;
use crate::btf::{Btf, Kind, Type, TypeId};
use crate::object::externs::{ExternDef, ExternKind};
use crate::object::parse::Object;
use crate::object::profile::KernelProfile;

/// A kernel function that the object may call.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KfuncDecl {
    /// The kernel's name, without the object's flavour.
    pub name: String,
    /// Prototype in the object's BTF; `None` for library functions such as `memset`.
    pub proto: Option<TypeId>,
    /// It may be missing.
    pub weak: bool,
    /// The kernel has it, as far as the profile says.
    pub present: bool,
}

/// A kernel symbol whose address the object takes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KsymDecl {
    /// The kernel's name, without the object's flavour.
    pub name: String,
    /// Type in the object's BTF; `None` if it is declared as `void`.
    pub type_id: Option<TypeId>,
    /// It is a function.
    pub is_func: bool,
    /// It may be missing.
    pub weak: bool,
    /// The kernel has it, as far as the profile says.
    pub present: bool,
}

/// What became of one extern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resolved {
    Kconfig {
        offset: u32,
    },
    /// A configuration value that the profile lacks.
    MissingKconfig,
    Kfunc {
        kfunc: usize,
        ksym: usize,
        present: bool,
        callable: bool,
    },
    Ksym {
        ksym: usize,
        present: bool,
    },
}

/// All externs, by the object's index.
pub(super) struct Externs {
    pub(super) resolved: Vec<Resolved>,
    pub(super) kfuncs: Vec<KfuncDecl>,
    pub(super) ksyms: Vec<KsymDecl>,
}

pub(super) fn resolve(object: &Object, kernel: &KernelProfile, missing: &BTreeMap<usize, String>) -> Externs {
    let mut out = Externs { resolved: Vec::new(), kfuncs: Vec::new(), ksyms: Vec::new() };
    for (index, ext) in object.externs.iter().enumerate() {
        let present = exists(object, ext, kernel);
        let mut ksym = |type_id, is_func| {
            let name = ext.kernel_name().to_owned();
            out.ksyms.push(KsymDecl { name, type_id, is_func, weak: ext.weak, present });
            out.ksyms.len() - 1
        };
        let resolved = match ext.kind {
            ExternKind::Kconfig { .. } if missing.contains_key(&index) => Resolved::MissingKconfig,
            ExternKind::Kconfig { offset, .. } => Resolved::Kconfig { offset },
            ExternKind::Ksym { type_id } => Resolved::Ksym { ksym: ksym(type_id, false), present },
            ExternKind::Kfunc { proto } => {
                let ksym = ksym(proto, true);
                let name = ext.kernel_name().to_owned();
                // Without the kernel's BTF nobody knows; a call says that it exists.
                let callable = present || kernel.btf.is_none();
                out.kfuncs.push(KfuncDecl { name, proto, weak: ext.weak, present });
                Resolved::Kfunc { kfunc: out.kfuncs.len() - 1, ksym, present, callable }
            }
        };
        out.resolved.push(resolved);
    }
    out
}

/// Whether the kernel has it. Without the kernel's BTF, what must exist is taken to exist.
fn exists(object: &Object, ext: &ExternDef, kernel: &KernelProfile) -> bool {
    let name = ext.kernel_name();
    if kernel.symbols.contains(name) {
        return true;
    }
    let Some(btf) = &kernel.btf else { return !ext.weak };
    let local = object.btf.as_ref();
    let has = |btf: &Btf| match ext.kind {
        ExternKind::Kfunc { proto: Some(proto) } => {
            btf.find_all(name).any(|id| match (btf.get(id), local) {
                // Flavours of one function differ by their prototypes.
                (Ok(Type::Func { proto: target, .. }), Some(local)) => {
                    types_compat(local, proto, btf, target).unwrap_or(false)
                }
                _ => false,
            })
        }
        ExternKind::Ksym { type_id: Some(_) } => btf.find(Kind::Var, name).is_some(),
        // Looked up in kallsyms, which BTF covers for functions only.
        _ => btf.find(Kind::Func, name).is_some(),
    };
    let untyped = matches!(ext.kind, ExternKind::Kfunc { proto: None } | ExternKind::Ksym { type_id: None });
    has(btf) || kernel.module_btfs.values().any(has) || (untyped && !ext.weak)
}
