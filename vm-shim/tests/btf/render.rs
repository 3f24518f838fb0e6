//! Types in C.

use bpf_vm_shim::btf::{Linkage, Member, Param, TypeId};

use crate::support::{CHAR, INT, UINT, ULONG, builder, parse, values};

#[test]
fn declarations() {
    let mut b = builder();
    let task = b.add_struct("task_struct", 8, &[]);
    let ptr = b.add_ptr(task);
    let ptr_ptr = b.add_ptr(ptr);
    let const_char = b.add_const(CHAR);
    let str_ptr = b.add_ptr(const_char);
    let const_ptr = b.add_const(str_ptr);
    let array = b.add_array(CHAR, INT, 16);
    let matrix = b.add_array(array, INT, 2);
    let void_ptr = b.add_ptr(TypeId::VOID);
    let proto = b.add_func_proto(INT, &[Param { name: "", type_id: void_ptr }]);
    let func_ptr = b.add_ptr(proto);
    let func_array = b.add_array(func_ptr, INT, 4);
    let array_ptr = b.add_ptr(array);
    let none = b.add_func_proto(TypeId::VOID, &[]);
    let one_void = b.add_func_proto(TypeId::VOID, &[Param { name: "", type_id: TypeId::VOID }]);
    let print = [Param { name: "fmt", type_id: str_ptr }, Param { name: "", type_id: TypeId::VOID }];
    let print = b.add_func_proto(INT, &print);
    let user = b.add_type_tag("user", task);
    let user_ptr = b.add_ptr(user);
    let attribute = b.add_type_attribute("address_space(1)", INT);
    let attribute_ptr = b.add_ptr(attribute);
    let anonymous = b.add_struct("", 4, &[Member::new("x", INT, 0)]);
    let anonymous_ptr = b.add_ptr(anonymous);
    let returns_func = b.add_func_proto(func_ptr, &[Param { name: "n", type_id: INT }]);
    let fwd = b.add_fwd("unseen", true);
    let fwd_ptr = b.add_ptr(fwd);
    let btf = parse(&b);
    for (id, nameless, named) in [
        (TypeId::VOID, "void", "void v"),
        (INT, "int", "int v"),
        (ptr, "struct task_struct *", "struct task_struct *v"),
        (ptr_ptr, "struct task_struct **", "struct task_struct **v"),
        (str_ptr, "const char *", "const char *v"),
        (const_ptr, "const char * const", "const char * const v"),
        (array, "char[16]", "char v[16]"),
        (matrix, "char[2][16]", "char v[2][16]"),
        (func_ptr, "int (*)(void *)", "int (*v)(void *)"),
        (func_array, "int (*[4])(void *)", "int (*v[4])(void *)"),
        (array_ptr, "char (*)[16]", "char (*v)[16]"),
        (none, "void(void)", "void v(void)"),
        (one_void, "void(void)", "void v(void)"),
        (print, "int(const char *fmt, ...)", "int v(const char *fmt, ...)"),
        (
            user_ptr,
            "struct task_struct __attribute__((btf_type_tag(\"user\"))) *",
            "struct task_struct __attribute__((btf_type_tag(\"user\"))) *v",
        ),
        (
            attribute_ptr,
            "int __attribute__((address_space(1))) *",
            "int __attribute__((address_space(1))) *v",
        ),
        (anonymous_ptr, "struct {...} *", "struct {...} *v"),
        (returns_func, "int (*(int n))(void *)", "int (*v(int n))(void *)"),
        (fwd_ptr, "union unseen *", "union unseen *v"),
    ] {
        assert_eq!(btf.type_name(id), nameless);
        assert_eq!(btf.c_decl(id, "v"), named);
    }
}

