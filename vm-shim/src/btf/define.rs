//! Types in C: whole definitions that compile to the same layout.

use super::render::Renderer;
use super::{Btf, BtfError, Composite, Enum, Kind, Member, Type, TypeId};

/// Types used as anonymous bit-fields to fill a gap, and their width.
const PADS: [(&str, u64); 4] = [("long", 64), ("int", 32), ("short", 16), ("char", 8)];

impl Btf {
    /// The definition of a type as it would stand in a header, with the final semicolon: structures, unions
    /// and enumerations with their anonymous members written out, forward declarations, typedefs,
    /// prototypes of functions, `extern` variables. Gaps are filled with anonymous bit-fields and `packed`
    /// is added where natural alignment would not give the same layout (as libbpf's `btf_dump.c` does).
    ///
    /// # Errors
    /// If the kind has no definition, or a type is broken, cyclic, or too long to write.
    pub fn c_definition(&self, id: TypeId) -> Result<String, BtfError> {
        let ty = self.get(id)?;
        let mut r = Renderer::new(self, id, true);
        match ty {
            Type::Struct(c) | Type::Union(c) => r.composite(id, ty.kind(), c, 0)?,
            Type::Enum(e) | Type::Enum64(e) => r.enumeration(id, ty.kind(), e, 0)?,
            Type::Fwd { .. } | Type::Func { .. } => r.decl(id, "", 0)?,
            Type::Typedef { name, target } => {
                r.push("typedef ")?;
                r.decl(target, name, 0)?;
            }
            Type::Var { name, target, .. } => {
                r.push("extern ")?;
                r.decl(target, name, 0)?;
            }
            _ => {
                let expected = "a type with a definition";
                return Err(BtfError::WrongKind { id, kind: ty.kind(), expected });
            }
        }
        r.push(";")?;
        Ok(r.out)
    }
}

impl<'a> Renderer<'a> {
    /// A structure or union with its body.
    pub(super) fn composite(
        &mut self,
        id: TypeId,
        kind: Kind,
        c: Composite<'a>,
        depth: u32,
    ) -> Result<(), BtfError> {
        self.body(id, kind, c, depth, false)
    }

    fn body(
        &mut self,
        id: TypeId,
        kind: Kind,
        c: Composite<'a>,
        depth: u32,
        nameless: bool,
    ) -> Result<(), BtfError> {
        let inner = self.deeper(depth)?;
        let is_struct = kind == Kind::Struct;
        let natural = self.btf.natural_align(id, c, &mut self.aligns)?;
        let (packed, natural) = (natural.is_none(), natural.unwrap_or(1));
        let name = if nameless { "".into() } else { self.type_name(id, c.name) };
        self.head(kind.name(), &name)?;
        let mut end = 0;
        let mut after_bitfield = false;
        for m in c.members() {
            let align = if packed { 1 } else { self.btf.align_known(m.type_id, &mut self.aligns)? };
            let start = u64::from(m.bit_offset);
            let is_bitfield = m.bitfield_size != 0;
            let gap = if is_struct { (end, start) } else { (0, start) };
            self.pad(gap, align, after_bitfield && is_bitfield, inner)?;
            self.line(inner)?;
            self.member(m, inner)?;
            let bits = if is_bitfield {
                self.push(&format!(": {}", m.bitfield_size))?;
                u64::from(m.bitfield_size)
            } else {
                self.btf.size_of(m.type_id).unwrap_or(0).saturating_mul(8)
            };
            self.push(";")?;
            end = if is_struct { start.saturating_add(bits) } else { end.max(bits) };
            after_bitfield = is_bitfield;
        }
        if is_struct {
            let align = self.btf.align_known(id, &mut self.aligns)?;
            self.pad((end, u64::from(c.size) * 8), align, false, inner)?;
        }
        let bytes = end.div_ceil(8);
        let aligned = if is_struct { None } else { union_align(u64::from(c.size), bytes, natural) };
        if !is_struct && aligned.is_none() && bytes.next_multiple_of(natural) < u64::from(c.size) {
            // Nothing in it is that large.
            match u64::from(c.size) * 8 {
                bits @ (8 | 16 | 32 | 64) => self.pad((0, bits), 1, false, inner)?,
                _ => {
                    self.line(inner)?;
                    self.push(&format!("char __filler[{}];", c.size))?;
                }
            }
        }
        if c.size != 0 || !c.is_empty() {
            self.line(depth)?;
        }
        self.push("}")?;
        self.push(if packed { " __attribute__((packed))" } else { "" })?;
        match aligned {
            Some(align) => self.push(&format!(" __attribute__((aligned({align})))")),
            None => Ok(()),
        }
    }

