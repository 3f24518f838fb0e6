//! Sizes, alignment, bit-fields, names, tags.

use bpf_vm_shim::btf::{IntEncoding, Kind, Member, Param, Type, TypeId, core::essential_name};

use crate::support::{CHAR, INT, UINT, ULONG, builder, parse, values};

#[test]
fn sizes_and_alignments() {
    let mut b = builder();
    let ptr = b.add_ptr(TypeId::VOID);
    let array = b.add_array(ULONG, INT, 3);
    let matrix = b.add_array(array, INT, 2);
    let alias = b.add_typedef("matrix_t", matrix);
    let constant = b.add_const(alias);
    let s = b.add_struct("s", 16, &[Member::new("c", CHAR, 0), Member::new("p", ptr, 64)]);
    let packed = b.add_struct("p", 9, &[Member::new("c", CHAR, 0), Member::new("p", ptr, 8)]);
    let odd = b.add_struct("odd", 5, &[Member::new("i", INT, 0), Member::new("c", CHAR, 32)]);
    let flexible = b.add_array(INT, INT, 0);
    let float = b.add_float("double", 8);
    let small = b.add_enum("small", 1, false, &values(&[("A", 0)]));
    let func = b.add_func_proto(TypeId::VOID, &[]);
    let fwd = b.add_fwd("unknown", false);
    let huge = b.add_array(matrix, INT, u32::MAX);
    let huge = b.add_array(huge, INT, u32::MAX);
    let var = b.add_var("v", s, bpf_vm_shim::btf::Linkage::Global);
    let btf = parse(&b);

    for (id, size, align) in [
        (INT, 4, 4),
        (ptr, 8, 8),
        (array, 24, 8),
        (matrix, 48, 8),
        (constant, 48, 8),
        (s, 16, 8),
        (packed, 9, 1),
        (odd, 5, 1),
        (flexible, 0, 4),
        (float, 8, 8),
        (small, 1, 1),
        (var, 16, 8),
    ] {
        assert_eq!((btf.size_of(id), btf.align_of(id)), (Ok(size), Ok(align)), "{}", btf.type_name(id));
    }
    for (id, message) in [
        (TypeId::VOID, "type [0] of kind void has no size"),
        (func, "type [16] of kind func_proto has no size"),
        (fwd, "type [17] of kind fwd has no size"),
        (huge, "size of type [19] overflows"),
        (TypeId(99), "type id 99 is out of range: there are 21 types"),
    ] {
        assert_eq!(btf.size_of(id).expect_err("no size").to_string(), message);
    }
}

#[test]
fn resolving_skips_aliases_and_modifiers_only() {
    let mut b = builder();
    let tag = b.add_type_tag("user", INT);
    let restrict = b.add_restrict(tag);
    let volatile = b.add_volatile(restrict);
    let constant = b.add_const(volatile);
    let alias = b.add_typedef("t", constant);
    let ptr = b.add_ptr(alias);
    let btf = parse(&b);
    assert_eq!(btf.resolve(alias).map(|(id, _)| id), Ok(INT));
    assert_eq!(btf.resolve(ptr).map(|(id, _)| id), Ok(ptr));
    assert_eq!(btf.resolve(TypeId::VOID).map(|(_, t)| t.kind()), Ok(Kind::Void));
    assert_eq!(btf.int_encoding(alias), Ok(Some(IntEncoding::SIGNED)));
    assert_eq!(btf.int_encoding(ptr), Ok(Some(IntEncoding::UNSIGNED)));
}

