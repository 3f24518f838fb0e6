//! From a relocation to its value.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Btf, Kind, Type, TypeId};
use super::calc::{Answer, calc};
use super::compat::kinds_compat;
use super::find::{Found, find};
use super::spec::Spec;
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
    /// What was relocated, in libbpf's notation.
    pub spec: String,
    /// Whether the instruction must hold `local` (compilers and libbpf may disagree on bit-fields).
    pub(super) validate: bool,
    /// Sizes of the field here and there; 0 where no load or store depends on them.
    pub(super) sizes: (u32, u32),
    /// A load or store cannot follow the change of size.
    pub(super) wrong_size: bool,
}

/// A relocation with no match in the target: poison the instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolvable {
    /// What was asked.
    pub kind: CoreReloKind,
    /// The root type, such as `struct task_struct`.
    pub type_name: String,
    /// The field or enumerator, such as `mm.arg_start`; empty for types.
    pub field: String,
    /// Why there is no match.
    pub why: String,
    /// The whole in libbpf's notation.
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

/// Resolves relocations of one object against one kernel, remembering candidates per root type.
///
/// With the object's own BTF as the target, each type stands for itself: everything exists as compiled,
/// and flavours of one type in the same object do not compete.
#[derive(Clone, Debug)]
pub struct CoreResolver {
    local: Btf,
    targets: Vec<Btf>,
    candidates: BTreeMap<TypeId, Vec<TargetId>>,
}

impl CoreResolver {
    /// Relocates an object with BTF `local` to a kernel with BTF `target`.
    #[must_use]
    pub fn new(local: &Btf, target: &Btf) -> Self {
        Self { local: local.clone(), targets: vec![target.clone()], candidates: BTreeMap::new() }
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
        let Self { local, targets, candidates } = self;
        let spec = Spec::parse(local, relo)?;
        if relo.kind == CoreReloKind::TypeIdLocal {
            let answer = calc(relo.kind, Some(&spec))?;
            return Ok(outcome(&spec, answer, answer, None, None, String::new()));
        }
        if local.name_of(relo.type_id).is_empty() {
            let why = "an anonymous type cannot be found in another BTF".to_owned();
            return Err(CoreError::Unsupported { spec: spec.describe(), why });
        }
        let local_answer = calc(relo.kind, Some(&spec))?;
        let cands =
            candidates.entry(relo.type_id).or_insert_with(|| find_candidates(local, relo.type_id, targets));

        let mut best: Option<(Spec<'_>, Option<Answer>, TargetId)> = None;
        let mut matching = Vec::new();
        let mut why = String::new();
        for cand in cands.iter() {
            let Some(btf) = targets.get(cand.btf) else { continue };
            let found = match find(&spec, btf, cand.id)? {
                Found::Yes(found) => found,
                Found::No(reason) => {
                    if why.is_empty() {
                        why = reason;
                    }
                    continue;
                }
            };
            let answer = calc(relo.kind, Some(&found))?;
            matching.push(*cand);
            match &best {
                None => best = Some((found, answer, *cand)),
                Some((first, first_answer, _)) => {
                    let value = |a: &Option<Answer>| a.map(|a| a.value);
                    if found.bit_offset != first.bit_offset || value(&answer) != value(first_answer) {
                        return Err(CoreError::Ambiguous {
                            spec: spec.describe(),
                            first: first.describe(),
                            second: found.describe(),
                        });
                    }
                }
            }
        }
        if cands.is_empty() {
            why = format!("the target has no {}", spec.root_name());
        }
        // As libbpf does: what matched once decides among the candidates for later relocations, too.
        if !matching.is_empty() {
            *cands = matching;
        }
        Ok(match best {
            Some((found, answer, id)) => {
                outcome(&spec, local_answer, answer, Some(&found), Some(id), String::new())
            }
            None => outcome(&spec, local_answer, calc(relo.kind, None)?, None, None, why),
        })
    }
}

/// Types of the same kind and essential name (libbpf's `bpf_core_find_cands`).
fn find_candidates(local: &Btf, id: TypeId, targets: &[Btf]) -> Vec<TargetId> {
    if targets.first().is_some_and(|t| Arc::ptr_eq(&t.inner, &local.inner)) {
        return vec![TargetId { btf: 0, id }];
    }
    let (name, kind) = (local.name_of(id), local.kind_of(id).unwrap_or(Kind::Void));
    let compat = |btf: &Btf, id| btf.kind_of(id).is_some_and(|k| kinds_compat(k, kind));
    let mut out = Vec::new();
    for (i, btf) in targets.iter().enumerate() {
        let found = |id: &TypeId| compat(btf, *id);
        if i == 0 {
            out.extend(btf.find_flavors(name).filter(found).map(|id| TargetId { btf: i, id }));
            if !out.is_empty() {
                break;
            }
        } else {
            out.extend(btf.find_own_flavors(name).filter(found).map(|id| TargetId { btf: i, id }));
        }
    }
    out
}

fn outcome(
    spec: &Spec<'_>,
    local: Option<Answer>,
    target: Option<Answer>,
    found: Option<&Spec<'_>>,
    target_type: Option<TargetId>,
    why: String,
) -> CoreOutcome {
    let (Some(local), Some(target)) = (local, target) else {
        let enumerator = || spec.accessors.first().and_then(|a| a.name).unwrap_or_default().to_owned();
        return CoreOutcome::Unresolvable(Unresolvable {
            kind: spec.kind,
            type_name: spec.root_name(),
            field: if spec.kind.is_enumval() { enumerator() } else { spec.field_path() },
            why,
            spec: spec.describe(),
        });
    };
    let size = |a: Answer| a.field.map_or(0, |(size, _)| size);
    let sizes = (size(local), size(target));
    let adjustable = || {
        let (l, t) = (local.field?, target.field?);
        Some(can_resize(spec.btf.get(l.1).ok()?, found?.btf.get(t.1).ok()?))
    };
    CoreOutcome::Value(CoreValue {
        kind: spec.kind,
        local: local.value,
        target: target.value,
        target_type,
        spec: spec.describe(),
        validate: local.certain,
        sizes,
        wrong_size: sizes.0 != sizes.1 && adjustable() != Some(true),
    })
}

/// A wider or narrower load gives the right value only for pointers and for integers that are not signed.
fn can_resize(local: Type<'_>, target: Type<'_>) -> bool {
    use super::super::IntEncoding;
    match (local, target) {
        (Type::Ptr(_), Type::Ptr(_)) => true,
        (Type::Int(l), Type::Int(t)) => {
            l.encoding != IntEncoding::SIGNED && t.encoding != IntEncoding::SIGNED
        }
        _ => false,
    }
}
