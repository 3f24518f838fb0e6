//! What all these tests need to make types.

use bpf_vm_shim::btf::{Btf, BtfBuilder, Enumerator, IntEncoding, TypeId};

/// A builder that already holds `int` (1), `unsigned int` (2), `char` (3), `long unsigned int` (4).
pub(crate) fn builder() -> BtfBuilder {
    let mut b = BtfBuilder::new();
    b.add_int("int", 4, IntEncoding::SIGNED);
    b.add_int("unsigned int", 4, IntEncoding::UNSIGNED);
    b.add_int("char", 1, IntEncoding::SIGNED);
    b.add_int("long unsigned int", 8, IntEncoding::UNSIGNED);
    b
}

pub(crate) const INT: TypeId = TypeId(1);
pub(crate) const UINT: TypeId = TypeId(2);
pub(crate) const CHAR: TypeId = TypeId(3);
pub(crate) const ULONG: TypeId = TypeId(4);

pub(crate) fn parse(b: &BtfBuilder) -> Btf {
    Btf::parse(b.build()).expect("the builder's output parses")
}

/// Enumerators from pairs.
pub(crate) fn values<'a>(list: &[(&'a str, i128)]) -> Vec<Enumerator<'a>> {
    list.iter().map(|(name, value)| Enumerator { name, value: *value }).collect()
}
