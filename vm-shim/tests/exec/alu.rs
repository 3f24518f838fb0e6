//! Arithmetic against a model written from RFC 9669 with 128-bit integers.

use proptest::prelude::*;

use crate::support::{EXIT, insn, ld64, returns};

/// Operation code and, for signed forms, the offset that selects it.
const OPS: &[(u8, i16)] = &[
    (0x00, 0),
    (0x10, 0),
    (0x20, 0),
    (0x30, 0),
    (0x30, 1),
    (0x40, 0),
    (0x50, 0),
    (0x60, 0),
    (0x70, 0),
    (0x90, 0),
    (0x90, 1),
    (0xa0, 0),
    (0xb0, 0),
    (0xb0, 8),
    (0xb0, 16),
    (0xc0, 0),
];

/// The result in `bits` (32 or 64), zero-extended.
fn model(op: u8, off: i16, a: u64, b: u64, bits: u32) -> u64 {
    let mask = if bits == 32 { u128::from(u32::MAX) } else { u128::from(u64::MAX) };
    let (ua, ub) = (u128::from(a) & mask, u128::from(b) & mask);
    let sign = |v: u128| ((v << (128 - bits)) as i128) >> (128 - bits);
    let (sa, sb) = (sign(ua), sign(ub));
    let shift = (ub as u32) % bits;
    let result = match (op, off) {
        (0x00, _) => ua + ub,
        (0x10, _) => (sa - sb) as u128,
        (0x20, _) => ua.wrapping_mul(ub),
        (0x30, 0) => ua.checked_div(ub).unwrap_or(0),
        (0x30, _) => {
            if sb == 0 {
                0
            } else {
                (sa / sb) as u128
            }
        }
        (0x40, _) => ua | ub,
        (0x50, _) => ua & ub,
        (0x60, _) => ua << shift,
        (0x70, _) => ua >> shift,
        (0x90, 0) => ua.checked_rem(ub).unwrap_or(ua),
        (0x90, _) => {
            if sb == 0 {
                ua
            } else {
                (sa % sb) as u128
            }
        }
        (0xa0, _) => ua ^ ub,
        (0xb0, 0) => ub,
        (0xb0, 8) => b as i8 as i128 as u128,
        (0xb0, 16) => b as i16 as i128 as u128,
        (0xc0, _) => (sa >> shift) as u128,
        other => unreachable!("{other:?}"),
    };
    (result & mask) as u64
}

/// Values at which arithmetic goes wrong, and any others.
fn operand() -> impl Strategy<Value = u64> {
    prop_oneof![
        prop::sample::select(vec![
            0,
            1,
            2,
            31,
            32,
            33,
            63,
            64,
            0x7f,
            0x80,
            0xff,
            0x7fff,
            0x8000,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            1 << 32,
            i64::MAX as u64,
            i64::MIN as u64,
            u64::MAX,
            u64::MAX - 1,
        ]),
        any::<u64>(),
        any::<u8>().prop_map(u64::from),
    ]
}

proptest! {
    #[test]
    fn registers_give_what_the_rfc_says(op in prop::sample::select(OPS), a in operand(), b in operand(), wide: bool) {
        let (op, off) = op;
        let class = if wide { 7 } else { 4 };
        let mut insns = ld64(0, a).to_vec();
        insns.extend(ld64(1, b));
        insns.extend([insn(op | 8 | class, 0, 1, off, 0), EXIT]);
        prop_assert_eq!(returns(&insns), model(op, off, a, b, if wide { 64 } else { 32 }));
    }

    #[test]
    fn constants_are_sign_extended(op in prop::sample::select(OPS), a in operand(), b: i32, wide: bool) {
        let (op, off) = op;
        let (class, bits) = if wide { (7, 64) } else { (4, 32) };
        // Moves with sign extension have no constant form; the kernel refuses these constants.
        prop_assume!(op != 0xb0 || off == 0);
        prop_assume!(!matches!(op, 0x60 | 0x70 | 0xc0) || (0..bits).contains(&b));
        prop_assume!(!matches!(op, 0x30 | 0x90) || b != 0);
        let mut insns = ld64(0, a).to_vec();
        insns.extend([insn(op | class, 0, 0, off, b), EXIT]);
        prop_assert_eq!(returns(&insns), model(op, off, a, i64::from(b) as u64, bits as u32));
    }

    #[test]
    fn byte_order_and_negation(a in operand()) {
        let one = |opcode, imm| {
            let mut insns = ld64(0, a).to_vec();
            insns.extend([insn(opcode, 0, 0, 0, imm), EXIT]);
            returns(&insns)
        };
        prop_assert_eq!(one(0xd4, 16), a & 0xffff);
        prop_assert_eq!(one(0xd4, 32), a & 0xffff_ffff);
        prop_assert_eq!(one(0xd4, 64), a);
        for swap in [0xdc, 0xd7] {
            prop_assert_eq!(one(swap, 16), u64::from((a as u16).swap_bytes()));
            prop_assert_eq!(one(swap, 32), u64::from((a as u32).swap_bytes()));
            prop_assert_eq!(one(swap, 64), a.swap_bytes());
        }
        prop_assert_eq!(one(0x87, 0), a.wrapping_neg());
        prop_assert_eq!(one(0x84, 0), u64::from((a as u32).wrapping_neg()));
    }

    #[test]
    fn atomics_give_back_what_was_there(a in operand(), b in operand(), wide: bool, op in prop::sample::select(vec![0x00, 0x40, 0x50, 0xa0, 0xe0, 0xf0])) {
        let opcode = if wide { 0xdb } else { 0xc3 };
        let cut = |v: u64| if wide { v } else { v & 0xffff_ffff };
        let mut insns = ld64(1, a).to_vec();
        insns.push(insn(0x7b, 10, 1, -8, 0));
        insns.extend(ld64(2, b));
        insns.extend(ld64(0, a));
        insns.extend([insn(opcode, 10, 2, -8, op | 1)]);
        // The sum of what came back and what is there now tells both.
        let back = if op == 0xf0 { 0 } else { 2 };
        insns.extend([insn(0xbf, 3, back, 0, 0), insn(0x79, 4, 10, -8, 0), insn(0xbf, 0, 3, 0, 0)]);
        insns.push(EXIT);
        prop_assert_eq!(returns(&insns), cut(a));
        let at = insns.len() - 2;
        insns[at] = insn(0xbf, 0, 4, 0, 0);
        let new = match op {
            0x00 => a.wrapping_add(b),
            0x40 => a | b,
            0x50 => a & b,
            0xa0 => a ^ b,
            _ => b,
        };
        let there = if wide { new } else { (a & !0xffff_ffff) | cut(new) };
        prop_assert_eq!(returns(&insns), there);
    }
}
