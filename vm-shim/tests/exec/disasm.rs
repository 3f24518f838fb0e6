//! Notation, as llvm-objdump 19 writes it.

use bpf_vm_shim::isa::{Insn, TABLE, disassemble, disassemble_all, lookup};
use proptest::prelude::*;

use crate::support::{EXIT, insn, ld64};

#[test]
fn instructions_read_as_in_llvm_objdump() {
    for (insn, text) in [
        (insn(0x07, 1, 0, 0, -8), "r1 += -0x8"),
        (insn(0x0f, 1, 2, 0, 0), "r1 += r2"),
        (insn(0xb4, 0, 0, 0, 5), "w0 = 0x5"),
        (insn(0xc7, 3, 0, 0, 4), "r3 s>>= 0x4"),
        (insn(0x3f, 3, 4, 1, 0), "r3 s/= r4"),
        (insn(0x87, 3, 0, 0, 0), "r3 = -r3"),
        (insn(0xbf, 1, 2, 8, 0), "r1 = (s8)r2"),
        (insn(0xdc, 1, 0, 0, 16), "r1 = be16 r1"),
        (insn(0xd7, 1, 0, 0, 32), "r1 = bswap32 r1"),
        (insn(0x71, 1, 2, 4, 0), "w1 = *(u8 *)(r2 + 0x4)"),
        (insn(0x79, 1, 10, -8, 0), "r1 = *(u64 *)(r10 - 0x8)"),
        (insn(0x99 - 8, 1, 2, 0, 0), "r1 = *(s8 *)(r2 + 0x0)"),
        (insn(0x63, 10, 1, -4, 0), "*(u32 *)(r10 - 0x4) = w1"),
        (insn(0x7a, 10, 0, -8, 7), "*(u64 *)(r10 - 0x8) = 0x7"),
        (insn(0x15, 1, 0, 3, 0), "if r1 == 0x0 goto +0x3"),
        (insn(0xae, 1, 2, -3, 0), "if w1 < w2 goto -0x3"),
        (insn(0x05, 0, 0, 5, 0), "goto +0x5"),
        (insn(0x06, 0, 0, 0, -5), "gotol -0x5"),
        (insn(0xe5, 0, 0, 1, 0), "may_goto +0x1"),
        (insn(0x85, 0, 0, 0, 6), "call 0x6"),
        (insn(0x85, 0, 1, 0, 6), "call +0x6"),
        (insn(0xdb, 1, 2, 0, 0), "lock *(u64 *)(r1 + 0x0) += r2"),
        (insn(0xdb, 1, 2, 0, 1), "r2 = atomic_fetch_add((u64 *)(r1 + 0x0), r2)"),
        (insn(0xc3, 1, 2, 8, 0xe1), "w2 = xchg32_32(r1 + 0x8, w2)"),
        (insn(0xdb, 1, 2, 0, 0xf1), "r0 = cmpxchg_64(r1 + 0x0, r0, r2)"),
        (insn(0x30, 0, 0, 0, 0x17), "r0 = *(u8 *)skb[0x17]"),
        (EXIT, "exit"),
    ] {
        assert_eq!(disassemble(&insn, None), text);
    }
    let [first, second] = ld64(1, 0x1_0000_0002);
    assert_eq!(disassemble(&first, Some(&second)), "r1 = 0x100000002 ll");
    assert_eq!(disassemble_all(&[first, second, EXIT]), "   0: r1 = 0x100000002 ll\n   2: exit\n");
}

#[test]
fn every_row_has_a_notation_of_its_own() {
    for row in TABLE {
        let mut one = insn(row.opcode, 1, 0, 0, 0);
        match row.key {
            bpf_vm_shim::isa::Key::Off(off) => one.off = off,
            bpf_vm_shim::isa::Key::Imm(imm) => one.imm = imm,
            bpf_vm_shim::isa::Key::Src(src) => one.src = src,
            bpf_vm_shim::isa::Key::Any => {}
        }
        assert_eq!(lookup(&one).map(|r| r.op), Some(row.op));
        assert!(!disassemble(&one, None).contains("unknown"), "{:?}", row.op);
    }
}

proptest! {
    #[test]
    fn slots_round_trip_and_always_have_a_text(bytes: [u8; 8]) {
        let insn = Insn::from_bytes(bytes);
        prop_assert_eq!(insn.to_bytes(), bytes);
        prop_assert!(!disassemble(&insn, None).is_empty());
    }
}
