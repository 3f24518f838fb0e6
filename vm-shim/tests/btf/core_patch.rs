//! What CO-RE writes into instructions.

use bpf_vm_shim::btf::{
    BtfBuilder, Member, TypeId,
    core::{CoreOutcome, CoreRelo, CoreReloKind as Kind, CoreResolver, CoreValue, Patched},
};
use bpf_vm_shim::isa::Insn;

use crate::support::{CHAR, INT, UINT, ULONG, builder, parse, values};

fn value(
    local: impl Fn(&mut BtfBuilder) -> TypeId,
    target: impl Fn(&mut BtfBuilder) -> TypeId,
    access: &str,
    kind: Kind,
) -> CoreValue {
    let (mut l, mut t) = (builder(), builder());
    let root = local(&mut l);
    target(&mut t);
    let relo = CoreRelo { insn_off: 0, type_id: root, access: access.into(), kind };
    match CoreResolver::new(&parse(&l), &parse(&t)).resolve(&relo) {
        Ok(CoreOutcome::Value(v)) => v,
        other => panic!("no value: {other:?}"),
    }
}

/// The offset of field `x` of struct `s`, at 4 here and at `offset` there, with these types.
fn moved(
    local: impl Fn(&mut BtfBuilder) -> TypeId,
    target: impl Fn(&mut BtfBuilder) -> TypeId,
    offset: u32,
) -> CoreValue {
    let field = |make: &dyn Fn(&mut BtfBuilder) -> TypeId, b: &mut BtfBuilder, offset: u32| {
        let id = make(b);
        b.add_struct("s", 1 << 20, &[Member::new("x", id, offset * 8)])
    };
    value(|b| field(&local, b, 4), |b| field(&target, b, offset), "0:0", Kind::FieldByteOffset)
}

fn insn(opcode: u8, off: i16, imm: i32) -> Insn {
    Insn { opcode, dst: 1, src: 2, off, imm }
}

#[track_caller]
fn check(value: &CoreValue, before: Insn, after: Insn) {
    let mut insns = [before];
    assert_eq!(value.patch(&mut insns, 0), Ok(Patched::Done));
    assert_eq!(insns, [after]);
}

#[track_caller]
fn refused(value: &CoreValue, before: &[Insn], message: &str) {
    let mut insns = before.to_vec();
    let error = value.patch(&mut insns, 0).expect_err("refused").to_string();
    assert_eq!(error, message);
    assert_eq!(insns, before);
}

const SPEC: &str = "(<byte_off> [5] struct s.x (0:0 @ offset 4))";

#[test]
fn immediates_and_offsets_are_replaced() {
    let v = moved(|_| INT, |_| INT, 16);
    for opcode in [0xb7, 0x07, 0xb4] {
        check(&v, insn(opcode, 0, 4), insn(opcode, 0, 16));
    }
    for opcode in [0x61, 0x63, 0x62] {
        check(&v, insn(opcode, 4, 9), insn(opcode, 16, 9));
    }
}

#[test]
fn a_wide_immediate_takes_both_slots() {
    let wide = |v| move |b: &mut BtfBuilder| b.add_enum64("e", 8, false, &values(&[("A", v)]));
    let v = value(wide(0x1_0000_0002), wide(0x8000_0003_0000_0004), "0", Kind::EnumvalValue);
    let first = Insn { opcode: 0x18, dst: 1, src: 0, off: 0, imm: 2 };
    let second = Insn { opcode: 0, dst: 0, src: 0, off: 0, imm: 1 };
    let mut insns = [first, second];
    assert_eq!(v.patch(&mut insns, 0), Ok(Patched::Done));
    assert_eq!((insns[0].imm, insns[1].imm), (4, 0x8000_0003_u32.cast_signed()));

    let spec = "(<enumval_value> [5] enum64 e::A = 4294967298)";
    let plain = format!("CO-RE: instruction 0: it is not a plain ld_imm64 {spec}");
    refused(&v, &[first], &plain);
    refused(&v, &[Insn { src: 1, ..first }, second], &plain);
    refused(&v, &[first, Insn { opcode: 0x95, ..second }], &plain);
    refused(
        &v,
        &[Insn { imm: 3, ..first }, second],
        &format!("CO-RE: instruction 0: it holds 4294967299, but its relocation is about 4294967298 {spec}"),
    );
}

