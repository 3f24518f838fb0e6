//! In which order types are written: what one needs by value comes before it.

use super::{HeaderOptions, Names};
use crate::btf::render::Renderer;
use crate::btf::{Btf, BtfError, Composite, Int, Type, TypeId};

/// Types that need each other by value, or through aliases.
const MAX_DEPTH: u32 = 256;
/// Around definitions of words that C23 has itself.
const BEFORE_C23: &str = "#if __STDC_VERSION__ < 202000L\n";

/// How much of a type is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Written {
    No,
    /// `struct name;`, or an alias of something that is only declared.
    Declared,
    /// About to be defined, when what it needs is there.
    Beginning,
    /// The same, and declared meanwhile.
    Announced,
    Defined,
}

struct Writer<'a> {
    btf: &'a Btf,
    r: Renderer<'a>,
    written: Vec<Written>,
}

/// The definitions of all types.
pub(super) fn definitions(btf: &Btf, options: &HeaderOptions, limit: usize) -> Result<String, BtfError> {
    let r = Renderer::of_header(btf, Names::new(btf, options), limit);
    let mut w = Writer { btf, r, written: vec![Written::No; btf.len() as usize] };
    for (id, ty) in btf.iter() {
        match ty {
            Type::Struct(_) | Type::Union(_) | Type::Enum(_) | Type::Enum64(_) | Type::Typedef { .. }
                if !ty.name().is_empty() =>
            {
                w.need(id, true, TypeId::VOID, 0)?;
            }
            _ => {}
        }
    }
    // Enumerators of anonymous enumerations that no type has written out.
    for (id, ty) in btf.iter() {
        if let Some(e) = ty.as_enum()
            && e.name.is_empty()
            && !w.r.names.as_ref().is_some_and(|n| n.has_written(id))
        {
            w.define(id, ty)?;
        }
    }
    Ok(w.r.out)
}

impl<'a> Writer<'a> {
    fn written(&self, id: TypeId) -> Written {
        self.written.get(id.0 as usize).copied().unwrap_or(Written::Defined)
    }

    fn set(&mut self, id: TypeId, written: Written) {
        if let Some(w) = self.written.get_mut(id.0 as usize) {
            *w = written;
        }
    }

    /// Writes what must come before something that holds (`whole`) or only refers to this type. `inside` is the
    /// structure that is being written, which declares itself.
    fn need(&mut self, id: TypeId, whole: bool, inside: TypeId, depth: u32) -> Result<(), BtfError> {
        let depth = depth + 1;
        if depth > MAX_DEPTH {
            return Err(BtfError::TooDeep { id, limit: MAX_DEPTH });
        }
        let ty = self.btf.get(id)?;
        match ty {
            Type::Ptr(to) => self.need(to, false, inside, depth),
            // C has no arrays of incomplete elements, not even behind a pointer.
            Type::Array(a) => self.need(a.element, true, inside, depth),
            Type::Const(to) | Type::Volatile(to) | Type::Restrict(to) | Type::TypeTag { target: to, .. } => {
                self.need(to, whole, inside, depth)
            }
            Type::FuncProto(p) => {
                self.need(p.ret, false, inside, depth)?;
                p.params().try_for_each(|p| self.need(p.type_id, false, inside, depth))
            }
            Type::Typedef { name, target } => self.alias(id, (name, target), whole, depth),
            Type::Struct(c) | Type::Union(c) if c.name.is_empty() => self.members(c, inside, depth),
            Type::Struct(c) | Type::Union(c) if whole => {
                if self.written(id) < Written::Beginning {
                    let declared = self.written(id) == Written::Declared;
                    self.set(id, if declared { Written::Announced } else { Written::Beginning });
                    self.members(c, id, depth)?;
                    self.define(id, ty)?;
                }
                Ok(())
            }
            Type::Struct(_) | Type::Union(_) | Type::Fwd { .. } => self.declare(id, ty, inside),
            Type::Enum(e) | Type::Enum64(e) if !e.name.is_empty() && self.written(id) == Written::No => {
                self.define(id, ty)
            }
            Type::Int(int) if self.written(id) == Written::No => self.integer(id, int),
            _ => Ok(()),
        }
    }

