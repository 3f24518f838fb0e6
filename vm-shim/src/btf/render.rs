//! Types in C: names and declarations.
//!
//! Spacing and the treatment of modifiers follow libbpf's `btf_dump.c`, so that texts can be compared with
//! bpftool's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::header::Names;
use super::{Btf, BtfError, Type, TypeId};

/// Nested definitions, parameters and declarators that are followed.
const MAX_DEPTH: u32 = 64;
/// Pointers, arrays, modifiers around one type.
const MAX_CHAIN: usize = 64;
/// Longest text. Types can be made whose expansion is exponential.
const MAX_TEXT: usize = 1 << 20;

impl Btf {
    /// The type as C writes it without a variable: `struct task_struct *`, `char[16]`, `int (*)(void *)`.
    /// Anonymous structures are `struct {...}`. A broken type gives a comment that says so.
    #[must_use]
    pub fn type_name(&self, id: TypeId) -> String {
        self.c_decl(id, "")
    }

    /// A declaration of `name` with this type: `char comm[16]`. A broken type gives a comment that says so.
    #[must_use]
    pub fn c_decl(&self, id: TypeId, name: &str) -> String {
        self.try_c_decl(id, name).unwrap_or_else(|e| format!("/* {e} */ {name}"))
    }

    /// As [`Btf::c_decl`].
    ///
    /// # Errors
    /// If a type is broken, cyclic, or too long to write.
    pub fn try_c_decl(&self, id: TypeId, name: &str) -> Result<String, BtfError> {
        let mut r = Renderer::new(self, id, false);
        r.decl(id, name, 0)?;
        Ok(r.out)
    }
}

