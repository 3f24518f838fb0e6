//! A whole header in C.

use std::collections::BTreeSet;

use bpf_vm_shim::btf::{BtfBuilder, HeaderOptions, IntEncoding, Member, Param, TypeId};

use crate::support::{CHAR, INT, ULONG, builder, parse, values};

/// The header between its guards, one line each, without blank ones.
fn header(b: &BtfBuilder, options: &HeaderOptions) -> String {
    let text = parse(b).c_header(options).expect("the types are sound");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let inner = lines.get(2..lines.len() - 1).expect("two lines of guards before, one behind");
    inner.join("\n")
}

fn plain(b: &BtfBuilder) -> String {
    header(b, &HeaderOptions::default())
}

#[test]
fn what_is_held_by_value_comes_first_and_what_is_pointed_to_is_declared() {
    let mut b = builder();
    // struct outer { struct inner i; }; struct inner { struct outer *up; struct inner *next; };
    let (outer, inner) = (TypeId(5), TypeId(6));
    let (up, next) = (TypeId(7), TypeId(8));
    b.add_struct("outer", 16, &[Member::new("i", inner, 0)]);
    b.add_struct("inner", 16, &[Member::new("up", up, 0), Member::new("next", next, 64)]);
    b.add_ptr(outer);
    b.add_ptr(inner);
    assert_eq!(
        plain(&b),
        "struct outer;\nstruct inner {\nstruct outer *up;\nstruct inner *next;\n};\n\
         struct outer {\nstruct inner i;\n};"
    );
}

#[test]
fn an_alias_may_be_used_by_what_it_stands_for() {
    let mut b = builder();
    // typedef struct node node_t; struct node { node_t *next; };
    let (alias, node) = (TypeId(5), TypeId(6));
    b.add_typedef("node_t", node);
    b.add_struct("node", 8, &[Member::new("next", TypeId(7), 0)]);
    b.add_ptr(alias);
    assert_eq!(plain(&b), "struct node;\ntypedef struct node node_t;\nstruct node {\nnode_t *next;\n};");
}

#[test]
fn a_structure_is_declared_before_an_alias_of_a_function_that_takes_it() {
    let mut b = builder();
    // struct work { work_func_t func; }; typedef void (*work_func_t)(struct work *);
    let (work, func) = (TypeId(5), TypeId(6));
    b.add_struct("work", 8, &[Member::new("func", func, 0)]);
    b.add_typedef("work_func_t", TypeId(7));
    b.add_ptr(TypeId(8));
    b.add_func_proto(TypeId::VOID, &[Param { name: "", type_id: TypeId(9) }]);
    b.add_ptr(work);
    assert_eq!(
        plain(&b),
        "struct work;\ntypedef void (*work_func_t)(struct work *);\nstruct work {\nwork_func_t func;\n};"
    );
}

#[test]
fn no_two_things_have_one_name() {
    let mut b = builder();
    b.add_struct("same", 4, &[Member::new("a", INT, 0)]);
    b.add_union("same", 4, &[Member::new("b", INT, 0)]);
    b.add_enum("", 4, false, &values(&[("ONE", 1), ("mine", 2)]));
    b.add_enum("e", 4, false, &values(&[("ONE", 1)]));
    b.add_typedef("same", INT);
    let taken = BTreeSet::from(["mine".to_owned(), "e".to_owned()]);
    let text = header(&b, &HeaderOptions { taken, ..HeaderOptions::default() });
    assert_eq!(
        text,
        "struct same {\nint a;\n};\nunion same___2 {\nint b;\n};\nenum e___2 {\nONE = 1,\n};\ntypedef int same;\n\
         enum {\nONE___2 = 1,\nmine___2 = 2,\n};"
    );
}

