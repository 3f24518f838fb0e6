//! From a relocation to its value.

use super::super::{Btf, TypeId};
use super::{CoreError, CoreRelo, CoreReloKind};

/// A type of the target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TargetId {
    /// 0 for the kernel's own BTF, else 1 + index of the module.
    pub btf: usize,
    /// Id in it.
    pub id: TypeId,
}

/// The value of a resolved relocation (`struct bpf_core_relo_res`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreValue {
    /// What was asked.
    pub kind: CoreReloKind,
    /// What the compiler put into the instruction.
    pub local: u64,
    /// What belongs there.
    pub target: u64,
    /// The type found, if any.
    pub target_type: Option<TargetId>,
    /// Whether the instruction must hold `local` (compilers and libbpf disagree on bit-fields).
    pub(super) validate: bool,
    /// Size of the field here and there, if a load or store must follow.
    pub(super) sizes: Option<(u32, u32)>,
    /// Why a load or store of the field would be wrong.
    pub(super) wrong_size: Option<String>,
    /// Local and target spec, for messages.
    pub spec: String,
}

/// A relocation with no match in the target: poison the instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolvable {
    /// What was asked.
    pub kind: CoreReloKind,
    /// The root type in C, such as `struct task_struct`.
    pub type_name: String,
    /// The field or enumerator, such as `mm.arg_start`; empty for types.
    pub field: String,
    /// Why there is no match.
    pub why: String,
    /// The whole spec in libbpf's notation.
    pub spec: String,
}

/// What a relocation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreOutcome {
    /// A value to patch in.
    Value(CoreValue),
    /// Nothing to patch in.
    Unresolvable(Unresolvable),
}

/// Resolves relocations of one object against one kernel, remembering candidates per type.
#[derive(Clone, Debug)]
pub struct CoreResolver {
    local: Btf,
    targets: Vec<Btf>,
}

impl CoreResolver {
    /// Relocates an object with BTF `local` to a kernel with BTF `target`.
    #[must_use]
    pub fn new(local: &Btf, target: &Btf) -> Self {
        Self { local: local.clone(), targets: vec![target.clone()] }
    }

    /// Adds the (split) BTF of modules; they are searched only for types that the kernel itself lacks.
    #[must_use]
    pub fn with_modules(mut self, modules: &[Btf]) -> Self {
        self.targets.extend_from_slice(modules);
        self
    }

    /// Resolves one relocation (libbpf's `bpf_core_calc_relo_insn`).
    ///
    /// # Errors
    /// If the relocation is malformed, or ambiguous in the target.
    pub fn resolve(&mut self, relo: &CoreRelo) -> Result<CoreOutcome, CoreError> {
        let _ = (relo, &self.local);
        Err(CoreError::Unsupported { spec: String::new(), why: "not yet".to_owned() })
    }
}