    fn member(&mut self, m: Member<'a>, depth: u32) -> Result<(), BtfError> {
        if m.name.is_empty() {
            // Kernels since 6.19 embed a structure by its tag alone, which C knows as an extension only. The
            // same members without the tag are at the same places.
            let (id, ty) = self.btf.resolve(m.type_id)?;
            if let Some(c) = ty.as_composite()
                && !c.name.is_empty()
            {
                return self.body(id, ty.kind(), c, depth, true);
            }
        }
        let name = self.variable_name(m.name);
        self.decl(m.type_id, &name, depth)
    }

    fn head(&mut self, keyword: &str, name: &str) -> Result<(), BtfError> {
        self.push(keyword)?;
        self.push(if name.is_empty() { "" } else { " " })?;
        self.push(name)?;
        self.push(" {")
    }

    fn line(&mut self, depth: u32) -> Result<(), BtfError> {
        self.push("\n")?;
        (0..depth).try_for_each(|_| self.push("\t"))
    }

    fn pad_line(&mut self, name: &str, bits: u64, depth: u32) -> Result<(), BtfError> {
        self.line(depth)?;
        self.push(&format!("{name}: {bits};"))
    }

    /// Fills the bits from `at` to `next` that the compiler would not leave free by itself.
    fn pad(
        &mut self,
        (mut at, next): (u64, u64),
        align: u64,
        in_bitfield: bool,
        depth: u32,
    ) -> Result<(), BtfError> {
        if at >= next {
            return Ok(());
        }
        let round = |to: u64| at.next_multiple_of(to.max(1));
        // The widest type with a boundary inside the gap. At worst a char's, which may lie behind it.
        let fits = PADS.iter().find(|(_, bits)| round(*bits) <= next);
        let (name, bits) = *fits.unwrap_or(&PADS[3]);
        let boundary = round(bits);
        if boundary > at && boundary <= next {
            // A member at the boundary gets there by its own alignment, and so does a filler wider than
            // what lies before the boundary; else the boundary must be asked for.
            let unaided = if boundary == next {
                round(align.saturating_mul(8)) == boundary
            } else {
                next - boundary > boundary - at
            };
            if in_bitfield {
                self.pad_line(name, boundary - at, depth)?;
            } else if !unaided {
                self.pad_line(name, 0, depth)?;
            }
            at = boundary;
        }
        while next - at >= bits {
            self.pad_line(name, bits, depth)?;
            at += bits;
        }
        let rest = next - at;
        if rest > 0 {
            let smallest = PADS.iter().rev().find(|(_, bits)| *bits >= rest);
            self.pad_line(smallest.map_or("long", |(name, _)| name), rest, depth)?;
        }
        Ok(())
    }

    /// An enumeration with its body.
    pub(super) fn enumeration(
        &mut self,
        id: TypeId,
        kind: Kind,
        e: Enum<'a>,
        depth: u32,
    ) -> Result<(), BtfError> {
        let inner = self.deeper(depth)?;
        let wide = kind == Kind::Enum64;
        let suffix = match (wide, e.signed) {
            (false, _) => "",
            (true, true) => "LL",
            (true, false) => "ULL",
        };
        let name = self.type_name(id, e.name);
        self.head("enum", &name)?;
        for v in e.values() {
            let name = match &mut self.names {
                Some(names) => names.enumerator(id, v.name),
                None => v.name.into(),
            };
            self.line(inner)?;
            self.push(&format!("{name} = {}{suffix},", v.value))?;
        }
        self.line(depth)?;
        self.push("}")?;
        // A compiler takes 4 bytes, or 8 if a value needs them.
        let fits_32_bits = |v: i128| (i128::from(i32::MIN)..=i128::from(u32::MAX)).contains(&v);
        self.push(match e.size {
            1 => " __attribute__((mode(byte)))",
            2 => " __attribute__((mode(HI)))",
            8 if e.values().all(|v| fits_32_bits(v.value)) => " __attribute__((mode(word)))",
            _ => "",
        })
    }
}

/// The alignment that gives a union its size, if its members alone do not. A smaller one than the author's may be
/// found, which puts the union nowhere else.
fn union_align(size: u64, end: u64, natural: u64) -> Option<u64> {
    if end == 0 || end.next_multiple_of(natural) >= size {
        return None;
    }
    let mut aligns = std::iter::successors(Some(natural), |a| a.checked_mul(2)).take_while(|a| *a <= size);
    aligns.find(|a| end.next_multiple_of(*a) == size)
}
