//! Whether a type of the target can stand for a local one.

use super::super::{Btf, BtfError, Kind, Type, TypeId};
use super::essential_name;

/// Levels of pointers and arrays that are followed.
const MAX_DEPTH: u32 = 32;
/// Comparisons after which two types are given up as hostile (function prototypes can nest exponentially).
pub(super) const MAX_STEPS: u32 = 10_000_000;

/// Same kind, where both widths of enumerations are one kind (libbpf's `btf_kind_core_compat`).
pub(super) fn kinds_compat(a: Kind, b: Kind) -> bool {
    let is_enum = |k| matches!(k, Kind::Enum | Kind::Enum64);
    a == b || is_enum(a) && is_enum(b)
}

/// Essential names are equal; two anonymous types are too (libbpf's `bpf_core_names_match`).
pub(super) fn names_match(a: &str, b: &str) -> bool {
    essential_name(a) == essential_name(b)
}

/// Whether a field's type may be accessed as another (libbpf's `bpf_core_fields_are_compat`): structures
/// and unions, pointers, floats among themselves; integers if not of the oldest bit-field encoding;
/// enumerations and forward declarations of the same name or none; arrays by element.
pub(super) fn fields_compat(
    local: &Btf,
    local_id: TypeId,
    target: &Btf,
    target_id: TypeId,
) -> Result<bool, BtfError> {
    let (mut local_at, mut target_at) = (local_id, target_id);
    for _ in 0..MAX_DEPTH {
        let (_, l) = local.resolve(local_at)?;
        let (_, t) = target.resolve(target_at)?;
        if l.as_composite().is_some() && t.as_composite().is_some() {
            return Ok(true);
        }
        if !kinds_compat(l.kind(), t.kind()) {
            return Ok(false);
        }
        return Ok(match (l, t) {
            (Type::Ptr(_) | Type::Float { .. }, _) => true,
            (Type::Fwd { .. } | Type::Enum(_) | Type::Enum64(_), _) => {
                l.name().is_empty() || t.name().is_empty() || names_match(l.name(), t.name())
            }
            (Type::Int(l), Type::Int(t)) => l.offset == 0 && t.offset == 0,
            (Type::Array(l), Type::Array(t)) => {
                (local_at, target_at) = (l.element, t.element);
                continue;
            }
            _ => false,
        });
    }
    Err(BtfError::TooDeep { id: local_id, limit: MAX_DEPTH })
}

/// Whether two root types are of one shape (libbpf's `bpf_core_types_are_compat`): kinds agree through
/// pointers, arrays and prototypes; what structures contain does not matter.
///
/// # Errors
/// If a type does not exist, or the two are nested too deep.
pub fn types_compat(
    local: &Btf,
    local_id: TypeId,
    target: &Btf,
    target_id: TypeId,
) -> Result<bool, BtfError> {
    // The kinds must agree before aliases are followed: a typedef never stands for a structure.
    match (local.kind_of(local_id), target.kind_of(target_id)) {
        (Some(l), Some(t)) if kinds_compat(l, t) => {}
        _ => return Ok(false),
    }
    Compat { local, target, root: local_id, steps: MAX_STEPS }.check(local_id, target_id, MAX_DEPTH)
}

struct Compat<'a> {
    local: &'a Btf,
    target: &'a Btf,
    root: TypeId,
    steps: u32,
}

impl Compat<'_> {
    fn too_deep(&self) -> BtfError {
        BtfError::TooDeep { id: self.root, limit: MAX_DEPTH }
    }

    fn check(&mut self, mut local_id: TypeId, mut target_id: TypeId, level: u32) -> Result<bool, BtfError> {
        for _ in 0..MAX_DEPTH {
            self.steps = self.steps.checked_sub(1).ok_or_else(|| self.too_deep())?;
            let (_, l) = self.local.resolve(local_id)?;
            let (_, t) = self.target.resolve(target_id)?;
            if !kinds_compat(l.kind(), t.kind()) {
                return Ok(false);
            }
            (local_id, target_id) = match (l, t) {
                (Type::Void | Type::Struct(_) | Type::Union(_) | Type::Fwd { .. }, _) => return Ok(true),
                (Type::Enum(_) | Type::Enum64(_), _) => return Ok(true),
                (Type::Int(l), Type::Int(t)) => return Ok(l.offset == 0 && t.offset == 0),
                (Type::Ptr(l), Type::Ptr(t)) => (l, t),
                (Type::Array(l), Type::Array(t)) => (l.element, t.element),
                (Type::FuncProto(l), Type::FuncProto(t)) => {
                    if l.len() != t.len() {
                        return Ok(false);
                    }
                    for (l, t) in l.params().zip(t.params()) {
                        let level = level.checked_sub(1).ok_or_else(|| self.too_deep())?;
                        if !self.check(l.type_id, t.type_id, level)? {
                            return Ok(false);
                        }
                    }
                    (l.ret, t.ret)
                }
                _ => return Ok(false),
            };
        }
        Err(self.too_deep())
    }
}
