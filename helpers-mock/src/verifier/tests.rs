//! Small programs with what is expected of them.

use std::collections::BTreeMap;

use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::object::{AttachTarget, ProgType};

use super::walk::{Program, Walk};
use crate::testing::machine;

const fn i(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { opcode, dst, src, off, imm }
}

const EXIT: Insn = i(0x95, 0, 0, 0, 0);

const fn mov(dst: u8, imm: i32) -> Insn {
    i(0xb7, dst, 0, 0, imm)
}

const fn copy(dst: u8, src: u8) -> Insn {
    i(0xbf, dst, src, 0, 0)
}

const fn call(id: i32) -> Insn {
    i(0x85, 0, 0, 0, id)
}

/// Checks a program; gives the refusal's id, or nothing.
fn verdict(prog_type: ProgType, insns: &[Insn]) -> Option<(usize, &'static str)> {
    let machine = machine();
    let (attach, poisoned) = (AttachTarget::default(), BTreeMap::new());
    let prog = Program {
        prog_type,
        attach: &attach,
        insns,
        subprogs: &[],
        poisoned: &poisoned,
        maps: &[],
        kfuncs: &[],
        btf: None,
    };
    Walk::new(&machine.kernel, prog).run().map(|(at, why, _)| (at, why.id()))
}

#[test]
fn programs_are_refused_for_what_they_do_and_only_on_paths_that_can_be_taken() {
    use ProgType::{Kprobe, SocketFilter, Xdp};
    type Case<'a> = (&'a str, ProgType, &'a [Insn], Option<(usize, &'a str)>);
    let table: &[Case<'_>] = &[
        ("returns nothing", SocketFilter, &[EXIT], Some((0, "uninit-register"))),
        ("returns a number", SocketFilter, &[mov(0, 0), EXIT], None),
        (
            "a call clobbers its arguments",
            SocketFilter,
            &[call(7), copy(0, 1), EXIT],
            Some((1, "uninit-register")),
        ),
        (
            "stores outside the frame",
            SocketFilter,
            &[i(0x7a, 10, 0, 0, 0), mov(0, 0), EXIT],
            Some((0, "stack-access")),
        ),
        (
            "stores below the frame",
            SocketFilter,
            &[i(0x7a, 10, 0, -520, 0), mov(0, 0), EXIT],
            Some((0, "stack-access")),
        ),
        (
            "stores misaligned",
            SocketFilter,
            &[i(0x7a, 10, 0, -12, 0), mov(0, 0), EXIT],
            Some((0, "misaligned-stack")),
        ),
        ("writes the frame pointer", SocketFilter, &[mov(10, 0), EXIT], Some((0, "frame-pointer"))),
        (
            "dereferences a number",
            SocketFilter,
            &[mov(1, 8), i(0x79, 0, 1, 0, 0), EXIT],
            Some((1, "invalid-mem-access")),
        ),
        (
            "dereferences a number in dead code",
            SocketFilter,
            &[mov(0, 0), mov(1, 8), i(0x15, 1, 0, 1, 8), i(0x79, 0, 1, 0, 0), EXIT],
            None,
        ),
        (
            "a number that is stored and loaded stays known",
            SocketFilter,
            &[
                mov(1, 5),
                i(0x7b, 10, 1, -8, 0),
                i(0x79, 2, 10, -8, 0),
                mov(0, 0),
                i(0x15, 2, 0, 1, 5),
                i(0x79, 0, 0, 0, 0),
                EXIT,
            ],
            None,
        ),
        (
            "copies learn from each other",
            SocketFilter,
            &[
                call(7),
                copy(1, 0),
                i(0x25, 0, 0, 2, 7),
                i(0xa5, 1, 0, 1, 8),
                i(0x79, 1, 1, 0, 0),
                mov(0, 0),
                EXIT,
            ],
            None,
        ),
        (
            "adds pointers",
            SocketFilter,
            &[copy(2, 10), i(0x0f, 2, 1, 0, 0), mov(0, 0), EXIT],
            Some((1, "pointer-arithmetic")),
        ),
        ("divides by zero", SocketFilter, &[mov(0, 1), i(0x37, 0, 0, 0, 0), EXIT], Some((1, "div-by-zero"))),
        (
            "shifts too far",
            SocketFilter,
            &[mov(0, 1), i(0x67, 0, 0, 0, 64), EXIT],
            Some((1, "invalid-shift")),
        ),
        (
            "reads the packet unchecked",
            Xdp,
            &[i(0x61, 2, 1, 0, 0), i(0x71, 0, 2, 0, 0), EXIT],
            Some((1, "out-of-bounds")),
        ),
        (
            "reads the packet behind a check",
            Xdp,
            &[
                i(0x61, 2, 1, 0, 0),
                i(0x61, 3, 1, 4, 0),
                copy(4, 2),
                i(0x07, 4, 0, 0, 14),
                mov(0, 0),
                i(0x2d, 4, 3, 1, 0),
                i(0x71, 0, 2, 13, 0),
                EXIT,
            ],
            None,
        ),
        (
            "reads one byte past the check",
            Xdp,
            &[
                i(0x61, 2, 1, 0, 0),
                i(0x61, 3, 1, 4, 0),
                copy(4, 2),
                i(0x07, 4, 0, 0, 14),
                mov(0, 0),
                i(0x2d, 4, 3, 1, 0),
                i(0x71, 0, 2, 14, 0),
                EXIT,
            ],
            Some((6, "out-of-bounds")),
        ),
        ("reads past the context", Xdp, &[i(0x61, 0, 1, 24, 0), EXIT], Some((0, "ctx-access"))),
        ("writes registers", Kprobe, &[i(0x7a, 1, 0, 0, 0), mov(0, 0), EXIT], Some((0, "ctx-access"))),
        (
            "a loop with a bound ends",
            SocketFilter,
            &[mov(0, 0), i(0x07, 0, 0, 0, 1), i(0xa5, 0, 0, -2, 100), EXIT],
            None,
        ),
        (
            "a loop that changes nothing",
            SocketFilter,
            &[mov(0, 0), i(0x05, 0, 0, -1, 0), EXIT],
            Some((1, "infinite-loop")),
        ),
        (
            "reads the type of a socket that may be a request",
            ProgType::SchedCls,
            &[i(0x79, 1, 1, 168, 0), mov(0, 0), i(0x15, 1, 0, 1, 0), i(0x61, 0, 1, 8, 0), EXIT],
            Some((3, "invalid-mem-access")),
        ),
        (
            "reads the family of such a socket",
            ProgType::SchedCls,
            &[i(0x79, 1, 1, 168, 0), mov(0, 0), i(0x15, 1, 0, 1, 0), i(0x61, 0, 1, 4, 0), EXIT],
            None,
        ),
        (
            "one load reaches the context and the stack",
            SocketFilter,
            &[
                copy(6, 1),
                call(7),
                copy(2, 10),
                i(0x07, 2, 0, 0, -8),
                i(0x7a, 10, 0, -8, 0),
                i(0x15, 0, 0, 1, 0),
                copy(2, 6),
                i(0x61, 0, 2, 0, 0),
                EXIT,
            ],
            Some((7, "not-allowed")),
        ),
        (
            "asks for the cookie of a changed context",
            SocketFilter,
            &[i(0x07, 1, 0, 0, 4), call(46), mov(0, 0), EXIT],
            Some((1, "helper-argument")),
        ),
        (
            "loads bytes of the packet into the packet",
            ProgType::SchedCls,
            &[
                i(0x61, 3, 1, 76, 0),
                i(0x61, 4, 1, 80, 0),
                copy(5, 3),
                i(0x07, 5, 0, 0, 8),
                mov(0, 0),
                i(0x2d, 5, 4, 3, 0),
                mov(2, 0),
                mov(4, 4),
                call(26),
                EXIT,
            ],
            Some((8, "helper-argument")),
        ),
        (
            "reads a packet where there is none",
            Kprobe,
            &[mov(2, 0), copy(3, 10), i(0x07, 3, 0, 0, -8), mov(4, 8), call(26), EXIT],
            Some((4, "not-allowed")),
        ),
        (
            "a socket is not released",
            ProgType::SchedCls,
            &[mov(2, 0), mov(3, 0), mov(4, 0), mov(5, 0), call(84), mov(0, 0), EXIT],
            Some((6, "unreleased-reference")),
        ),
    ];
    for (what, prog_type, insns, expected) in table {
        assert_eq!(verdict(*prog_type, insns), *expected, "{what}");
    }
}

