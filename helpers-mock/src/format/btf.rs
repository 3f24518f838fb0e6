//! Values of kernel types as text (`btf_type_show` and its relatives in `kernel/bpf/btf.c`).

use bpf_vm_shim::btf::{Btf, Kind, Type, TypeId};

use super::render::hash;

/// How values are written (`BTF_F_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Style(u64);

impl Style {
    const COMPACT: u64 = 1;
    const NONAME: u64 = 2;
    const PTR_RAW: u64 = 4;
    const ZERO: u64 = 8;

    /// The style for a helper's flags; `None` if the kernel knows one of them not.
    pub(crate) const fn from_flags(flags: u64) -> Option<Self> {
        if flags & !0xf == 0 { Some(Self(flags)) } else { None }
    }

    const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

/// Most bytes of text, so that no type, however nested, takes all memory.
const MAX_TEXT: usize = 1 << 20;
/// `BTF_SHOW_MAX_ITER`: typedefs, pointers and arrays on the way to a name.
const MAX_NAME_STEPS: usize = 10;
/// `BTF_SHOW_NAME_SIZE` less the end.
const MAX_NAME: usize = 79;
/// Structures in structures.
const MAX_DEPTH: usize = 64;

/// Text of a value of type `id`, whose bytes are `data`; bytes that are not there are zeros.
pub(crate) fn show(btf: &Btf, id: TypeId, data: &[u8], style: Style) -> String {
    let mut show = Show {
        btf,
        style,
        out: String::new(),
        depth: 0,
        shown: 0,
        member: None,
        in_array: false,
        chars: false,
        terminated: false,
    };
    show.value(id, data, 0);
    show.out
}

struct Show<'a> {
    btf: &'a Btf,
    style: Style,
    out: String,
    depth: usize,
    /// How many plain values have been written.
    shown: usize,
    member: Option<&'a str>,
    /// What follows is an array's element, which gets no name, nor do members of a structure in it.
    in_array: bool,
    /// The array's elements are characters.
    chars: bool,
    /// The array's text has ended.
    terminated: bool,
}

fn int(data: &[u8], at: usize, size: usize) -> u128 {
    let mut bytes = [0; 16];
    let from = data.get(at.min(data.len())..).unwrap_or_default();
    bytes.iter_mut().take(size.min(16)).zip(from).for_each(|(b, d)| *b = *d);
    u128::from_le_bytes(bytes)
}

impl<'a> Show<'a> {
    fn indent(&self) -> String {
        if self.style.has(Style::COMPACT) { String::new() } else { " ".repeat(self.depth) }
    }

