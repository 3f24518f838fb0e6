//! A module's BTF continues the kernel's.

use bpf_vm_shim::btf::{Btf, BtfBuilder, IntEncoding, Kind, Linkage, Member, SecVar, Type, TypeId};

use crate::support::{INT, builder, parse};

fn base() -> Btf {
    let mut b = builder();
    b.add_struct("shared", 4, &[Member::new("x", INT, 0)]);
    b.add_decl_tag("of base", TypeId(5), -1);
    parse(&b)
}

#[test]
fn ids_and_strings_continue_those_of_the_base() {
    let base = base();
    let mut b = BtfBuilder::split(&base);
    let own = b.add_struct("own", 4, &[Member::new("s", TypeId(5), 0)]);
    b.add_struct("shared", 8, &[]);
    b.add_decl_tag("of module", TypeId(5), 0);
    let module = Btf::parse_split(b.build(), &base).expect("valid");

    assert_eq!(own, TypeId(7));
    assert_eq!(module.first_own_id(), TypeId(7));
    assert_eq!(module.len(), 10);
    assert_eq!(module.find(Kind::Struct, "own"), Some(own));
    assert_eq!(module.find(Kind::Struct, "shared"), Some(TypeId(5)));
    assert_eq!(module.find_all("shared").collect::<Vec<_>>(), [TypeId(5), TypeId(8)]);
    assert_eq!(module.find(Kind::Int, "int"), Some(INT));
    assert_eq!(module.size_of(own), Ok(4));
    assert_eq!(module.c_definition(own).expect("valid"), "struct own {\n\tstruct shared s;\n};");
    let tags: Vec<_> = module.decl_tags(TypeId(5)).map(|t| (t.tag, t.component)).collect();
    assert_eq!(tags, [("of base", -1), ("of module", 0)]);
    assert_eq!(base.find(Kind::Struct, "own"), None);
    assert_eq!(base.decl_tags(TypeId(5)).count(), 1);
}

#[test]
fn a_module_without_its_base_is_refused() {
    let mut b = BtfBuilder::split(&base());
    b.add_ptr(TypeId(5));
    assert_eq!(
        Btf::parse(b.build()).expect_err("refused").to_string(),
        ".BTF: type [1] at byte 0 of the type section: type refers to type [5], but there are only 2 types"
    );
}

#[test]
fn a_continued_btf_has_all_types_and_a_section_can_be_moved() {
    let mut first = BtfBuilder::new();
    let int = first.add_int("int", 4, IntEncoding::SIGNED);
    let var = first.add_var("v", int, Linkage::Global);
    let place = |offset| SecVar { type_id: var, offset, size: 4 };
    let sec = first.add_datasec("maps", 0, &[place(0)]);
    let base = Btf::parse(first.build()).unwrap();

    let mut more = BtfBuilder::continuing(&base);
    assert_eq!(more.next_id().0, base.len());
    let added = more.add_ptr(int);
    more.replace_datasec(&base, sec, "elsewhere", 16, &[place(8)]);
    // Not of that many variables, and no section.
    more.replace_datasec(&base, sec, "wrong", 1, &[]);
    more.replace_datasec(&base, int, "wrong", 1, &[]);
    let all = Btf::parse(more.build()).unwrap();
    assert_eq!(all.len(), base.len() + 1);
    assert!(matches!(all.get(added), Ok(Type::Ptr(target)) if target == int));
    assert_eq!((all.name_of(var), all.kind_of(var)), ("v", Some(Kind::Var)));
    let Type::DataSec(moved) = all.get(sec).unwrap() else { panic!("another kind") };
    assert_eq!((moved.name, moved.size, moved.vars().collect::<Vec<_>>()), ("elsewhere", 16, vec![place(8)]));
}
