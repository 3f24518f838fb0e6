//! Finding the local path again in a type of the target.

use std::collections::BTreeSet;

use super::super::{Btf, Type, TypeId};
use super::compat::{fields_compat, types_compat};
use super::spec::{Accessor, MAX_LEN, Spec};
use super::types_match::types_match;
use super::{CoreError, CoreReloKind, essential_name};

/// The path in the candidate, or why it has none.
pub(super) enum Found<'a> {
    Yes(Spec<'a>),
    No(String),
}

/// Matches a local spec with one candidate (libbpf's `bpf_core_spec_match`).
pub(super) fn find<'t>(local: &Spec<'_>, target: &'t Btf, id: TypeId) -> Result<Found<'t>, CoreError> {
    let spec = Spec::new(target, local.kind, id);
    if local.kind.is_type() {
        let (matches, what) = if local.kind == CoreReloKind::TypeMatches {
            (types_match(local.btf, local.root, target, id)?, "does not match")
        } else {
            (types_compat(local.btf, local.root, target, id)?, "is of another kind")
        };
        let no = || Found::No(format!("{} {what}", spec.root_name()));
        return Ok(if matches { Found::Yes(spec) } else { no() });
    }
    if local.kind.is_enumval() { find_enumerator(local, spec) } else { Finder { local, spec }.fields() }
}

fn find_enumerator<'t>(local: &Spec<'_>, mut spec: Spec<'t>) -> Result<Found<'t>, CoreError> {
    let wanted = local.accessors.first().and_then(|a| a.name).unwrap_or_default();
    let (id, ty) = spec.btf.resolve(spec.root)?;
    let Some(list) = ty.as_enum() else {
        return Ok(Found::No(format!("{} is no enumeration", spec.root_name())));
    };
    let same = |name| essential_name(name) == essential_name(wanted);
    match list.values().enumerate().find(|(_, v)| same(v.name)) {
        Some((i, v)) => {
            spec.accessors.push(Accessor { type_id: id, idx: i as u32, name: Some(v.name) });
            spec.raw.push(i as u32);
            Ok(Found::Yes(spec))
        }
        None => Ok(Found::No(format!("{} has no enumerator {}", spec.root_name(), essential_name(wanted)))),
    }
}

struct Finder<'l, 's, 't> {
    local: &'s Spec<'l>,
    spec: Spec<'t>,
}

/// What became of the search for one member.
enum Member {
    /// Found: the type of the member.
    Found(TypeId),
    /// Found, but of a type that cannot stand for the local one.
    Incompatible,
    Missing,
}

impl<'t> Finder<'_, '_, 't> {
    fn fields(mut self) -> Result<Found<'t>, CoreError> {
        let local = self.local;
        let mut id = self.spec.root;
        for (i, acc) in local.accessors.iter().enumerate() {
            let (at, ty) = self.spec.btf.resolve(id)?;
            let within = || self.spec.btf.type_name(at);
            if let Some(name) = acc.name {
                match self.member(acc, at, &mut BTreeSet::new())? {
                    Member::Found(next) => id = next,
                    Member::Incompatible => {
                        let why =
                            format!("{} has {name} with an incompatible type", self.spec.btf.type_name(at));
                        return Ok(Found::No(why));
                    }
                    Member::Missing => {
                        let why = format!("{} has no field {name}", self.spec.btf.type_name(at));
                        return Ok(Found::No(why));
                    }
                }
                continue;
            }
            id = at;
            // The first index counts whole root types; later ones elements of an array.
            if i > 0 {
                let Type::Array(a) = ty else {
                    return Ok(Found::No(format!("{} is no array", within())));
                };
                if acc.idx >= a.len && !self.spec.ends_in_flexible(a) {
                    return Ok(Found::No(format!("{} has no element {}", within(), acc.idx)));
                }
                (id, _) = self.spec.btf.resolve(a.element)?;
            }
            self.push_raw(acc.idx)?;
            self.spec.accessors.push(Accessor { type_id: id, idx: acc.idx, name: None });
            self.spec.advance_elements(id, acc.idx)?;
        }
        Ok(Found::Yes(self.spec))
    }

    fn push_raw(&mut self, idx: u32) -> Result<(), CoreError> {
        if self.spec.raw.len() == MAX_LEN {
            let why = format!("the target nests it more than {MAX_LEN} levels deep");
            return Err(CoreError::Unsupported { spec: self.local.describe(), why });
        }
        self.spec.raw.push(idx);
        Ok(())
    }

    /// Searches a structure and the anonymous ones in it (libbpf's `bpf_core_match_member`). `without` are
    /// anonymous types known not to have the member: types that contain each other twice would otherwise
    /// take exponential time.
    fn member(
        &mut self,
        acc: &Accessor<'_>,
        id: TypeId,
        without: &mut BTreeSet<TypeId>,
    ) -> Result<Member, CoreError> {
        let (id, ty) = self.spec.btf.resolve(id)?;
        let Some(composite) = ty.as_composite() else { return Ok(Member::Missing) };
        if without.contains(&id) {
            return Ok(Member::Missing);
        }
        for (i, m) in composite.members().enumerate() {
            let before = self.spec.bit_offset;
            if m.name.is_empty() {
                self.push_raw(i as u32)?;
                self.spec.advance_bits(id, u64::from(m.bit_offset))?;
                match self.member(acc, m.type_id, without)? {
                    Member::Missing => {}
                    found => return Ok(found),
                }
                self.spec.bit_offset = before;
                self.spec.raw.pop();
            } else if Some(m.name) == acc.name {
                let local = self.local.btf.get(acc.type_id)?.as_composite();
                let local = local.and_then(|c| c.member(acc.idx as usize));
                let compatible = match local {
                    Some(local) => fields_compat(self.local.btf, local.type_id, self.spec.btf, m.type_id)?,
                    None => false,
                };
                if !compatible {
                    return Ok(Member::Incompatible);
                }
                self.push_raw(i as u32)?;
                self.spec.advance_bits(id, u64::from(m.bit_offset))?;
                self.spec.accessors.push(Accessor { type_id: id, idx: i as u32, name: Some(m.name) });
                return Ok(Member::Found(m.type_id));
            }
        }
        without.insert(id);
        Ok(Member::Missing)
    }
}
