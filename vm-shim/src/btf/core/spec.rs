//! A relocation's access path, parsed and walked through the object's types.

use std::fmt::Write as _;

use super::super::{Array, Btf, BtfError, Type, TypeId};
use super::{CoreError, CoreRelo, CoreReloKind};

/// Longest path that libbpf follows (`BPF_CORE_SPEC_MAX_LEN`).
pub(super) const MAX_LEN: usize = 64;

/// A step of the path that means something: a named field, an array index, or (first) the index from the
/// root pointer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accessor<'a> {
    /// The structure for a field, the element for an index, the enumeration for an enumerator.
    pub(super) type_id: TypeId,
    pub(super) idx: u32,
    pub(super) name: Option<&'a str>,
}

/// A path through types of one BTF (`struct bpf_core_spec`).
#[derive(Clone, Debug)]
pub(super) struct Spec<'a> {
    pub(super) btf: &'a Btf,
    pub(super) kind: CoreReloKind,
    pub(super) root: TypeId,
    /// Steps that mean something.
    pub(super) accessors: Vec<Accessor<'a>>,
    /// All steps, those through anonymous members too.
    pub(super) raw: Vec<u32>,
    pub(super) bit_offset: u32,
}

impl<'a> Spec<'a> {
    pub(super) const fn new(btf: &'a Btf, kind: CoreReloKind, root: TypeId) -> Self {
        Self { btf, kind, root, accessors: Vec::new(), raw: Vec::new(), bit_offset: 0 }
    }

    /// Parses a relocation against the object's own types (libbpf's `bpf_core_parse_spec`).
    pub(super) fn parse(btf: &'a Btf, relo: &CoreRelo) -> Result<Self, CoreError> {
        let bad = |why: String| CoreError::BadAccess {
            type_id: relo.type_id,
            type_name: btf.type_name(relo.type_id),
            access: relo.access.to_string(),
            why,
        };
        let mut spec = Self::new(btf, relo.kind, relo.type_id);
        btf.get(relo.type_id)?;
        if relo.kind.is_type() {
            return if &*relo.access == "0" { Ok(spec) } else { Err(bad("a type has only `0`".to_owned())) };
        }
        for step in relo.access.split(':') {
            spec.raw.push(step.parse().map_err(|_| bad(format!("{step:?} is no index")))?);
        }
        if spec.raw.len() > MAX_LEN {
            return Err(bad(format!("more than {MAX_LEN} steps")));
        }
        if relo.kind.is_enumval() {
            spec.enumerator().map_err(bad)?;
        } else if relo.kind.is_field() {
            spec.fields().map_err(bad)?;
        } else {
            return Err(CoreError::Unsupported { spec: spec.describe(), why: "unknown kind".to_owned() });
        }
        Ok(spec)
    }

    fn enumerator(&mut self) -> Result<(), String> {
        let (id, ty) = self.btf.resolve(self.root).map_err(|e| e.to_string())?;
        let list = ty.as_enum().ok_or_else(|| format!("{} is no enumeration", ty.kind()))?;
        let &[idx] = self.raw.as_slice() else { return Err("an enumerator has one index".to_owned()) };
        let value = list.value(idx as usize).ok_or_else(|| format!("there is no enumerator {idx}"))?;
        self.accessors.push(Accessor { type_id: id, idx, name: Some(value.name) });
        Ok(())
    }