    fn newline(&self) -> &'static str {
        if self.style.has(Style::COMPACT) { "" } else { "\n" }
    }

    fn delim(&self) -> &'static str {
        if self.depth == 0 { "" } else { "," }
    }

    /// The kind behind qualifiers, typedefs kept.
    fn unqualified(&self, mut id: TypeId) -> Option<Type<'a>> {
        for _ in 0..MAX_DEPTH {
            match self.btf.get(id).ok()? {
                ty @ Type::Typedef { .. } => return Some(ty),
                ty => match ty.modified() {
                    Some(next) => id = next,
                    None => return Some(ty),
                },
            }
        }
        None
    }

    /// `.member = (type)` and the opening bracket, if one belongs there (`btf_show_name`).
    fn name(&self, id: TypeId) -> String {
        if self.in_array {
            return String::new();
        }
        let (mut stars, mut brackets) = (String::new(), String::new());
        let (mut name, mut typedef, mut opening) = (None, false, "");
        let mut ty = self.unqualified(id);
        for _ in 0..MAX_NAME_STEPS {
            let next = match ty {
                Some(Type::Typedef { name: n, target }) => {
                    name = name.or(Some(n));
                    typedef = true;
                    target
                }
                Some(Type::Array(array)) => {
                    opening = "[";
                    brackets.push_str("[]");
                    array.element
                }
                Some(Type::Ptr(target)) => {
                    stars.push('*');
                    target
                }
                _ => break,
            };
            ty = self.unqualified(next);
        }
        let kind = ty.map(|t| t.kind());
        let name = name.unwrap_or_else(|| ty.map_or("", |t| t.name()));
        let mut prefix = match kind {
            Some(Kind::Struct) => "struct",
            Some(Kind::Union) => "union",
            Some(Kind::Enum | Kind::Enum64) => "enum",
            _ => "",
        };
        if matches!(kind, Some(Kind::Struct | Kind::Union)) && brackets.is_empty() {
            opening = "{";
        }
        if !stars.is_empty() {
            opening = "";
        }
        if typedef {
            prefix = "";
        }
        if self.style.has(Style::NONAME) {
            return opening.to_owned();
        }
        let member = match self.member {
            Some(m) if !m.is_empty() => format!(".{m} = "),
            _ => String::new(),
        };
        let gap = if prefix.is_empty() || name.is_empty() { "" } else { " " };
        let star_gap = if stars.is_empty() { "" } else { " " };
        let text = format!("{member}({prefix}{gap}{name}{star_gap}{stars}{brackets}){opening}");
        text.chars().take(MAX_NAME).collect()
    }

    fn put(&mut self, id: TypeId, text: &str) {
        if self.out.len() < MAX_TEXT {
            let line = format!("{}{}{text}{}{}", self.indent(), self.name(id), self.delim(), self.newline());
            self.out.push_str(&line);
        }
        self.shown += 1;
    }

    /// A plain value: zeros are left out inside of structures, unless they are asked for.
    fn plain(&mut self, id: TypeId, zero: bool, text: &str) {
        if !zero || self.style.has(Style::ZERO) || self.depth == 0 {
            self.put(id, text);
        }
    }

    /// A value at a byte offset, or in bits of it (`bits` from the offset's first, if not 0).
    fn value(&mut self, id: TypeId, data: &[u8], at: usize) {
        let Ok((_, ty)) = self.btf.resolve(id) else { return };
        if self.depth > MAX_DEPTH {
            return;
        }
        match ty {
            Type::Int(t) if t.offset != 0 || t.bits % 8 != 0 => {
                self.bits(id, data, at, t.offset.into(), t.bits.into());
            }
            Type::Int(t) => self.integer(id, data, at, t.size as usize, t.encoding.is_signed()),
            Type::Ptr(_) => {
                let v = int(data, at, 8) as u64;
                let shown = if self.style.has(Style::PTR_RAW) { v } else { hash(v) };
                self.plain(id, v == 0, &format!("0x{shown:016x}"));
            }
            Type::Enum(e) => {
                let size = self.btf.size_of(id).unwrap_or(4) as usize;
                let raw = int(data, at, size);
                let width = 8 * size.clamp(1, 8);
                let v = if e.signed {
                    i128::from((raw as i64) << (64 - width) >> (64 - width))
                } else {
                    raw as i128
                };
                let named = e.values().find(|m| m.value == v).map(|m| m.name.to_owned());
                match named {
                    Some(name) => self.put(id, &name),
                    None => self.plain(id, v == 0, &v.to_string()),
                }
            }
            Type::Array(array) => {
                let size = self.btf.size_of(array.element).unwrap_or(0) as usize;
                let element = self.btf.resolve(array.element).map(|(_, t)| t);
                let chars = size == 1 && matches!(element, Ok(Type::Int(_)));
                self.aggregate(id, "]", |s| {
                    (s.chars, s.terminated) = (chars, false);
                    for i in 0..array.len as usize {
                        s.in_array = true;
                        s.value(array.element, data, at.saturating_add(i.saturating_mul(size)));
                        s.in_array = false;
                        if s.terminated || size == 0 || s.out.len() >= MAX_TEXT {
                            break;
                        }
                    }
                    (s.chars, s.terminated) = (false, false);
                });
            }
            Type::Struct(t) | Type::Union(t) => self.aggregate(id, "}", |s| {
                for member in t.members() {
                    s.member = Some(member.name);
                    let at = at.saturating_add(member.bit_offset as usize / 8);
                    match member.bitfield_size {
                        0 => s.value(member.type_id, data, at),
                        width => s.bits(member.type_id, data, at, member.bit_offset % 8, width.into()),
                    }
                    s.member = None;
                }
            }),
            other => {
                let kind = other.kind() as u32;
                self.out.push_str(&format!("<unsupported kind:{kind}>"));
            }
        }
    }

    fn integer(&mut self, id: TypeId, data: &[u8], at: usize, size: usize, signed: bool) {
        let v = int(data, at, size);
        if size == 1 && self.chars {
            match v as u8 {
                _ if self.terminated => return,
                0 => {
                    self.terminated = true;
                    return;
                }
                c @ 0x20..=0x7e => return self.put(id, &format!("'{}'", char::from(c))),
                _ => {}
            }
        }
        let width = 8 * size.clamp(1, 8);
        let text = match size {
            16 if v >> 64 == 0 => format!("0x{v:x}"),
            16 => format!("0x{:x}{:016x}", v >> 64, v as u64),
            _ if signed => ((v as i64) << (64 - width) >> (64 - width)).to_string(),
            _ => v.to_string(),
        };
        self.plain(id, v == 0, &text);
    }

    /// Bit-fields are written in hexadecimal.
    fn bits(&mut self, id: TypeId, data: &[u8], at: usize, first: u32, width: u32) {
        let raw = int(data, at, 16) >> first;
        let v = if width < 128 { raw & ((1 << width) - 1) } else { raw };
        self.plain(id, v == 0, &format!("0x{v:x}"));
    }

    /// A structure or array: inside of others it is left out if all of its values are zero.
    fn aggregate(&mut self, id: TypeId, close: &str, inside: impl FnOnce(&mut Self)) {
        let (start, shown) = (self.out.len(), self.shown);
        let open = self.name(id);
        self.out.push_str(&format!("{}{open}{}", self.indent(), self.newline()));
        self.depth += 1;
        inside(self);
        self.depth -= 1;
        self.out.push_str(&format!("{}{close}{}{}", self.indent(), self.delim(), self.newline()));
        if self.depth > 0 && self.shown == shown && !self.style.has(Style::ZERO) {
            self.out.truncate(start);
        }
    }
}