/// A text in the making.
pub(super) struct Renderer<'a> {
    pub(super) btf: &'a Btf,
    root: TypeId,
    /// Whether anonymous types are written out.
    inline_anonymous: bool,
    /// The longest text there may be.
    pub(super) limit: usize,
    /// The names of a whole header, in which no two things may have the same one.
    pub(super) names: Option<Names<'a>>,
    /// Alignments found so far.
    pub(super) aligns: BTreeMap<TypeId, u64>,
    pub(super) out: String,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(btf: &'a Btf, root: TypeId, inline_anonymous: bool) -> Self {
        let (limit, aligns, out) = (MAX_TEXT, BTreeMap::new(), String::new());
        Self { btf, root, inline_anonymous, limit, names: None, aligns, out }
    }

    /// A text with many definitions, in which these names are used.
    pub(super) fn of_header(btf: &'a Btf, names: Names<'a>, limit: usize) -> Self {
        let mut r = Self::new(btf, TypeId::VOID, true);
        r.limit = limit;
        r.names = Some(names);
        r
    }

    /// What errors are about from now on.
    pub(super) const fn set_root(&mut self, root: TypeId) {
        self.root = root;
    }

    pub(super) fn push(&mut self, s: &str) -> Result<(), BtfError> {
        if self.out.len() + s.len() > self.limit {
            return Err(BtfError::TooLong { id: self.root, limit: self.limit });
        }
        self.out.push_str(s);
        Ok(())
    }

    /// One level deeper, if that is allowed.
    pub(super) fn deeper(&self, depth: u32) -> Result<u32, BtfError> {
        let too_deep = BtfError::TooDeep { id: self.root, limit: MAX_DEPTH };
        if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(too_deep) }
    }

    /// A declaration of `name` (which may be empty); `depth` is the indentation of definitions in it.
    pub(super) fn decl(&mut self, id: TypeId, name: &str, depth: u32) -> Result<(), BtfError> {
        // From the declared thing inwards to the type that has a name of its own.
        let mut chain: Vec<Type<'a>> = Vec::new();
        let mut at = id;
        let base = loop {
            let ty = self.btf.get(at)?;
            at = match ty {
                Type::Ptr(t) | Type::Const(t) | Type::Volatile(t) | Type::Restrict(t) => t,
                Type::TypeTag { target, .. } => target,
                Type::Array(a) => a.element,
                Type::FuncProto(p) => p.ret,
                _ => break ty,
            };
            if chain.len() == MAX_CHAIN {
                return Err(BtfError::TooDeep { id: self.root, limit: MAX_CHAIN as u32 });
            }
            chain.push(ty);
        };
        self.modifiers(&mut chain)?;
        self.base(base, at, depth)?;
        self.chain(chain, name, false, depth)
    }

    /// Writes and removes the modifiers that stand in front of a base type.
    fn modifiers(&mut self, chain: &mut Vec<Type<'a>>) -> Result<(), BtfError> {
        while let Some(word) = chain.last().and_then(modifier) {
            self.push(word)?;
            self.push(" ")?;
            chain.pop();
        }
        Ok(())
    }

    fn base(&mut self, ty: Type<'a>, id: TypeId, depth: u32) -> Result<(), BtfError> {
        let (keyword, name) = match ty {
            Type::Void => ("", "void"),
            Type::Int(t) => ("", t.name),
            Type::Float { name, .. } | Type::Typedef { name, .. } => ("", name),
            Type::Struct(t) => ("struct ", t.name),
            Type::Union(t) => ("union ", t.name),
            Type::Enum(t) | Type::Enum64(t) => ("enum ", t.name),
            Type::Fwd { name, union } => (if union { "union " } else { "struct " }, name),
            Type::Func { proto, name, .. } => return self.decl(proto, name, self.deeper(depth)?),
            Type::Var { target, name, .. } => return self.decl(target, name, self.deeper(depth)?),
            other => {
                let expected = "a type that values can have";
                return Err(BtfError::WrongKind { id, kind: other.kind(), expected });
            }
        };
        if name.is_empty() && self.inline_anonymous {
            match ty {
                Type::Struct(t) | Type::Union(t) => return self.composite(id, ty.kind(), t, depth),
                Type::Enum(t) | Type::Enum64(t) => return self.enumeration(id, ty.kind(), t, depth),
                _ => {}
            }
        }
        self.push(keyword)?;
        let name = if name.is_empty() { "{...}".into() } else { self.type_name(id, name) };
        self.push(&name)
    }

    /// The name of a type in this text.
    pub(super) fn type_name(&self, id: TypeId, name: &'a str) -> Cow<'a, str> {
        self.names.as_ref().map_or(Cow::Borrowed(name), |names| names.of_type(id, name))
    }

    /// The name of a member or parameter in this text.
    pub(super) fn variable_name(&self, name: &'a str) -> Cow<'a, str> {
        self.names.as_ref().map_or(Cow::Borrowed(name), |names| names.of_variable(name))
    }

    /// Writes what surrounds the base, from the inside out. `glued`: no space is needed before the next word.
    fn chain(
        &mut self,
        mut chain: Vec<Type<'a>>,
        name: &str,
        glued: bool,
        depth: u32,
    ) -> Result<(), BtfError> {
        let mut last_was_ptr = glued;
        while let Some(ty) = chain.pop() {
            match ty {
                Type::Ptr(_) => self.push(if last_was_ptr { "*" } else { " *" })?,
                Type::TypeTag { .. } if self.names.as_ref().is_some_and(|n| !n.type_tags) => continue,
                Type::TypeTag { tag, attribute, .. } => {
                    self.push(" __attribute__((")?;
                    if attribute {
                        self.push(tag)?;
                    } else {
                        self.push("btf_type_tag(\"")?;
                        self.push(tag)?;
                        self.push("\")")?;
                    }
                    self.push("))")?;
                }
                Type::Array(a) => {
                    // Some compilers put an element's modifiers on the array, too.
                    drop_modifiers(&mut chain);
                    let nested = matches!(chain.last(), Some(Type::Array(_)));
                    if chain.is_empty() {
                        self.name(name, last_was_ptr)?;
                    } else {
                        if !(last_was_ptr || nested && name.is_empty()) {
                            self.push(" ")?;
                        }
                        self.push(if nested { "" } else { "(" })?;
                        self.chain(chain, name, true, self.deeper(depth)?)?;
                        self.push(if nested { "" } else { ")" })?;
                    }
                    return self.push(&format!("[{}]", a.len));
                }
                Type::FuncProto(p) => {
                    drop_modifiers(&mut chain);
                    if chain.is_empty() {
                        self.name(name, last_was_ptr)?;
                    } else {
                        self.push(" (")?;
                        self.chain(chain, name, true, self.deeper(depth)?)?;
                        self.push(")")?;
                    }
                    return self.params(p, depth);
                }
                other => {
                    self.push(" ")?;
                    self.push(modifier(&other).unwrap_or(""))?;
                }
            }
            last_was_ptr = matches!(ty, Type::Ptr(_));
        }
        self.name(name, last_was_ptr)
    }

    fn params(&mut self, proto: super::FuncProto<'a>, depth: u32) -> Result<(), BtfError> {
        let depth = self.deeper(depth)?;
        let last = proto.len().saturating_sub(1);
        self.push("(")?;
        for (i, p) in proto.params().enumerate() {
            self.push(if i > 0 { ", " } else { "" })?;
            match (p.type_id, i) {
                // clang writes `(void)` as one parameter of type void.
                (TypeId::VOID, 0) if last == 0 => self.push("void")?,
                (TypeId::VOID, i) if i == last => self.push("...")?,
                _ => {
                    let name = self.variable_name(p.name);
                    self.decl(p.type_id, &name, depth)?;
                }
            }
        }
        self.push(if proto.is_empty() { "void)" } else { ")" })
    }

    fn name(&mut self, name: &str, last_was_ptr: bool) -> Result<(), BtfError> {
        if !name.is_empty() && !last_was_ptr {
            self.push(" ")?;
        }
        self.push(name)
    }
}

fn modifier(ty: &Type<'_>) -> Option<&'static str> {
    match ty {
        Type::Const(_) => Some("const"),
        Type::Volatile(_) => Some("volatile"),
        Type::Restrict(_) => Some("restrict"),
        _ => None,
    }
}

fn drop_modifiers(chain: &mut Vec<Type<'_>>) {
    while chain.last().and_then(modifier).is_some() {
        chain.pop();
    }
}
