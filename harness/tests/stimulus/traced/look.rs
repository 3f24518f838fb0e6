//! What is looked at where a point comes by: arguments by their types, in the kernel's own BTF, and what they point at.

use bpf_harness::profile::tracepoints::Field;
use bpf_vm_shim::btf::{Btf, Kind, Type, TypeId};

use super::meaning::{Meaning, STRUCTS};

/// As the fixture has it.
pub(super) const STEPS: usize = 24;
pub(super) const READ: usize = 32;
pub(super) const RECORD: usize = 192;
/// The word behind the arguments.
pub(super) const RESULT: usize = 6;
/// What fits into registers.
const ARGS: usize = 6;

/// Something to be read: pointers that are followed from a word, and what is behind the last of them.
#[derive(Clone, Debug)]
struct Step {
    from: usize,
    text: bool,
    len: usize,
    at: Vec<u32>,
}

/// Bits of some bytes that are a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits {
    pub(super) shift: u32,
    pub(super) bits: u32,
    pub(super) signed: bool,
}

/// Where a value is to be found in what a point tells.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Word(usize),
    /// What a step has read.
    Read(usize),
    /// Bytes of a tracepoint's record.
    Record(usize, usize),
}

/// How a value is compared.
#[derive(Clone, Debug)]
pub(super) enum Look {
    Number(Bits, Meaning),
    Text,
    Bytes,
    /// None, or some; and what it points at, if that is known.
    Pointer(Vec<Value>),
    /// Where a text is in the record (`__data_loc`).
    Located,
    /// The arguments of a system call, of which the record has the number too.
    Words,
    /// Its result.
    Result,
}

/// A value with its name.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) look: Look,
    /// How many bytes it has, if not all.
    pub(super) len: Option<usize>,
}

impl Value {
    fn new(name: impl Into<String>, place: Place, look: Look) -> Self {
        Self { name: name.into(), place, look, len: None }
    }
}

/// What is told of one point.
#[derive(Clone, Default, Debug)]
pub(crate) struct Plan {
    pub(super) values: Vec<Value>,
    steps: Vec<Step>,
    regs: bool,
}