#[cfg(test)]
mod tests {
    use bpf_vm_shim::btf::{Btf, BtfBuilder, Enumerator, IntEncoding, Member, TypeId};

    use super::{Style, show};

    #[test]
    fn values_look_as_the_kernel_shows_them() {
        let mut b = BtfBuilder::new();
        let int = b.add_int("int", 4, IntEncoding::SIGNED);
        let byte = b.add_int("unsigned char", 1, IntEncoding::UNSIGNED);
        let u8 = b.add_typedef("__u8", byte);
        let wide = b.add_int("long unsigned int", 8, IntEncoding::UNSIGNED);
        let text = b.add_array(u8, int, 4);
        let anon = b.add_struct("", 8, &[Member::new("hash", int, 0), Member::new("len", int, 32)]);
        let either = b.add_union("", 8, &[Member::new("", anon, 0), Member::new("both", wide, 0)]);
        let ptr = b.add_ptr(int);
        let e = b.add_enum("cmd", 4, false, &[Enumerator { name: "ONE", value: 1 }]);
        let bits =
            b.add_struct("bits", 4, &[Member::new("lo", u8, 0).bits(4), Member::new("hi", u8, 4).bits(4)]);
        let all = b.add_struct(
            "all",
            24,
            &[
                Member::new("name", text, 0),
                Member::new("cmd", e, 32),
                Member::new("", either, 64),
                Member::new("next", ptr, 128),
            ],
        );
        let many = b.add_array(anon, int, 2);
        let pointers = b.add_array(ptr, int, 2);
        let arrays =
            b.add_struct("arrays", 32, &[Member::new("s", many, 0), Member::new("p", pointers, 128)]);
        let constant = b.add_const(int);
        let btf = Btf::parse(b.build()).unwrap();
        let full = [b'a', 9, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
        let mut pairs = [1, 0, 0, 0, 2, 0, 0, 0].repeat(2);
        pairs.extend_from_slice(&(-1i64).to_le_bytes());
        let table: &[(TypeId, &[u8], u64, &str)] = &[
            (int, &[0xd2, 4], 0, "(int)1234\n"),
            (int, &[], 1, "(int)0"),
            (int, &[5], 3, "5"),
            (constant, &[5], 1, "(int)5"),
            (u8, &[65], 1, "(__u8)65"),
            (e, &[1], 0, "(enum cmd)ONE\n"),
            (e, &[255], 1, "(enum cmd)255"),
            (bits, &[0x21], 1, "(struct bits){.lo = (__u8)0x1,.hi = (__u8)0x2,}"),
            (all, &[], 1, "(struct all){}"),
            (all, &[], 0, "(struct all){\n}\n"),
            (
                all,
                &full,
                1,
                "(struct all){.name = (__u8[])['a',9,],.cmd = (enum cmd)ONE,(union){(struct){.hash = (int)1,.len = (int)2,},.both = (long unsigned int)8589934593,},}",
            ),
            (all, &full[..4], 0, "(struct all){\n .name = (__u8[])[\n  'a',\n  9,\n ],\n}\n"),
            (all, &full, 3, "{['a',9,],ONE,{{1,2,},8589934593,},}"),
            (
                arrays,
                &pairs,
                1,
                "(struct arrays){.s = (struct[])[1,2,},1,2,},],.p = (int *[])0xffffffffffffffff,],}",
            ),
            (arrays, &pairs[..8], 2, "{\n [\n  \n   1,\n   2,\n  },\n ],\n}\n"),
        ];
        for (id, data, flags, want) in table {
            let style = Style::from_flags(*flags).unwrap();
            assert_eq!(show(&btf, *id, data, style), *want, "flags {flags}");
        }
    }
}