    fn members(&mut self, c: Composite<'a>, inside: TypeId, depth: u32) -> Result<(), BtfError> {
        c.members().try_for_each(|m| self.need(m.type_id, true, inside, depth))
    }

    fn declare(&mut self, id: TypeId, ty: Type<'a>, inside: TypeId) -> Result<(), BtfError> {
        let written = match self.written(id) {
            _ if id == inside => return Ok(()),
            Written::No => Written::Declared,
            Written::Beginning => Written::Announced,
            Written::Declared | Written::Announced | Written::Defined => return Ok(()),
        };
        self.set(id, written);
        let union = matches!(ty, Type::Union(_) | Type::Fwd { union: true, .. });
        let name = self.r.type_name(id, ty.name());
        self.r.push(if union { "union " } else { "struct " })?;
        self.r.push(&name)?;
        self.r.push(";\n\n")
    }

    fn alias(
        &mut self,
        id: TypeId,
        (name, target): (&'a str, TypeId),
        whole: bool,
        depth: u32,
    ) -> Result<(), BtfError> {
        let before = self.written(id);
        if before == Written::No {
            // The alias itself does not need what it stands for, which may need the alias.
            self.set(id, Written::Declared);
            self.need(target, false, TypeId::VOID, depth)?;
            self.r.set_root(id);
            let c23 = matches!(name, "bool" | "nullptr_t");
            self.r.push(if c23 { BEFORE_C23 } else { "" })?;
            let name = self.r.type_name(id, name);
            self.r.push("typedef ")?;
            self.r.decl(target, &name, 0)?;
            self.r.push(if c23 { ";\n#endif\n\n" } else { ";\n\n" })?;
        }
        if whole && before != Written::Defined {
            self.set(id, Written::Defined);
            self.need(target, true, TypeId::VOID, depth)?;
        }
        Ok(())
    }

    fn define(&mut self, id: TypeId, ty: Type<'a>) -> Result<(), BtfError> {
        self.set(id, Written::Defined);
        self.r.set_root(id);
        let mut end = ";\n\n";
        match ty {
            Type::Struct(c) | Type::Union(c) => self.r.composite(id, ty.kind(), c, 0)?,
            // An enumeration that is only declared has no values.
            Type::Enum(e) | Type::Enum64(e) if e.is_empty() => {
                if e.name.is_empty() {
                    return Ok(());
                }
                let name = self.r.type_name(id, e.name);
                self.r.push("enum ")?;
                self.r.push(&name)?;
            }
            Type::Enum(e) | Type::Enum64(e) => {
                if e.values().any(|v| matches!(v.name, "true" | "false" | "nullptr")) {
                    self.r.push(BEFORE_C23)?;
                    end = ";\n#endif\n\n";
                }
                self.r.enumeration(id, ty.kind(), e, 0)?;
            }
            other => {
                let expected = "a structure, union or enumeration";
                return Err(BtfError::WrongKind { id, kind: other.kind(), expected });
            }
        }
        self.r.push(end)
    }

    /// Gives a name to an integer type that C has no words for.
    fn integer(&mut self, id: TypeId, int: Int<'a>) -> Result<(), BtfError> {
        self.set(id, Written::Defined);
        let in_c =
            |w| matches!(w, "char" | "short" | "int" | "long" | "signed" | "unsigned" | "_Bool" | "__int128");
        if int.name.split(' ').all(in_c) {
            return Ok(());
        }
        let size = int.size;
        let (base, array) = match (size, int.encoding.is_bool()) {
            (1, true) => ("_Bool", String::new()),
            (1, _) => ("char", String::new()),
            (2, _) => ("short", String::new()),
            (4, _) => ("int", String::new()),
            (8, _) => ("long long", String::new()),
            (16, _) => ("__int128", String::new()),
            _ => ("char", format!("[{size}]")),
        };
        let sign = match (base, int.encoding.is_signed()) {
            ("_Bool", _) => "",
            (_, true) => "signed ",
            (_, false) => "unsigned ",
        };
        let c23 = int.name == "bool";
        let name = match &mut self.r.names {
            Some(names) => names.name_integer(id, int.name),
            None => int.name.into(),
        };
        let (before, after) = if c23 { (BEFORE_C23, "#endif\n") } else { ("", "") };
        self.r.push(&format!("{before}typedef {sign}{base} {name}{array};\n{after}\n"))
    }
}