    fn fields(&mut self) -> Result<(), String> {
        let text = |e: BtfError| e.to_string();
        let (mut id, _) = self.btf.resolve(self.root).map_err(text)?;
        let raw = std::mem::take(&mut self.raw);
        let steps = raw.split_first().map_or(&[][..], |(first, rest)| {
            self.accessors.push(Accessor { type_id: id, idx: *first, name: None });
            rest
        });
        let first = raw.first().copied().unwrap_or(0);
        self.advance_elements(id, first).map_err(text)?;
        for &idx in steps {
            let (at, ty) = self.btf.resolve(id).map_err(text)?;
            match ty {
                Type::Struct(c) | Type::Union(c) => {
                    let m = c.member(idx as usize);
                    let m = m.ok_or_else(|| format!("{} has no member {idx}", self.btf.type_name(at)))?;
                    self.advance_bits(at, u64::from(m.bit_offset)).map_err(text)?;
                    if !m.name.is_empty() {
                        self.accessors.push(Accessor { type_id: at, idx, name: Some(m.name) });
                    }
                    id = m.type_id;
                }
                Type::Array(a) => {
                    if idx >= a.len && !self.ends_in_flexible(a) {
                        return Err(format!("{} has no element {idx}", self.btf.type_name(at)));
                    }
                    (id, _) = self.btf.resolve(a.element).map_err(text)?;
                    self.accessors.push(Accessor { type_id: id, idx, name: None });
                    self.advance_elements(id, idx).map_err(text)?;
                }
                other => {
                    return Err(format!("{} of kind {} has no parts", self.btf.type_name(at), other.kind()));
                }
            }
        }
        self.raw = raw;
        Ok(())
    }

    /// Whether the array that the last accessor selected may be indexed without bound: of length 0 and the
    /// last member of its structure (libbpf's `is_flex_arr`).
    pub(super) fn ends_in_flexible(&self, array: Array) -> bool {
        let Some(last) = self.accessors.last().filter(|a| a.name.is_some()) else { return false };
        let Ok(Type::Struct(c) | Type::Union(c)) = self.btf.get(last.type_id) else { return false };
        array.len == 0 && last.idx as usize + 1 == c.len()
    }

    /// Moves on by a number of elements.
    pub(super) fn advance_elements(&mut self, id: TypeId, count: u32) -> Result<(), BtfError> {
        let bits = self.btf.size_of(id)?.checked_mul(8).and_then(|b| b.checked_mul(u64::from(count)));
        self.advance_bits(id, bits.ok_or(BtfError::SizeOverflow { id })?)
    }

    pub(super) fn advance_bits(&mut self, id: TypeId, bits: u64) -> Result<(), BtfError> {
        let sum = u64::from(self.bit_offset).checked_add(bits).and_then(|s| u32::try_from(s).ok());
        self.bit_offset = sum.ok_or(BtfError::SizeOverflow { id })?;
        Ok(())
    }

    /// The path in C, without the root: `mm.arg_start`, `[2].x`.
    pub(super) fn field_path(&self) -> String {
        let mut out = String::new();
        for (i, acc) in self.accessors.iter().enumerate() {
            match acc.name {
                Some(name) if out.is_empty() => out.push_str(name),
                Some(name) => _ = write!(out, ".{name}"),
                None if i > 0 || acc.idx > 0 => _ = write!(out, "[{}]", acc.idx),
                None => {}
            }
        }
        out
    }

    /// The root type: `struct task_struct`.
    pub(super) fn root_name(&self) -> String {
        let name = self.btf.name_of(self.root);
        let kind = self.btf.kind_of(self.root).map_or("", super::super::Kind::name);
        format!("{kind} {}", if name.is_empty() { "<anon>" } else { name })
    }

    /// The whole, in the notation of libbpf's messages (`bpf_core_format_spec`).
    pub(super) fn describe(&self) -> String {
        let mut out = format!("<{}> [{}] {}", self.kind.name(), self.root, self.root_name());
        if self.kind.is_enumval() {
            let list = self.accessors.first().and_then(|a| self.btf.get(a.type_id).ok()?.as_enum());
            let value = list.zip(self.raw.first()).and_then(|(l, i)| l.value(*i as usize));
            if let Some(v) = value {
                _ = write!(out, "::{} = {}", v.name, v.value);
            }
        } else if self.kind.is_field() {
            let path = self.field_path();
            let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
            let raw: Vec<String> = self.raw.iter().map(u32::to_string).collect();
            _ = write!(out, "{dot}{path} ({} @ offset {}", raw.join(":"), self.bit_offset / 8);
            if !self.bit_offset.is_multiple_of(8) {
                _ = write!(out, ".{}", self.bit_offset % 8);
            }
            out.push(')');
        }
        out
    }
}
