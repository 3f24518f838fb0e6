//! Making BTF: for tests, and for types that no compiler emitted.

use std::collections::BTreeMap;

use super::{Btf, Enumerator, IntEncoding, Kind, Linkage, Member, Param, SecVar, Type, TypeId};

/// Encodes types one by one, in the order of the calls; ids are known at once, so forward references are
/// possible through [`BtfBuilder::next_id`].
///
/// Nothing is checked here: [`Btf::parse`] does that, and tests want broken input too. Numbers beyond what
/// the format can hold (more than 65535 members, 24 bits of offset next to bit-fields) are cut off.
#[derive(Clone, Debug)]
pub struct BtfBuilder {
    types: Vec<u8>,
    strings: Vec<u8>,
    interned: BTreeMap<String, u32>,
    first_string: u32,
    next: u32,
}

impl Default for BtfBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BtfBuilder {
    /// An empty BTF.
    #[must_use]
    pub fn new() -> Self {
        let interned = BTreeMap::from([(String::new(), 0)]);
        Self { types: Vec::new(), strings: vec![0], interned, first_string: 0, next: 1 }
    }

    /// A BTF that continues `base`, to be read with [`Btf::parse_split`].
    #[must_use]
    pub fn split(base: &Btf) -> Self {
        let interned = BTreeMap::from([(String::new(), 0)]);
        let first_string = base.string_len();
        Self { types: Vec::new(), strings: vec![0], interned, first_string, next: base.len() }
    }

    /// The types and strings of `btf` itself, to be followed by more: unlike [`BtfBuilder::split`], the result has all.
    #[must_use]
    pub fn continuing(btf: &Btf) -> Self {
        let own = &btf.inner;
        let part = |at: usize, len: usize| own.data.get(at..at + len).unwrap_or_default().to_vec();
        let (types, strings) = (part(own.types_at, own.types_len), part(own.strings_at, own.strings_len));
        let interned = BTreeMap::from([(String::new(), 0)]);
        Self { types, strings, interned, first_string: own.first_string, next: btf.len() }
    }

    /// Gives a data section of `btf`, which this builder continues, another name, size and other places for its
    /// variables. Nothing happens if it is no data section, or has another number of variables.
    pub fn replace_datasec(&mut self, btf: &Btf, id: TypeId, name: &str, size: u32, vars: &[SecVar]) {
        let Ok(Type::DataSec(sec)) = btf.get(id) else { return };
        let index = id.0.checked_sub(btf.inner.first_id).map(|i| i as usize);
        let Some(at) = index.and_then(|i| btf.inner.offsets.get(i)).map(|at| *at as usize) else { return };
        if sec.vars().len() != vars.len() {
            return;
        }
        let name = self.add_string(name);
        let places = vars.iter().flat_map(|v| [v.type_id.0, v.offset, v.size]);
        // Between name and size stands what kind of type it is, which stays.
        let words = [(0, name), (8, size)].into_iter().chain((12..).step_by(4).zip(places));
        for (offset, word) in words {
            if let Some(field) = self.types.get_mut(at + offset..at + offset + 4) {
                field.copy_from_slice(&word.to_le_bytes());
            }
        }
    }

    /// The id that the next added type gets.
    #[must_use]
    pub const fn next_id(&self) -> TypeId {
        TypeId(self.next)
    }

    /// Offset of a string, added if new.
    pub fn add_string(&mut self, s: &str) -> u32 {
        if let Some(offset) = self.interned.get(s) {
            return *offset;
        }
        let offset = self.first_string.wrapping_add(self.strings.len() as u32);
        self.strings.extend_from_slice(s.as_bytes());
        self.strings.push(0);
        self.interned.insert(s.to_owned(), offset);
        offset
    }

    /// A record with any numbers.
    pub fn add_raw(&mut self, name: &str, info: u32, value: u32, tail: &[u32]) -> TypeId {
        let name = self.add_string(name);
        for word in [name, info, value].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        let id = self.next_id();
        self.next = self.next.wrapping_add(1);
        id
    }

    fn add(&mut self, kind: Kind, name: &str, vlen: usize, flag: bool, value: u32, tail: &[u32]) -> TypeId {
        let info = u32::from(flag) << 31 | u32::from(kind as u8) << 24 | (vlen as u32 & 0xffff);
        self.add_raw(name, info, value, tail)
    }

    /// An integer that uses all its bits.
    pub fn add_int(&mut self, name: &str, size: u32, encoding: IntEncoding) -> TypeId {
        self.add_int_bits(name, size, encoding, 0, size.saturating_mul(8).min(255) as u8)
    }

    /// An integer in the oldest encoding of bit-fields.
    pub fn add_int_bits(
        &mut self,
        name: &str,
        size: u32,
        encoding: IntEncoding,
        offset: u8,
        bits: u8,
    ) -> TypeId {
        let word = u32::from(encoding.0 & 0x0f) << 24 | u32::from(offset) << 16 | u32::from(bits);
        self.add(Kind::Int, name, 0, false, size, &[word])
    }

    /// A pointer.
    pub fn add_ptr(&mut self, target: TypeId) -> TypeId {
        self.add(Kind::Ptr, "", 0, false, target.0, &[])
    }

    /// An array.
    pub fn add_array(&mut self, element: TypeId, index: TypeId, len: u32) -> TypeId {
        self.add(Kind::Array, "", 0, false, 0, &[element.0, index.0, len])
    }