#[test]
fn definitions() {
    let mut b = builder();
    let inner = b.add_union("", 8, &[Member::new("a", INT, 0), Member::new("b", ULONG, 0)]);
    let outer = b.add_struct(
        "outer",
        24,
        &[Member::new("c", CHAR, 0), Member::new("", inner, 64), Member::new("u", inner, 128)],
    );
    let small = b.add_enum("small", 1, false, &values(&[("A", 0), ("B", 200)]));
    let signed = b.add_enum("signed", 4, true, &values(&[("MINUS", -1)]));
    let wide = b.add_enum64("wide", 8, false, &values(&[("BIG", 1 << 40)]));
    let word = b.add_enum64("word", 8, true, &values(&[("TINY", 1)]));
    let empty = b.add_struct("empty", 0, &[]);
    let ptr = b.add_ptr(outer);
    let alias = b.add_typedef("outer_p", ptr);
    let proto = b.add_func_proto(INT, &[Param { name: "o", type_id: alias }]);
    let func = b.add_func("handle", proto, Linkage::Global);
    let var = b.add_var("counts", wide, Linkage::Global);
    let fwd = b.add_fwd("unseen", false);
    let btf = parse(&b);
    for (id, text) in [
        (
            outer,
            "struct outer {\n\tchar c;\n\tunion {\n\t\tint a;\n\t\tlong unsigned int b;\n\t};\n\tunion {\n\t\tint \
             a;\n\t\tlong unsigned int b;\n\t} u;\n};",
        ),
        (small, "enum small {\n\tA = 0,\n\tB = 200,\n} __attribute__((mode(byte)));"),
        (signed, "enum signed {\n\tMINUS = -1,\n};"),
        (wide, "enum wide {\n\tBIG = 1099511627776ULL,\n};"),
        (word, "enum word {\n\tTINY = 1LL,\n} __attribute__((mode(word)));"),
        (empty, "struct empty {};"),
        (alias, "typedef struct outer *outer_p;"),
        (func, "int handle(outer_p o);"),
        (var, "extern enum wide counts;"),
        (fwd, "struct unseen;"),
    ] {
        assert_eq!(btf.c_definition(id).expect("definition"), text);
    }
    assert_eq!(
        btf.c_definition(ptr).expect_err("none").to_string(),
        "type [12] is of kind ptr, expected a type with a definition"
    );
}

#[test]
fn definitions_keep_the_layout() {
    #[track_caller]
    fn check(size: u32, members: &[Member<'_>], body: &[&str], packed: bool) {
        let mut b = builder();
        let id = b.add_struct("s", size, members);
        let lines: String = body.iter().map(|l| format!("\t{l};\n")).collect();
        let end = if packed { " __attribute__((packed))" } else { "" };
        let text = parse(&b).c_definition(id).expect("definition");
        assert_eq!(text, format!("struct s {{\n{lines}}}{end};"));
    }
    // Natural alignment needs no help.
    check(
        16,
        &[Member::new("a", CHAR, 0), Member::new("b", ULONG, 64)],
        &["char a", "long unsigned int b"],
        false,
    );
    check(5, &[Member::new("a", CHAR, 0), Member::new("b", INT, 8)], &["char a", "int b"], true);
    // A gap before a member that its own alignment does not make.
    check(
        16,
        &[Member::new("a", INT, 0), Member::new("b", INT, 64)],
        &["int a", "long: 0", "int b", "long: 0"],
        false,
    );
    check(
        24,
        &[Member::new("a", ULONG, 0), Member::new("b", ULONG, 128)],
        &["long unsigned int a", "long: 64", "long unsigned int b"],
        false,
    );
    // Bit-fields are padded by exact widths.
    check(
        8,
        &[Member::new("a", UINT, 0).bits(3), Member::new("b", UINT, 8).bits(1), Member::new("c", INT, 32)],
        &["unsigned int a: 3", "char: 5", "unsigned int b: 1", "int c"],
        false,
    );
    // A tail beyond what alignment adds.
    check(16, &[Member::new("a", INT, 0)], &["int a", "long: 64"], false);
}

#[test]
fn a_structure_that_is_mostly_gap_is_not_written_without_limit() {
    let mut b = builder();
    let id = b.add_struct("s", u32::MAX, &[]);
    assert!(parse(&b).c_definition(id).is_err());
}