#[test]
fn a_forward_declaration_has_the_name_of_what_it_declares() {
    let mut b = builder();
    let fwd = b.add_fwd("same", true);
    let ptr = b.add_ptr(fwd);
    b.add_struct("same", 8, &[Member::new("u", ptr, 0)]);
    b.add_union("same", 4, &[Member::new("b", INT, 0)]);
    assert_eq!(
        plain(&b),
        "union same___2;\nstruct same {\nunion same___2 *u;\n};\nunion same___2 {\nint b;\n};"
    );
}

#[test]
fn names_that_c_does_not_allow_are_changed() {
    let mut b = builder();
    let odd = b.add_int("core::u24", 3, IntEncoding::UNSIGNED);
    b.add_struct("s", 8, &[Member::new("default", INT, 0), Member::new("x", odd, 32)]);
    let tag = b.add_struct("__va_list_tag", 24, &[Member::new("x", ULONG, 0)]);
    let array = b.add_array(tag, INT, 1);
    let list = b.add_typedef("__builtin_va_list", array);
    b.add_typedef("va_list", list);
    let text = plain(&b);
    for part in [
        "typedef unsigned char core__u24[3];",
        "int default___2;\ncore__u24 x;",
        "typedef struct __va_list_tag __builtin_va_list___2[1];",
        "typedef __builtin_va_list___2 va_list;",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn words_of_newer_standards_are_defined_for_older_ones_only() {
    let mut b = builder();
    let boolean = b.add_int("_Bool", 1, IntEncoding::BOOL);
    b.add_typedef("bool", boolean);
    b.add_enum("", 4, false, &values(&[("false", 0), ("true", 1)]));
    assert_eq!(
        plain(&b),
        "#if __STDC_VERSION__ < 202000L\ntypedef _Bool bool;\n#endif\n\
         #if __STDC_VERSION__ < 202000L\nenum {\nfalse = 0,\ntrue = 1,\n};\n#endif"
    );
}

#[test]
fn layouts_that_the_members_do_not_give() {
    let mut b = builder();
    b.add_union("aligned", 64, &[Member::new("a", INT, 0)]);
    b.add_union(
        "packed",
        5,
        &[Member::new("a", INT, 0), Member::new("b", CHAR, 0), Member::new("c", INT, 0)],
    );
    b.add_union("opaque", 8, &[]);
    b.add_struct(
        "straddling",
        8,
        &[Member::new("a", INT, 0).bits(20), Member::new("b", INT, 20).bits(20), Member::new("c", CHAR, 40)],
    );
    b.add_enum("two_bytes", 2, false, &values(&[("X", 1)]));
    let text = plain(&b);
    for part in [
        "union aligned {\nint a;\n} __attribute__((aligned(64)));",
        "char __filler[5];\n} __attribute__((packed));",
        "union opaque {\nlong: 64;\n};",
        "int b: 20;\nchar c;\nlong: 0;\n} __attribute__((packed));",
        "} __attribute__((mode(HI)));",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_structure_embedded_by_its_tag_alone_is_written_out() {
    let mut b = builder();
    let inner = b.add_struct("inner", 4, &[Member::new("x", INT, 0)]);
    b.add_struct("outer", 4, &[Member::new("", inner, 0)]);
    assert_eq!(plain(&b), "struct inner {\nint x;\n};\nstruct outer {\nstruct {\nint x;\n};\n};");
}

#[test]
fn options_add_attributes() {
    let mut b = builder();
    let user = b.add_type_tag("user", CHAR);
    let ptr = b.add_ptr(user);
    b.add_struct("s", 8, &[Member::new("p", ptr, 0)]);
    assert!(plain(&b).contains("char *p;"));
    let options = HeaderOptions { preserve_access_index: true, type_tags: true, ..HeaderOptions::default() };
    let text = header(&b, &options);
    assert!(text.contains("char __attribute__((btf_type_tag(\"user\"))) *p;"), "{text}");
    assert!(text.contains("attribute push (__attribute__((preserve_access_index))"), "{text}");
    assert!(text.contains("attribute pop"), "{text}");
}