    /// A structure; with bit-fields if any member is one.
    pub fn add_struct(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> TypeId {
        self.add_composite(Kind::Struct, name, size, members)
    }

    /// A union; with bit-fields if any member is one.
    pub fn add_union(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> TypeId {
        self.add_composite(Kind::Union, name, size, members)
    }

    fn add_composite(&mut self, kind: Kind, name: &str, size: u32, members: &[Member<'_>]) -> TypeId {
        let flag = members.iter().any(|m| m.bitfield_size != 0);
        let mut tail = Vec::with_capacity(members.len() * 3);
        for m in members {
            let offset = if flag {
                u32::from(m.bitfield_size) << 24 | m.bit_offset & 0x00ff_ffff
            } else {
                m.bit_offset
            };
            tail.extend([self.add_string(m.name), m.type_id.0, offset]);
        }
        self.add(kind, name, members.len(), flag, size, &tail)
    }

    /// An enumeration with 32-bit values.
    pub fn add_enum(&mut self, name: &str, size: u32, signed: bool, values: &[Enumerator<'_>]) -> TypeId {
        let mut tail = Vec::with_capacity(values.len() * 2);
        for v in values {
            tail.extend([self.add_string(v.name), v.value as u32]);
        }
        self.add(Kind::Enum, name, values.len(), signed, size, &tail)
    }

    /// An enumeration with 64-bit values.
    pub fn add_enum64(&mut self, name: &str, size: u32, signed: bool, values: &[Enumerator<'_>]) -> TypeId {
        let mut tail = Vec::with_capacity(values.len() * 3);
        for v in values {
            tail.extend([self.add_string(v.name), v.value as u32, (v.value >> 32) as u32]);
        }
        self.add(Kind::Enum64, name, values.len(), signed, size, &tail)
    }

    /// A forward declaration.
    pub fn add_fwd(&mut self, name: &str, union: bool) -> TypeId {
        self.add(Kind::Fwd, name, 0, union, 0, &[])
    }

    /// A typedef.
    pub fn add_typedef(&mut self, name: &str, target: TypeId) -> TypeId {
        self.add(Kind::Typedef, name, 0, false, target.0, &[])
    }

    /// `volatile`.
    pub fn add_volatile(&mut self, target: TypeId) -> TypeId {
        self.add(Kind::Volatile, "", 0, false, target.0, &[])
    }

    /// `const`.
    pub fn add_const(&mut self, target: TypeId) -> TypeId {
        self.add(Kind::Const, "", 0, false, target.0, &[])
    }

    /// `restrict`.
    pub fn add_restrict(&mut self, target: TypeId) -> TypeId {
        self.add(Kind::Restrict, "", 0, false, target.0, &[])
    }

    /// A function.
    pub fn add_func(&mut self, name: &str, proto: TypeId, linkage: Linkage) -> TypeId {
        self.add(Kind::Func, name, linkage.number() as usize, false, proto.0, &[])
    }

    /// A function prototype.
    pub fn add_func_proto(&mut self, ret: TypeId, params: &[Param<'_>]) -> TypeId {
        let mut tail = Vec::with_capacity(params.len() * 2);
        for p in params {
            tail.extend([self.add_string(p.name), p.type_id.0]);
        }
        self.add(Kind::FuncProto, "", params.len(), false, ret.0, &tail)
    }

    /// A variable.
    pub fn add_var(&mut self, name: &str, target: TypeId, linkage: Linkage) -> TypeId {
        self.add(Kind::Var, name, 0, false, target.0, &[linkage.number()])
    }

    /// A data section.
    pub fn add_datasec(&mut self, name: &str, size: u32, vars: &[SecVar]) -> TypeId {
        let tail: Vec<u32> = vars.iter().flat_map(|v| [v.type_id.0, v.offset, v.size]).collect();
        self.add(Kind::DataSec, name, vars.len(), false, size, &tail)
    }

    /// A floating point number.
    pub fn add_float(&mut self, name: &str, size: u32) -> TypeId {
        self.add(Kind::Float, name, 0, false, size, &[])
    }

    /// `btf_decl_tag(tag)` on a declaration (component -1) or one of its members or parameters.
    pub fn add_decl_tag(&mut self, tag: &str, target: TypeId, component: i32) -> TypeId {
        self.add(Kind::DeclTag, tag, 0, false, target.0, &[component.cast_unsigned()])
    }

    /// Any attribute on a declaration.
    pub fn add_decl_attribute(&mut self, attribute: &str, target: TypeId, component: i32) -> TypeId {
        self.add(Kind::DeclTag, attribute, 0, true, target.0, &[component.cast_unsigned()])
    }

    /// `btf_type_tag(tag)` on a type.
    pub fn add_type_tag(&mut self, tag: &str, target: TypeId) -> TypeId {
        self.add(Kind::TypeTag, tag, 0, false, target.0, &[])
    }

    /// Any attribute on a type.
    pub fn add_type_attribute(&mut self, attribute: &str, target: TypeId) -> TypeId {
        self.add(Kind::TypeTag, attribute, 0, true, target.0, &[])
    }

    /// The blob, as in a `.BTF` section.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut out = Vec::with_capacity(24 + self.types.len() + self.strings.len());
        out.extend_from_slice(&[0x9f, 0xeb, 1, 0]);
        for word in [24, 0, types, types, strings] {
            out.extend_from_slice(&u32::to_le_bytes(word));
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out
    }
}
