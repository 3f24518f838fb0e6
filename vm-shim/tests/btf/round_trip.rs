//! What the builder writes is what the parser reads.

use bpf_vm_shim::btf::{
    Btf, BtfBuilder, Enumerator, IntEncoding, Kind, Linkage, Member, Param, SecVar, Type, TypeId,
};
use proptest::prelude::*;

/// One type of every kind, owned, so that it can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Spec {
    Int(String, u32, u8),
    Ref(u8, TypeId),
    Named(u8, String, TypeId),
    Array(TypeId, TypeId, u32),
    Composite(bool, String, u32, Vec<(String, TypeId, u32, u8)>),
    Enum(bool, bool, String, u32, Vec<(String, i64)>),
    Fwd(String, bool),
    Func(String, TypeId, u8),
    FuncProto(TypeId, Vec<(String, TypeId)>),
    Var(String, TypeId, u8),
    DataSec(String, u32, Vec<(TypeId, u32, u32)>),
    Float(String, u32),
    DeclTag(bool, String, TypeId, i32),
    TypeTag(bool, String, TypeId),
}

fn linkage(n: u8) -> Linkage {
    [Linkage::Static, Linkage::Global, Linkage::Extern][usize::from(n)]
}

fn add(b: &mut BtfBuilder, spec: &Spec) {
    match spec {
        Spec::Int(n, size, enc) => b.add_int_bits(n, *size, IntEncoding(*enc), 0, 7),
        Spec::Ref(0, t) => b.add_ptr(*t),
        Spec::Ref(1, t) => b.add_const(*t),
        Spec::Ref(2, t) => b.add_volatile(*t),
        Spec::Ref(_, t) => b.add_restrict(*t),
        Spec::Named(_, n, t) => b.add_typedef(n, *t),
        Spec::Array(e, i, n) => b.add_array(*e, *i, *n),
        Spec::Composite(union, n, size, members) => {
            let members: Vec<_> =
                members.iter().map(|(n, t, off, bits)| Member::new(n, *t, *off).bits(*bits)).collect();
            if *union { b.add_union(n, *size, &members) } else { b.add_struct(n, *size, &members) }
        }
        Spec::Enum(wide, signed, n, size, values) => {
            let values: Vec<_> =
                values.iter().map(|(name, v)| Enumerator { name, value: i128::from(*v) }).collect();
            if *wide {
                b.add_enum64(n, *size, *signed, &values)
            } else {
                b.add_enum(n, *size, *signed, &values)
            }
        }
        Spec::Fwd(n, union) => b.add_fwd(n, *union),
        Spec::Func(n, t, l) => b.add_func(n, *t, linkage(*l)),
        Spec::FuncProto(ret, params) => {
            let params: Vec<_> = params.iter().map(|(name, t)| Param { name, type_id: *t }).collect();
            b.add_func_proto(*ret, &params)
        }
        Spec::Var(n, t, l) => b.add_var(n, *t, linkage(*l)),
        Spec::DataSec(n, size, vars) => {
            let vars: Vec<_> = vars.iter().map(|v| SecVar { type_id: v.0, offset: v.1, size: v.2 }).collect();
            b.add_datasec(n, *size, &vars)
        }
        Spec::Float(n, size) => b.add_float(n, *size),
        Spec::DeclTag(false, n, t, c) => b.add_decl_tag(n, *t, *c),
        Spec::DeclTag(true, n, t, c) => b.add_decl_attribute(n, *t, *c),
        Spec::TypeTag(false, n, t) => b.add_type_tag(n, *t),
        Spec::TypeTag(true, n, t) => b.add_type_attribute(n, *t),
    };
}

