//! `bpf_core_type_matches`: whether a type of the target has all that the local one has.

use super::super::{Btf, BtfError, Composite, Enum, Type, TypeId};
use super::compat::{MAX_STEPS, names_match};

const MAX_DEPTH: u32 = 32;

/// Whether the target's type has every member and enumerator of the local one, with matching types
/// (libbpf's `bpf_core_types_match`). Aliases are skipped; behind a pointer only names and kinds count, and
/// a forward declaration matches its structure.
pub(super) fn types_match(
    local: &Btf,
    local_id: TypeId,
    target: &Btf,
    target_id: TypeId,
) -> Result<bool, BtfError> {
    Matcher { local, target, root: local_id, steps: MAX_STEPS }.check(local_id, target_id, false, MAX_DEPTH)
}

struct Matcher<'a> {
    local: &'a Btf,
    target: &'a Btf,
    root: TypeId,
    steps: u32,
}

impl Matcher<'_> {
    fn too_deep(&self) -> BtfError {
        BtfError::TooDeep { id: self.root, limit: MAX_DEPTH }
    }

    fn step(&mut self) -> Result<(), BtfError> {
        self.steps = self.steps.checked_sub(1).ok_or_else(|| self.too_deep())?;
        Ok(())
    }

    fn check(
        &mut self,
        mut local_id: TypeId,
        mut target_id: TypeId,
        mut behind_ptr: bool,
        level: u32,
    ) -> Result<bool, BtfError> {
        if level == 0 {
            return Err(self.too_deep());
        }
        for _ in 0..MAX_DEPTH {
            self.step()?;
            let (_, l) = self.local.resolve(local_id)?;
            let (_, t) = self.target.resolve(target_id)?;
            if !names_match(l.name(), t.name()) {
                return Ok(false);
            }
            (local_id, target_id) = match (l, t) {
                (Type::Void, Type::Void) => return Ok(true),
                (Type::Fwd { union: a, .. }, Type::Fwd { union: b, .. }) => return Ok(a == b),
                (Type::Fwd { union, .. }, Type::Struct(_)) => return Ok(behind_ptr && !union),
                (Type::Fwd { union, .. }, Type::Union(_)) => return Ok(behind_ptr && union),
                (Type::Struct(_), Type::Fwd { union, .. }) => return Ok(behind_ptr && !union),
                (Type::Union(_), Type::Fwd { union, .. }) => return Ok(behind_ptr && union),
                (Type::Enum(l) | Type::Enum64(l), Type::Enum(t) | Type::Enum64(t)) => {
                    return self.enums(l, t);
                }
                (Type::Struct(l), Type::Struct(t)) | (Type::Union(l), Type::Union(t)) => {
                    return if behind_ptr { Ok(true) } else { self.composites(l, t, level) };
                }
                (Type::Int(l), Type::Int(t)) => {
                    return Ok(l.size == t.size && l.encoding.is_signed() == t.encoding.is_signed());
                }
                (Type::Ptr(l), Type::Ptr(t)) => {
                    behind_ptr = true;
                    (l, t)
                }
                (Type::Array(l), Type::Array(t)) if l.len == t.len => (l.element, t.element),
                (Type::FuncProto(l), Type::FuncProto(t)) => {
                    if l.len() != t.len() {
                        return Ok(false);
                    }
                    for (l, t) in l.params().zip(t.params()) {
                        if !self.check(l.type_id, t.type_id, behind_ptr, level - 1)? {
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

    fn enums(&mut self, l: Enum<'_>, t: Enum<'_>) -> Result<bool, BtfError> {
        if l.size != t.size || l.len() > t.len() {
            return Ok(false);
        }
        for wanted in l.values() {
            let mut found = false;
            for v in t.values() {
                self.step()?;
                if names_match(wanted.name, v.name) {
                    found = true;
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn composites(&mut self, l: Composite<'_>, t: Composite<'_>, level: u32) -> Result<bool, BtfError> {
        if l.len() > t.len() {
            return Ok(false);
        }
        for wanted in l.members() {
            let mut found = false;
            for m in t.members() {
                self.step()?;
                if names_match(wanted.name, m.name)
                    && self.check(wanted.type_id, m.type_id, false, level - 1)?
                {
                    found = true;
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
