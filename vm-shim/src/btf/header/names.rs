//! Names in a header: legal in C, and no two things with the same one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::HeaderOptions;
use crate::btf::{Btf, Type, TypeId};

/// Keywords of C17 with GNU extensions, and names that the compiler defines. The words of newer standards that kernels
/// define themselves (`bool`, `true`, `false`) are not among them.
const RESERVED: [&str; 47] = [
    "_Alignas",
    "_Alignof",
    "_Atomic",
    "_Bool",
    "_Complex",
    "_Generic",
    "_Imaginary",
    "_Noreturn",
    "_Static_assert",
    "_Thread_local",
    "__auto_type",
    "__builtin_va_list",
    "asm",
    "auto",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "typedef",
    "typeof",
    "union",
    "unsigned",
    "void",
    "volatile",
];

fn is_reserved(name: &str) -> bool {
    name == "while" || RESERVED.binary_search(&name).is_ok()
}

/// The names of a header.
pub(in crate::btf) struct Names<'a> {
    /// Types that have another name than in BTF.
    renamed: BTreeMap<TypeId, String>,
    /// How often each ordinary identifier (typedef, enumerator) is there.
    identifiers: BTreeMap<&'a str, u32>,
    taken: &'a BTreeSet<String>,
    /// Anonymous enumerations that are written.
    enums: BTreeSet<TypeId>,
    pub(in crate::btf) type_tags: bool,
}

impl<'a> Names<'a> {
    pub(super) fn new(btf: &'a Btf, options: &'a HeaderOptions) -> Self {
        let mut names = Self {
            renamed: BTreeMap::new(),
            identifiers: BTreeMap::new(),
            taken: &options.taken,
            enums: BTreeSet::new(),
            type_tags: options.type_tags,
        };
        let mut tags: BTreeMap<&'a str, u32> = BTreeMap::new();
        // Forward declarations come last, as they have the name of what they declare, or any.
        let mut declared = Vec::new();
        for (id, ty) in btf.iter() {
            let name = ty.name();
            match ty {
                _ if name.is_empty() => {}
                Type::Struct(_) | Type::Union(_) | Type::Enum(_) | Type::Enum64(_) => {
                    names.name_type(id, name, &mut tags);
                }
                Type::Typedef { .. } => {
                    let mut identifiers = std::mem::take(&mut names.identifiers);
                    names.name_type(id, name, &mut identifiers);
                    names.identifiers = identifiers;
                }
                Type::Fwd { union, .. } => declared.push((id, name, union)),
                _ => {}
            }
        }
        for (id, name, union) in declared {
            let same = btf.find_all(name).find(|t| match btf.get(*t) {
                Ok(Type::Struct(_)) => !union,
                Ok(Type::Union(_)) => union,
                Ok(Type::Fwd { union: u, .. }) => *t < id && u == union,
                _ => false,
            });
            match same {
                Some(t) => {
                    let name = names.of_type(t, name).into_owned();
                    names.renamed.insert(id, name);
                }
                None => names.name_type(id, name, &mut tags),
            }
        }
        names
    }

    fn name_type(&mut self, id: TypeId, name: &'a str, space: &mut BTreeMap<&'a str, u32>) {
        if let Cow::Owned(name) = unique(name, self.taken, space) {
            self.renamed.insert(id, name);
        }
    }

    /// The name of a type.
    pub(in crate::btf) fn of_type(&self, id: TypeId, name: &'a str) -> Cow<'a, str> {
        match self.renamed.get(&id) {
            Some(name) => Cow::Owned(name.clone()),
            None => Cow::Borrowed(name),
        }
    }

    /// The name for an integer type that C has no words for.
    pub(super) fn name_integer(&mut self, id: TypeId, name: &'a str) -> Cow<'a, str> {
        let name = unique(name, self.taken, &mut self.identifiers);
        self.renamed.insert(id, name.clone().into_owned());
        name
    }

    /// The name of a member or a parameter.
    #[expect(clippy::unused_self, reason = "asked of the names, like the others")]
    pub(in crate::btf) fn of_variable(&self, name: &'a str) -> Cow<'a, str> {
        match legal(name) {
            legal if is_reserved(&legal) => Cow::Owned(format!("{legal}___2")),
            legal => legal,
        }
    }

    /// The name of an enumerator about to be written, which may be the second time.
    pub(in crate::btf) fn enumerator(&mut self, of: TypeId, name: &'a str) -> Cow<'a, str> {
        self.enums.insert(of);
        unique(name, self.taken, &mut self.identifiers)
    }

    /// Whether an enumeration's enumerators have been written.
    pub(super) fn has_written(&self, id: TypeId) -> bool {
        self.enums.contains(&id)
    }
}

/// The name, or `name___2` and so on if there is one already, or may not be.
fn unique<'a>(name: &'a str, taken: &BTreeSet<String>, space: &mut BTreeMap<&'a str, u32>) -> Cow<'a, str> {
    let legal = legal(name);
    let not_ours = is_reserved(&legal) || taken.contains(legal.as_ref());
    let count = space.entry(name).or_insert(u32::from(not_ours));
    *count += 1;
    if *count > 1 { Cow::Owned(format!("{legal}___{count}")) } else { legal }
}

/// The name with nothing in it that C does not allow in a name (compilers of other languages write such).
fn legal(name: &str) -> Cow<'_, str> {
    let is_word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let digit_first = name.bytes().next().is_some_and(|c| c.is_ascii_digit());
    if name.bytes().all(is_word) && !digit_first {
        return Cow::Borrowed(name);
    }
    let mut legal = String::from(if digit_first { "_" } else { "" });
    legal.extend(name.bytes().map(|c| if is_word(c) { char::from(c) } else { '_' }));
    Cow::Owned(legal)
}

#[cfg(test)]
mod tests {
    use super::{RESERVED, legal};

    #[test]
    fn reserved_words_are_sorted_for_the_search() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn names_of_other_languages_become_legal() {
        for (name, expected) in [("core::Option<u8>", "core__Option_u8_"), ("0x", "_0x"), ("plain", "plain")]
        {
            assert_eq!(legal(name), expected);
        }
    }
}
