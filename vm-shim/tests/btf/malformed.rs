//! Broken BTF is refused with what is wrong and where.

use bpf_vm_shim::btf::{Btf, BtfBuilder, IntEncoding, Member, TypeId};

use crate::support::{INT, builder};

fn valid() -> Vec<u8> {
    let mut b = builder();
    b.add_struct("s", 4, &[Member::new("x", INT, 0)]);
    b.build()
}

#[track_caller]
fn check(bytes: &[u8], message: &str) {
    let error = Btf::parse(bytes).expect_err("refused");
    assert_eq!(error.to_string(), message);
}

fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut blob = valid();
    blob[at..at + bytes.len()].copy_from_slice(bytes);
    blob
}

#[test]
fn header() {
    check(&[], ".BTF: truncated header: 0 bytes, at least 24 needed");
    check(&[0x9f, 0xeb, 1, 0], ".BTF: truncated header: 4 bytes, at least 24 needed");
    check(&[0x7f, b'E', b'L', b'F'], ".BTF: bad magic 0x457f, expected 0xeb9f");
    check(&[0xeb, 0x9f, 1, 0], ".BTF: big-endian BTF is not supported (compile with -target bpfel)");
    check(&patched(2, &[2]), ".BTF: unsupported version 2, only 1 is known");
    check(&patched(4, &[23]), ".BTF: truncated header: 157 bytes, at least 24 needed");
    check(
        &patched(4, &[0xff, 0xff, 0xff, 0xff]),
        ".BTF: truncated header: 157 bytes, at least 4294967295 needed",
    );
    check(
        &patched(12, &[0xff, 0xff, 0xff, 0xff]),
        ".BTF: types at 24..4294967319 does not fit: it ends behind the blob",
    );
    check(&patched(8, &[1]), ".BTF: types at 25..113 does not fit: it is not aligned to 4 bytes");
    check(
        &patched(20, &[0xff, 0xff, 0xff, 0xff]),
        ".BTF: strings at 112..4294967407 does not fit: it ends behind the blob",
    );
    check(
        &patched(16, &[0]),
        ".BTF: types at 24..112 does not fit: it overlaps the strings or lies behind them",
    );
}

#[test]
fn a_longer_header_of_a_newer_version_is_accepted() {
    let mut blob = valid();
    blob[4] = 32;
    blob.splice(24..24, [0; 8]);
    assert_eq!(Btf::parse(blob).expect("valid").len(), 6);
}

#[test]
fn strings() {
    let empty = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    check(&empty, ".BTF: string section: it is empty");
    let mut unterminated = valid();
    *unterminated.last_mut().expect("not empty") = b'x';
    check(&unterminated, ".BTF: string section: its last string has no final NUL");
    let mut first = valid();
    first[112] = b'x';
    check(&first, ".BTF: string section: it does not begin with the empty string");
}

#[test]
fn an_empty_btf_has_only_void() {
    let btf = Btf::parse(BtfBuilder::new().build()).expect("valid");
    assert!(btf.is_empty());
    assert_eq!(btf.string(0), Ok(""));
    assert_eq!(
        btf.string(1).expect_err("outside").to_string(),
        "string offset 1 is outside the string section of 1 bytes"
    );
    assert_eq!(
        btf.get(TypeId(1)).expect_err("none").to_string(),
        "type id 1 is out of range: there are 1 types"
    );
}

#[test]
fn type_records() {
    // The four integers take 64 bytes from 24 on; the structure's record is at 88.
    check(
        &patched(88 + 4, &[2]),
        ".BTF: type [5] at byte 64 of the type section: truncated: 36 bytes needed, 24 left",
    );
    check(&patched(88 + 7, &[20]), ".BTF: type [5] at byte 64 of the type section: unknown kind 20");
    check(&patched(88 + 7, &[0]), ".BTF: type [5] at byte 64 of the type section: unknown kind 0");
    check(
        &patched(88 + 6, &[1]),
        ".BTF: type [5] at byte 64 of the type section: reserved bits set in info word 0x04010001",
    );
    check(
        &patched(88, &[0xff, 0xff]),
        ".BTF: type [5] at byte 64 of the type section: type name offset 65535 is outside the string section",
    );
    check(
        &patched(100, &[0xff]),
        ".BTF: type [5] at byte 64 of the type section: member name offset 255 is outside the string section",
    );
    check(
        &patched(104, &[6]),
        ".BTF: type [5] at byte 64 of the type section: member refers to type [6], but there are only 6 types",
    );
    let mut short = builder();
    short.add_raw("p", 2 << 24, 99, &[]);
    check(
        &short.build(),
        ".BTF: type [5] at byte 64 of the type section: type refers to type [99], but there are only 6 types",
    );
    let mut func = builder();
    func.add_raw("f", 12 << 24 | 3, 0, &[]);
    check(&func.build(), ".BTF: type [5] at byte 64 of the type section: unknown linkage 3");
}

#[test]
fn a_name_must_be_utf8_but_not_ascii() {
    let mut b = BtfBuilder::new();
    b.add_int("größe", 4, IntEncoding::SIGNED);
    let mut blob = b.build();
    let btf = Btf::parse(blob.as_slice()).expect("valid");
    assert_eq!(btf.name_of(TypeId(1)), "größe");
    *blob.iter_mut().find(|b| **b == 0xc3).expect("present") = 0xff;
    check(&blob, ".BTF: type [1] at byte 0 of the type section: type name at offset 1 is not UTF-8");
}

#[test]
fn cycles_are_errors() {
    let mut b = builder();
    let loop_a = b.next_id();
    b.add_typedef("a", TypeId(loop_a.0 + 1));
    b.add_const(loop_a);
    let array = b.next_id();
    b.add_array(array, INT, 2);
    let own = b.next_id();
    b.add_struct("own", 8, &[Member::new("self", own, 0)]);
    let anonymous = b.next_id();
    b.add_struct("", 8, &[Member::new("", anonymous, 0)]);
    let btf = Btf::parse(b.build()).expect("well-formed");

    assert!(btf.resolve(loop_a).is_err());
    assert!(btf.size_of(loop_a).is_err());
    assert!(btf.size_of(array).is_err());
    assert!(btf.align_of(own).is_err());
    assert!(btf.c_definition(own).is_err());
    assert!(btf.c_definition(anonymous).is_err());
    assert_eq!(btf.type_name(own), "struct own");
    assert_eq!(
        btf.type_name(array),
        "/* type [7] refers to itself, or is nested more than 64 levels deep */ "
    );
}

#[test]
fn types_that_expand_exponentially_end_with_an_error() {
    let mut b = builder();
    let mut at = b.add_struct("", 8, &[Member::new("x", INT, 0)]);
    for _ in 0..40 {
        at = b.add_struct("", 8, &[Member::new("a", at, 0), Member::new("b", at, 32)]);
    }
    let mut proto = b.add_func_proto(INT, &[]);
    for _ in 0..40 {
        let ptr = b.add_ptr(proto);
        let param = bpf_vm_shim::btf::Param { name: "", type_id: ptr };
        proto = b.add_func_proto(ptr, &[param, param]);
    }
    let btf = Btf::parse(b.build()).expect("well-formed");
    assert!(btf.align_of(at).is_ok());
    assert!(btf.c_definition(at).is_err());
    assert!(btf.try_c_decl(proto, "f").is_err());
}