impl Plan {
    /// As the fixture's `struct plan`.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [self.steps.len(), usize::from(self.regs), 0, 0] {
            bytes.extend((word as u32).to_le_bytes());
        }
        for step in &self.steps {
            let hops = step.at.len() - 1;
            bytes.extend([step.from as u8, hops as u8, u8::from(step.text), step.len as u8]);
            let mut at = step.at.clone();
            at.resize(4, 0);
            bytes.extend(at.iter().flat_map(|a| a.to_le_bytes()));
        }
        bytes.resize(16 + 20 * STEPS, 0);
        bytes
    }

    fn step(&mut self, from: usize, text: bool, len: usize, at: Vec<u32>) -> Option<Place> {
        if self.steps.len() == STEPS || at.len() > 4 {
            return None;
        }
        self.steps.push(Step { from, text, len: len.min(READ), at });
        Some(Place::Read(self.steps.len() - 1))
    }

    /// The entry of a function; `None` if the types do not have it.
    pub(super) fn entry(btf: &Btf, function: &str) -> Option<Self> {
        let Type::FuncProto(proto) = prototype(btf, function)? else { return None };
        let mut plan = Self::default();
        for (word, param) in proto.params().enumerate().take(ARGS) {
            // A structure that is passed by value takes two registers, or none.
            if btf.size_of(param.type_id).is_ok_and(|size| size > 8) {
                break;
            }
            let look = plan.look(btf, param.type_id, param.name, word)?;
            plan.values.push(Value::new(param.name, Place::Word(word), look));
        }
        Some(plan)
    }

    /// The return of a function.
    pub(super) fn result(btf: &Btf, function: &str) -> Option<Self> {
        let Type::FuncProto(proto) = prototype(btf, function)? else { return None };
        let mut plan = Self::default();
        if proto.ret != TypeId::VOID {
            let mut look = plan.look(btf, proto.ret, "ret", RESULT)?;
            if let Look::Number(_, meaning @ Meaning::Number) = &mut look {
                *meaning = Meaning::of_result(function);
            }
            plan.values.push(Value::new("ret", Place::Word(RESULT), look));
        }
        Some(plan)
    }

    /// The entry of a function, whose arguments have these declarations.
    pub(crate) fn arguments(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        Self { regs: false, ..Self::syscall(&args) }
    }

    /// The return of a function with this type.
    pub(crate) fn returned(ty: &str) -> Self {
        let look = match ty.contains('*') {
            true => Look::Pointer(Vec::new()),
            false => Look::Number(argument_bits(ty), Meaning::Number),
        };
        Self { values: vec![Value::new("ret", Place::Word(RESULT), look)], ..Self::default() }
    }

    /// The entry of a system call, whose arguments have these declarations.
    pub(super) fn syscall(args: &[String]) -> Self {
        let mut plan = Self { regs: true, ..Self::default() };
        for (word, decl) in args.iter().enumerate() {
            let (name, look) = plan.declared(decl, word);
            plan.values.push(Value::new(name, Place::Word(word), look));
        }
        plan
    }

    /// The return of a system call.
    pub(super) fn syscall_result(name: &str) -> Self {
        let look = Look::Number(Bits { shift: 0, bits: 64, signed: true }, Meaning::of_result(name));
        let value = Value::new("ret", Place::Word(RESULT), look);
        Self { values: vec![value], ..Self::default() }
    }

    /// An argument by its declaration in C.
    fn declared(&mut self, decl: &str, word: usize) -> (String, Look) {
        let (ty, name) = decl.rsplit_once(' ').unwrap_or(("", decl));
        let look = if ty.contains("char") && ty.matches('*').count() == 1 {
            self.text(word)
        } else if ty.contains('*') && ty.contains("sockaddr") {
            let place = self.step(word, false, 28, vec![0]);
            Look::Pointer(place.map(sockaddr).into_iter().collect())
        } else if ty.contains('*') {
            Look::Pointer(Vec::new())
        } else {
            Look::Number(argument_bits(ty), Meaning::of(ty, name))
        };
        (name.to_owned(), look)
    }

    fn text(&mut self, word: usize) -> Look {
        let text = self.step(word, true, READ, vec![0]);
        let text = text.map(|place| Value::new("", place, Look::Text));
        Look::Pointer(text.into_iter().collect())
    }

    /// A tracepoint's record.
    pub(super) fn record(category: &str, event: &str, fields: &[Field]) -> Self {
        let mut plan = Self::default();
        for Field { name, decl, offset, size, signed } in fields {
            let (offset, size) = (*offset as usize, *size as usize);
            if offset + size > RECORD {
                continue;
            }
            let ty = decl.rsplit_once(' ').map_or(decl.as_str(), |(ty, _)| ty);
            let look = if decl.starts_with("__data_loc") {
                Look::Located
            } else if decl.contains('[') && size % 8 == 0 && decl.contains("long") {
                Look::Words
            } else if decl.contains('[') {
                if ty.contains("char") && !ty.contains("unsigned") { Look::Text } else { Look::Bytes }
            } else if decl.contains('*') {
                Look::Pointer(Vec::new())
            } else {
                let exit = event.strip_prefix("sys_exit_").filter(|_| name == "ret");
                match exit {
                    Some(call) => {
                        let bits = Bits { shift: 0, bits: 64, signed: true };
                        Look::Number(bits, Meaning::of_result(call))
                    }
                    // Each has a word of its own.
                    None if category == "syscalls" => Look::Number(argument_bits(ty), Meaning::of(ty, name)),
                    None if category == "raw_syscalls" && name == "ret" => Look::Result,
                    None => {
                        let bits = Bits { shift: 0, bits: 8 * size.min(8) as u32, signed: *signed };
                        Look::Number(bits, Meaning::of(ty, name))
                    }
                }
            };
            let place = Place::Record(offset, size);
            plan.values.push(Value::new(name, place, look));
        }
        plan
    }

    /// A value of a type that is in a word.
    fn look(&mut self, btf: &Btf, id: TypeId, name: &str, word: usize) -> Option<Look> {
        let (resolved, ty) = btf.resolve(id).ok()?;
        let Type::Ptr(target) = ty else {
            let bits = bits(btf, resolved)?;
            return Some(Look::Number(bits, Meaning::of(btf.name_of(id), name)));
        };
        let (_, target) = btf.resolve(target).ok()?;
        Some(match target {
            Type::Int(t) if t.size == 1 && !t.encoding.is_bool() => self.text(word),
            Type::Struct(t) if t.name.starts_with("sockaddr") => {
                let place = self.step(word, false, 28, vec![0]);
                Look::Pointer(place.map(sockaddr).into_iter().collect())
            }
            Type::Struct(t) => {
                let fields = STRUCTS.iter().find(|(name, _)| *name == t.name).map_or(&[][..], |(_, f)| *f);
                let fields = fields.iter().filter_map(|f| self.field(btf, t.name, f, word));
                Look::Pointer(fields.collect())
            }
            _ => Look::Pointer(Vec::new()),
        })
    }

    /// A member of a structure that a word points at, behind any pointers on its path.
    fn field(
        &mut self,
        btf: &Btf,
        name: &str,
        (path, meaning): &(&str, Meaning),
        word: usize,
    ) -> Option<Value> {
        let mut at = vec![0];
        let mut ty = btf.find(Kind::Struct, name)?;
        let mut found = None;
        for part in path.split('.') {
            if let Type::Ptr(target) = btf.resolve(ty).ok()?.1 {
                at.push(0);
                ty = target;
            }
            if let Type::Array(a) = btf.resolve(ty).ok()?.1 {
                ty = a.element;
            }
            let (member, bit) = member(btf, ty, part)?;
            *at.last_mut()? += bit / 8;
            ty = member.type_id;
            found = Some((member, bit % 8));
        }
        let (member, bit) = found?;
        let (resolved, kind) = btf.resolve(ty).ok()?;
        let (place, look) = match kind {
            Type::Ptr(target) if matches!(btf.resolve(target).ok()?.1, Type::Int(t) if t.size == 1) => {
                at.push(0);
                (self.step(word, true, READ, at)?, Look::Text)
            }
            Type::Ptr(target)
                if matches!(btf.resolve(target).ok()?.1, Type::Struct(t) if t.name == "sockaddr")
                    || *meaning == Meaning::Address =>
            {
                at.push(0);
                let place = self.step(word, false, 28, at)?;
                return Some(Value { name: (*path).to_owned(), ..sockaddr(place) });
            }
            Type::Ptr(_) => (self.step(word, false, 8, at)?, Look::Pointer(Vec::new())),
            Type::Array(a) if matches!(btf.resolve(a.element).ok()?.1, Type::Int(t) if t.size == 1) => {
                let look = if *meaning == Meaning::Bytes { Look::Bytes } else { Look::Text };
                (self.step(word, false, btf.size_of(ty).ok()? as usize, at)?, look)
            }
            Type::Struct(_) | Type::Union(_) | Type::Array(_) => {
                let len = btf.size_of(ty).ok()? as usize;
                if *meaning == Meaning::Bytes {
                    (self.step(word, false, len, at)?, Look::Bytes)
                } else {
                    // A structure around a number: `kuid_t`, `struct pid`'s number.
                    let bits = Bits { shift: 0, bits: 8 * len.min(8) as u32, signed: false };
                    (self.step(word, false, len, at)?, Look::Number(bits, *meaning))
                }
            }
            _ => {
                let mut bits = bits(btf, resolved)?;
                let len = bits.bits.div_ceil(8) as usize;
                if member.bitfield_size != 0 {
                    bits = Bits { shift: bit, bits: member.bitfield_size.into(), ..bits };
                }
                (self.step(word, false, len, at)?, Look::Number(bits, *meaning))
            }
        };
        let len = btf.size_of(ty).ok().map(|len| len as usize);
        Some(Value { name: (*path).to_owned(), place, look, len })
    }
}

