//! Types in C: whole definitions that compile to the same layout.

use super::render::Renderer;
use super::{Btf, BtfError, Composite, Enum, Kind, Type, TypeId};

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
            Type::Enum(e) | Type::Enum64(e) => r.enumeration(ty.kind(), e, 0)?,
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

    /// Whether natural alignment would not give this layout.
    fn is_packed(&self, c: Composite<'_>) -> Result<bool, BtfError> {
        let mut max = 1;
        for m in c.members() {
            let align = self.align_of(m.type_id)?;
            max = max.max(align);
            if m.bitfield_size == 0 && !u64::from(m.bit_offset).is_multiple_of(8 * align) {
                return Ok(true);
            }
        }
        Ok(!u64::from(c.size).is_multiple_of(max))
    }
}

impl Renderer<'_> {
    /// A structure or union with its body.
    pub(super) fn composite(
        &mut self,
        id: TypeId,
        kind: Kind,
        c: Composite<'_>,
        depth: u32,
    ) -> Result<(), BtfError> {
        let inner = self.deeper(depth)?;
        let is_struct = kind == Kind::Struct;
        let packed = is_struct && self.btf.is_packed(c)?;
        self.head(kind.name(), c.name)?;
        let mut end = 0;
        let mut after_bitfield = false;
        for m in c.members() {
            let align = if packed { 1 } else { self.btf.align_of(m.type_id)? };
            let start = u64::from(m.bit_offset);
            let is_bitfield = m.bitfield_size != 0;
            self.pad((end, start), align, after_bitfield && is_bitfield, inner)?;
            self.line(inner)?;
            self.decl(m.type_id, m.name, inner)?;
            let bits = if is_bitfield {
                self.push(&format!(": {}", m.bitfield_size))?;
                u64::from(m.bitfield_size)
            } else {
                self.btf.size_of(m.type_id).unwrap_or(0).saturating_mul(8)
            };
            self.push(";")?;
            end = start.saturating_add(bits);
            after_bitfield = is_bitfield;
        }
        if is_struct {
            let align = self.btf.align_of(id)?;
            self.pad((end, u64::from(c.size) * 8), align, false, inner)?;
        }
        if c.size != 0 || !c.is_empty() {
            self.line(depth)?;
        }
        self.push("}")?;
        self.push(if packed { " __attribute__((packed))" } else { "" })
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
    pub(super) fn enumeration(&mut self, kind: Kind, e: Enum<'_>, depth: u32) -> Result<(), BtfError> {
        let inner = self.deeper(depth)?;
        let wide = kind == Kind::Enum64;
        let suffix = match (wide, e.signed) {
            (false, _) => "",
            (true, true) => "LL",
            (true, false) => "ULL",
        };
        self.head("enum", e.name)?;
        for v in e.values() {
            self.line(inner)?;
            self.push(&format!("{} = {}{suffix},", v.name, v.value))?;
        }
        self.line(depth)?;
        self.push("}")?;
        // A compiler takes 4 bytes, or 8 if a value needs them.
        let needs_8_bytes = wide && e.values().any(|v| v.value as u64 >> 32 != 0);
        self.push(match e.size {
            1 => " __attribute__((mode(byte)))",
            8 if !needs_8_bytes => " __attribute__((mode(word)))",
            _ => "",
        })
    }
}