fn read(ty: Type<'_>) -> Spec {
    let name = ty.name().to_owned();
    let l = |l| l as u8;
    match ty {
        Type::Void => unreachable!("own types only"),
        Type::Int(t) => Spec::Int(name, t.size, t.encoding.0),
        Type::Ptr(t) => Spec::Ref(0, t),
        Type::Const(t) => Spec::Ref(1, t),
        Type::Volatile(t) => Spec::Ref(2, t),
        Type::Restrict(t) => Spec::Ref(3, t),
        Type::Typedef { target, .. } => Spec::Named(0, name, target),
        Type::Array(a) => Spec::Array(a.element, a.index, a.len),
        Type::Struct(c) | Type::Union(c) => {
            let members =
                c.members().map(|m| (m.name.to_owned(), m.type_id, m.bit_offset, m.bitfield_size)).collect();
            Spec::Composite(ty.kind() == Kind::Union, name, c.size, members)
        }
        Type::Enum(e) | Type::Enum64(e) => {
            let values = e.values().map(|v| (v.name.to_owned(), v.value as i64)).collect();
            Spec::Enum(ty.kind() == Kind::Enum64, e.signed, name, e.size, values)
        }
        Type::Fwd { union, .. } => Spec::Fwd(name, union),
        Type::Func { proto, linkage, .. } => Spec::Func(name, proto, l(linkage)),
        Type::FuncProto(p) => {
            Spec::FuncProto(p.ret, p.params().map(|p| (p.name.to_owned(), p.type_id)).collect())
        }
        Type::Var { target, linkage, .. } => Spec::Var(name, target, l(linkage)),
        Type::DataSec(d) => {
            Spec::DataSec(name, d.size, d.vars().map(|v| (v.type_id, v.offset, v.size)).collect())
        }
        Type::Float { size, .. } => Spec::Float(name, size),
        Type::DeclTag { target, component, attribute, .. } => {
            Spec::DeclTag(attribute, name, target, component)
        }
        Type::TypeTag { target, attribute, .. } => Spec::TypeTag(attribute, name, target),
    }
}

const TYPES: u32 = 12;

fn any_spec() -> impl Strategy<Value = Spec> {
    let name = || "[a-z_]{0,4}";
    let id = || (0..=TYPES).prop_map(TypeId);
    prop_oneof![
        (name(), any::<u32>(), 0_u8..8).prop_map(|(n, s, e)| Spec::Int(n, s, e)),
        (0_u8..4, id()).prop_map(|(k, t)| Spec::Ref(k, t)),
        (name(), id()).prop_map(|(n, t)| Spec::Named(0, n, t)),
        (id(), id(), any::<u32>()).prop_map(|(e, i, n)| Spec::Array(e, i, n)),
        (
            any::<bool>(),
            name(),
            any::<u32>(),
            prop::collection::vec((name(), id(), 0_u32..1 << 24, 0_u8..65), 0..5)
        )
            .prop_map(|(u, n, s, m)| Spec::Composite(u, n, s, m)),
        (name(), any::<u32>(), prop::collection::vec((name(), any::<u32>()), 0..5)).prop_map(|(n, s, v)| {
            Spec::Enum(false, false, n, s, v.into_iter().map(|(n, v)| (n, i64::from(v))).collect())
        }),
        (name(), any::<u32>(), prop::collection::vec((name(), any::<i32>()), 0..5)).prop_map(|(n, s, v)| {
            Spec::Enum(false, true, n, s, v.into_iter().map(|(n, v)| (n, i64::from(v))).collect())
        }),
        (any::<bool>(), name(), any::<u32>(), prop::collection::vec((name(), any::<i64>()), 0..5))
            .prop_map(|(signed, n, s, v)| Spec::Enum(true, signed, n, s, v)),
        (name(), any::<bool>()).prop_map(|(n, u)| Spec::Fwd(n, u)),
        (name(), id(), 0_u8..3).prop_map(|(n, t, l)| Spec::Func(n, t, l)),
        (id(), prop::collection::vec((name(), id()), 0..5)).prop_map(|(r, p)| Spec::FuncProto(r, p)),
        (name(), id(), 0_u8..3).prop_map(|(n, t, l)| Spec::Var(n, t, l)),
        (name(), any::<u32>(), prop::collection::vec((id(), any::<u32>(), any::<u32>()), 0..5))
            .prop_map(|(n, s, v)| Spec::DataSec(n, s, v)),
        (name(), any::<u32>()).prop_map(|(n, s)| Spec::Float(n, s)),
        (any::<bool>(), name(), id(), -1_i32..5).prop_map(|(a, n, t, c)| Spec::DeclTag(a, n, t, c)),
        (any::<bool>(), name(), id()).prop_map(|(a, n, t)| Spec::TypeTag(a, n, t)),
    ]
}