#[test]
fn loads_follow_the_size_of_pointers_and_unsigned_integers() {
    let wider = moved(|_| UINT, |_| ULONG, 8);
    check(&wider, insn(0x61, 4, 0), insn(0x79, 8, 0));
    let narrower = moved(|_| ULONG, |_| UINT, 8);
    check(&narrower, insn(0x79, 4, 0), insn(0x61, 8, 0));
    check(&narrower, insn(0x7b, 4, 0), insn(0x63, 8, 0));
    check(&narrower, insn(0x7a, 4, 0), insn(0x62, 8, 0));
    // An address computation does not care.
    check(&wider, insn(0x07, 0, 4), insn(0x07, 0, 8));
    refused(
        &wider,
        &[insn(0x79, 4, 0)],
        &format!("CO-RE: instruction 0: it does not access the 4 bytes of its field {SPEC}"),
    );
}

#[test]
fn loads_cannot_follow_other_changes_of_size() {
    let poisons = |v: &CoreValue, text: &str| {
        let before = [insn(0x61, 4, 0)];
        let mut insns = before;
        let why = format!("{text}, and it is neither a pointer nor an unsigned integer on both sides");
        assert_eq!(v.patch(&mut insns, 0), Ok(Patched::Poison(why)));
        assert_eq!(insns, before);
        // Where no memory is accessed, the value is good.
        check(v, insn(0xb7, 0, 4), insn(0xb7, 0, 8));
    };
    poisons(&moved(|_| INT, |_| ULONG, 8), "a field of 4 bytes here is one of 8 bytes in the target");
    poisons(&moved(|_| UINT, |_| CHAR, 8), "a field of 4 bytes here is one of 1 bytes in the target");
    let sized = |n| move |b: &mut BtfBuilder| b.add_struct("inner", n, &[]);
    poisons(&moved(sized(4), sized(8), 8), "a field of 4 bytes here is one of 8 bytes in the target");
    let bits = value(
        |b| b.add_struct("s", 16, &[Member::new("x", UINT, 32)]),
        |b| b.add_struct("s", 16, &[Member::new("x", UINT, 64).bits(3)]),
        "0:0",
        Kind::FieldByteOffset,
    );
    poisons(&bits, "a field of 4 bytes here is a bit-field in the target");
}

#[test]
fn what_does_not_fit_the_relocation_is_refused() {
    let v = moved(|_| INT, |_| INT, 40_000);
    let refuses = |insns: &[Insn], why: &str| {
        refused(&v, insns, &format!("CO-RE: instruction 0: {why} {SPEC}"));
    };
    refuses(&[], "outside the program");
    refuses(&[insn(0xb7, 0, 5)], "it holds 5, but its relocation is about 4");
    refuses(&[insn(0xbf, 0, 4)], "its operand is a register");
    refuses(&[insn(0x61, 4, 0)], "offset 40000 does not fit 16 bits");
    refuses(&[insn(0x05, 4, 0)], "opcode 0x05 cannot be relocated");
    check(&v, insn(0xb7, 0, 4), insn(0xb7, 0, 40_000));
}

#[test]
fn compilers_may_load_bit_fields_their_own_way() {
    let make = |b: &mut BtfBuilder| b.add_struct("s", 8, &[Member::new("x", UINT, 40).bits(3)]);
    let offset = value(make, make, "0:0", Kind::FieldByteOffset);
    check(&offset, insn(0xb7, 0, 5), insn(0xb7, 0, 4));
    let rshift = value(make, make, "0:0", Kind::FieldRshiftU64);
    assert!(rshift.patch(&mut [insn(0xb7, 0, 5)], 0).is_err());
}