mod laws {
    use proptest::prelude::*;

    use crate::verifier::arith::{alu32, alu64, union};
    use crate::verifier::scalar::Scalar;

    fn holds(s: &Scalar, v: u64) -> bool {
        s.contains(&Scalar::constant(v))
    }

    proptest! {
        /// Whatever two known numbers give, the range of their results holds it.
        #[test]
        fn results_stay_within_what_is_known(a: (u64, u64), b: (u64, u64), code in 0u8..13, signed: bool) {
            let code = code << 4;
            prop_assume!(!matches!(code, 0x80 | 0xb0));
            let (x, y) = (union(&c(a.0), &c(a.1)), union(&c(b.0), &c(b.1)));
            let y = if matches!(code, 0x60 | 0x70 | 0xc0) { union(&c(b.0 % 64), &c(b.1 % 64)) } else { y };
            let shift = |v: u64| if matches!(code, 0x60 | 0x70 | 0xc0) { v % 64 } else { v };
            let wide = alu64(code, &x, &y, signed);
            let exact = alu64(code, &c(a.0), &c(shift(b.0)), signed).known();
            prop_assert!(exact.is_none_or(|v| holds(&wide, v)), "{code:#x} {x:?} {y:?} {wide:?}");
            let narrow = alu32(code, &x, &y, signed);
            let exact = alu32(code, &c(a.0), &c(shift(b.0)), signed).known();
            prop_assert!(exact.is_none_or(|v| holds(&narrow, v)), "{code:#x} {x:?} {y:?} {narrow:?}");
        }
    }

    fn c(v: u64) -> Scalar {
        Scalar::constant(v)
    }
}