/// The address that a socket is given or asked for.
fn sockaddr(place: Place) -> Value {
    let bits = Bits { shift: 0, bits: 0, signed: false };
    Value::new("", place, Look::Number(bits, Meaning::Address))
}

/// The prototype of a function.
fn prototype<'a>(btf: &'a Btf, function: &str) -> Option<Type<'a>> {
    let Type::Func { proto, .. } = btf.get(btf.find(Kind::Func, function)?).ok()? else { return None };
    btf.get(proto).ok()
}

/// A system call's argument, by its type's name.
fn argument_bits(ty: &str) -> Bits {
    let long = ["long", "size_t", "aligned"].iter().any(|l| ty.contains(l));
    let signed = !["unsigned", "size_t", "umode_t", "u32"].iter().any(|u| ty.contains(u));
    Bits { shift: 0, bits: if long { 64 } else { 32 }, signed }
}

fn bits(btf: &Btf, id: TypeId) -> Option<Bits> {
    let size = u32::try_from(btf.size_of(id).ok()?).ok()?;
    let signed = btf.int_encoding(id).ok()?.is_some_and(|e| e.is_signed());
    Some(Bits { shift: 0, bits: 8 * size, signed })
}

/// A member by its name, also one of an unnamed structure or union, and its position in bits.
fn member<'a>(btf: &'a Btf, ty: TypeId, name: &str) -> Option<(bpf_vm_shim::btf::Member<'a>, u32)> {
    let (Type::Struct(t) | Type::Union(t)) = btf.resolve(ty).ok()?.1 else { return None };
    t.members().find_map(|m| {
        if m.name == name {
            return Some((m, m.bit_offset));
        }
        if !m.name.is_empty() {
            return None;
        }
        member(btf, m.type_id, name).map(|(inner, bit)| (inner, m.bit_offset + bit))
    })
}