#[test]
fn bit_fields_are_extracted_and_inserted() {
    let mut b = builder();
    let s = b.add_struct(
        "s",
        8,
        &[
            Member::new("a", UINT, 0).bits(3),
            Member::new("b", INT, 3).bits(7),
            Member::new("c", UINT, 10).bits(22),
            Member::new("d", INT, 32),
        ],
    );
    // The oldest encoding: position and width are the integer's.
    let old = b.add_int_bits("old", 4, IntEncoding::UNSIGNED, 4, 3);
    let t = b.add_struct("t", 4, &[Member::new("o", old, 0)]);
    let btf = parse(&b);
    let bytes = [0b1111_0101, 0b0000_0011, 0, 0x80, 0xfe, 0xff, 0xff, 0xff];
    let read = |id: TypeId, i: usize| {
        let member = btf.get(id).expect("type").as_composite().and_then(|c| c.member(i)).expect("member");
        let range = btf.bit_range(&member).expect("number");
        (range.byte_offset, range.byte_len, range.extract(&bytes), range.extract_signed(&bytes))
    };
    assert_eq!(read(s, 0), (0, 1, Some(5), Some(-3)));
    assert_eq!(read(s, 1), (0, 2, Some(0x7e), Some(-2)));
    assert_eq!(read(s, 2), (1, 3, Some(0x20_0000), Some(-0x20_0000)));
    assert_eq!(read(s, 3), (4, 4, Some(0xffff_fffe), Some(-2)));
    assert_eq!(read(t, 0), (0, 1, Some(7), Some(-1)));

    let member = btf.get(s).expect("type").as_composite().and_then(|c| c.member(1)).expect("member");
    let range = btf.bit_range(&member).expect("number");
    assert_eq!(range.mask(), 0x7f);
    assert_eq!(range.extract(&bytes[..1]), None);
    let mut written = [0xff; 2];
    assert_eq!(range.insert(&mut written, 0b1000_0001), Some(()));
    assert_eq!(written, [0b0000_1111, 0b1111_1100]);
    assert_eq!(range.extract(&written), Some(1));
    let whole = Member::new("s", s, 0);
    assert!(btf.bit_range(&whole).is_err());
}

#[test]
fn enumerators_have_the_value_of_their_sign_and_width() {
    let mut b = builder();
    let unsigned = b.add_enum("u", 4, false, &values(&[("A", 0xffff_ffff)]));
    let signed = b.add_enum("s", 4, true, &values(&[("B", -1)]));
    let wide = b.add_enum64("w", 8, false, &values(&[("C", u64::MAX.into())]));
    let wide_signed = b.add_enum64("ws", 8, true, &values(&[("D", i64::MIN.into())]));
    let btf = parse(&b);
    let value = |id| btf.get(id).expect("type").as_enum().and_then(|e| e.value(0)).map(|v| v.value);
    assert_eq!(value(unsigned), Some(0xffff_ffff));
    assert_eq!(value(signed), Some(-1));
    assert_eq!(value(wide), Some(u64::MAX.into()));
    assert_eq!(value(wide_signed), Some(i64::MIN.into()));
}

#[test]
fn types_are_found_by_exact_name_and_kind() {
    let mut b = builder();
    let s = b.add_struct("task", 0, &[]);
    let flavour = b.add_struct("task___new", 0, &[]);
    let alias = b.add_typedef("task", s);
    b.add_struct("", 0, &[]);
    let btf = parse(&b);
    assert_eq!(btf.find(Kind::Struct, "task"), Some(s));
    assert_eq!(btf.find(Kind::Typedef, "task"), Some(alias));
    assert_eq!(btf.find(Kind::Struct, "task___new"), Some(flavour));
    assert_eq!(btf.find(Kind::Union, "task"), None);
    assert_eq!(btf.find(Kind::Struct, ""), None);
    assert_eq!(btf.find_all("task").collect::<Vec<_>>(), [s, alias]);
}

#[test]
fn essential_names_end_before_the_last_flavour() {
    for (name, essential) in [
        ("task_struct", "task_struct"),
        ("task_struct___x", "task_struct"),
        ("a___b___c", "a___b"),
        ("___x", "___x"),
        ("x___", "x___"),
        ("x____y", "x____y"),
        ("", ""),
        ("é___x", "é"),
    ] {
        assert_eq!(essential_name(name), essential);
    }
}

#[test]
fn declaration_tags_are_listed_by_target() {
    let mut b = builder();
    let proto = b.add_func_proto(INT, &[Param { name: "ctx", type_id: INT }]);
    let func = b.add_func("main", proto, bpf_vm_shim::btf::Linkage::Global);
    b.add_decl_tag("first", func, -1);
    let other = b.add_struct("s", 0, &[]);
    b.add_decl_tag("elsewhere", other, 0);
    b.add_decl_tag("arg:ctx", func, 0);
    let attribute = b.add_decl_attribute("noreturn", func, -1);
    let btf = parse(&b);
    let tags: Vec<_> = btf.decl_tags(func).map(|t| (t.tag, t.component)).collect();
    assert_eq!(tags, [("first", -1), ("arg:ctx", 0), ("noreturn", -1)]);
    assert!(matches!(btf.get(attribute), Ok(Type::DeclTag { attribute: true, .. })));
}