fn build(specs: &[Spec]) -> Vec<u8> {
    let mut b = BtfBuilder::new();
    specs.iter().for_each(|s| add(&mut b, s));
    b.build()
}

/// Asks everything there is to ask; only that it comes back matters.
fn ask_everything(btf: &Btf) {
    for (id, ty) in btf.iter() {
        let _ = (btf.resolve(id), btf.size_of(id), btf.align_of(id), btf.int_encoding(id));
        let _ = (btf.type_name(id), btf.c_definition(id));
        let _ = (btf.find_all(ty.name()).count(), btf.decl_tags(id).count());
        for m in ty.as_composite().into_iter().flat_map(|c| c.members()) {
            let _ = btf.bit_range(&m).map(|r| (r.extract(&[0xff; 64]), r.extract_signed(&[0xff; 64])));
        }
    }
}

proptest! {
    #[test]
    fn parsing_gives_back_what_was_built(specs in prop::collection::vec(any_spec(), TYPES as usize)) {
        let btf = Btf::parse(build(&specs)).expect("valid");
        let read: Vec<Spec> = btf.iter_own().map(|(_, t)| read(t)).collect();
        // An enumeration's values come back by its own sign, and without bit-fields the offset has 32 bits.
        prop_assert_eq!(read, specs);
    }

    #[test]
    fn any_valid_type_graph_answers_without_panic(specs in prop::collection::vec(any_spec(), TYPES as usize)) {
        ask_everything(&Btf::parse(build(&specs)).expect("valid"));
    }

    #[test]
    fn a_damaged_blob_is_refused_or_answers_without_panic(
        specs in prop::collection::vec(any_spec(), TYPES as usize),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let mut bytes = build(&specs);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(btf) = Btf::parse(bytes) {
            ask_everything(&btf);
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(btf) = Btf::parse(bytes) {
            ask_everything(&btf);
        }
    }
}

#[test]
fn every_kind_is_written_and_read_with_its_own_number() {
    let mut b = BtfBuilder::new();
    b.add_int("int", 4, IntEncoding::SIGNED);
    b.add_ptr(TypeId(1));
    b.add_array(TypeId(1), TypeId(1), 2);
    b.add_struct("s", 4, &[]);
    b.add_union("u", 4, &[]);
    b.add_enum("e", 4, false, &[]);
    b.add_fwd("f", false);
    b.add_typedef("t", TypeId(1));
    b.add_volatile(TypeId(1));
    b.add_const(TypeId(1));
    b.add_restrict(TypeId(2));
    b.add_func("fn", TypeId(13), Linkage::Global);
    b.add_func_proto(TypeId(1), &[]);
    b.add_var("v", TypeId(1), Linkage::Global);
    b.add_datasec(".data", 4, &[]);
    b.add_float("float", 4);
    b.add_decl_tag("tag", TypeId(4), -1);
    b.add_type_tag("user", TypeId(1));
    b.add_enum64("e64", 8, false, &[]);
    let btf = Btf::parse(b.build()).expect("valid");
    let kinds: Vec<Kind> = btf.iter().map(|(_, t)| t.kind()).collect();
    assert_eq!(kinds, Kind::ALL);
}
