//! Pointers into arenas: casts, accesses, arithmetic; and jumps through registers.

use std::sync::Arc;

use bpf_vm_shim::env::{ArenaSpan, CallResult, Cx, Env, Flow, NoEnv, Resume};
use bpf_vm_shim::exec::{ArenaView, Code, CodeSpec, Execution, Function, Limits, Outcome};
use bpf_vm_shim::fault::Trap;
use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::mem::{AccessKind, Alloc, Area, Memory, RegionKind};

use crate::support::{EXIT, insn, ld64, mov, start};

const PAGE: i64 = 4096;
/// The lower half of the first page's address.
const BASE: i64 = 0x10_0000;
const USER: u64 = 0x7f00_0000_0000;

/// `dst = addr_space_cast(src, 0, 1)`
const fn to_kernel(dst: u8, src: u8) -> Insn {
    insn(0xbf, dst, src, 1, 1)
}

/// `dst = addr_space_cast(src, 1, 0)`
const fn to_user(dst: u8, src: u8) -> Insn {
    insn(0xbf, dst, src, 1, 1 << 16)
}

/// Two pages that lie apart in memory.
struct Pages {
    pages: [u64; 2],
    missed: Vec<(i64, AccessKind)>,
}

impl Pages {
    fn at(&self, offset: i64) -> Option<u64> {
        let page = self.pages.get(usize::try_from((offset - BASE).div_euclid(PAGE)).ok()?)?;
        Some(page + (offset - BASE).rem_euclid(PAGE) as u64)
    }
}

impl Env for Pages {
    fn helper(&mut self, _: &mut Cx<'_>, _: u32, _: &[u64; 5]) -> CallResult {
        Ok(Flow::Return(0))
    }

    fn kfunc(&mut self, _: &mut Cx<'_>, _: u32, _: &[u64; 5]) -> CallResult {
        Ok(Flow::Return(0))
    }

    fn resume(&mut self, _: &mut Cx<'_>, _: Resume, ret: u64) -> CallResult {
        Ok(Flow::Return(ret))
    }

    fn packet(&mut self, _: &mut Cx<'_>, _: i32, _: u8) -> Result<Option<u64>, Trap> {
        Ok(None)
    }

    fn load_typed(&mut self, _: &mut Cx<'_>, _: u64, _: u8) -> Result<Option<u64>, Trap> {
        Ok(None)
    }

    fn exit(&mut self, _: &mut Cx<'_>, _: u64) -> Result<(), Trap> {
        Ok(())
    }

    fn arena(
        &mut self,
        _: &mut Cx<'_>,
        offset: i64,
        size: u8,
        kind: AccessKind,
    ) -> Result<Option<ArenaSpan>, Trap> {
        let room = (PAGE - offset.rem_euclid(PAGE)).min(size.into()) as u8;
        let (first, rest) = (self.at(offset), self.at(offset + i64::from(room.min(size - 1))));
        let span = first.zip(rest).map(|(addr, rest)| ArenaSpan { addr, len: room, rest });
        if span.is_none() {
            self.missed.push((offset, kind));
        }
        Ok(span)
    }
}

fn spec(insns: &[Insn]) -> CodeSpec<'_> {
    let arena = Some(ArenaView { user_start: USER + BASE as u64, no_user_conv: false });
    CodeSpec { id: 1, name: "test", insns, arena, ..CodeSpec::default() }
}

/// The result, and the accesses that hit no page.
#[track_caller]
fn run_spec(spec: CodeSpec<'_>) -> (Outcome, Vec<(i64, AccessKind)>) {
    let mut mem = Memory::default();
    let mut page =
        || mem.alloc(Alloc::new(Area::Heap, RegionKind::Other, PAGE as u32, "page")).expect("memory");
    let mut env = Pages { pages: [page(), page()], missed: Vec::new() };
    let code = Arc::new(Code::new(spec).expect("valid code"));
    let stack = Execution::alloc_stack(&mut mem).expect("memory");
    let mut run = Execution::new(code, [0; 5], stack, Limits::default(), &mut mem);
    (run.run(&mut mem, &mut env), env.missed)
}

#[track_caller]
fn returns(insns: &[Insn]) -> u64 {
    match run_spec(spec(insns)).0 {
        Outcome::Returned(v) => v,
        other => panic!("expected a result, got {other:?}"),
    }
}

/// `r1 = a pointer to the arena's byte `at`, as programs dereference it`.
fn pointer(at: i64) -> Vec<Insn> {
    [&ld64(1, USER + (BASE + at) as u64)[..], &[to_kernel(1, 1)]].concat()
}

#[test]
fn a_cast_keeps_the_lower_half_and_finds_the_upper_again() {
    let to = |cast: Insn, v: u64| returns(&[&ld64(2, v)[..], &[cast, EXIT]].concat());
    assert_eq!(to(to_kernel(0, 2), USER + 5), 5);
    assert_eq!(to(to_user(0, 2), 5), USER + 5);
    assert_eq!(to(to_user(0, 2), 0xdead_0000_0005), USER + 5);
    assert_eq!(to(to_user(0, 2), 0xdead_0000_0000), 0, "null stays null");
    let insns = [mov(2, 5), to_user(0, 2), EXIT];
    let mut plain = spec(&insns);
    plain.arena = Some(ArenaView { user_start: USER, no_user_conv: true });
    assert_eq!(run_spec(plain).0, Outcome::Returned(5));
}

#[test]
fn what_is_stored_is_loaded_wherever_the_pointer_went() {
    let store = insn(0x7a, 1, 0, 16, -2);
    let routes: [&[Insn]; 5] = [
        &[insn(0x79, 0, 1, 16, 0), EXIT],
        // A copy, moved: `r2 = r1; r2 += 8; r0 = *(u64 *)(r2 + 8)`.
        &[insn(0xbf, 2, 1, 0, 0), insn(0x07, 2, 0, 0, 8), insn(0x79, 0, 2, 8, 0), EXIT],
        // Spilled to the stack through a copy of R10 and back.
        &[
            insn(0xbf, 3, 10, 0, 0),
            insn(0x07, 3, 0, 0, -8),
            insn(0x7b, 3, 1, -8, 0),
            insn(0x79, 4, 10, -16, 0),
            insn(0x79, 0, 4, 16, 0),
            EXIT,
        ],
        // As an argument of a function.
        &[insn(0x85, 0, 1, 0, 1), EXIT, insn(0x79, 0, 1, 16, 0), EXIT],
        // As a function's result: `r0 = f(r1); r0 = *(u64 *)(r0 + 0)` with `f` adding 16.
        &[
            insn(0x85, 0, 1, 0, 2),
            insn(0x79, 0, 0, 0, 0),
            EXIT,
            insn(0xbf, 0, 1, 0, 0),
            insn(0x07, 0, 0, 0, 16),
            EXIT,
        ],
    ];
    for route in routes {
        let insns = [&pointer(64), &[store][..], route].concat();
        assert_eq!(returns(&insns), u64::MAX - 1, "{route:?}");
    }
}

#[test]
fn pointers_are_32_bits_wide() {
    // r1 -= 2 * BASE, then as a number.
    let insns =
        [&pointer(0), &[insn(0x17, 1, 0, 0, 2 * BASE as i32), insn(0xbf, 0, 1, 0, 0), EXIT][..]].concat();
    assert_eq!(returns(&insns), u64::from((-(BASE as i32)) as u32));
    // A number plus a pointer is a pointer: r2 = 8; r2 += r1; *(u32 *)(r2 + 0) = 7; r0 = *(u32 *)(r1 + 8)
    let through = [mov(2, 8), insn(0x0f, 2, 1, 0, 0), insn(0x62, 2, 0, 0, 7), insn(0x61, 0, 1, 8, 0), EXIT];
    assert_eq!(returns(&[&pointer(0), &through[..]].concat()), 7);
}

#[test]
fn an_access_may_lie_on_two_pages() {
    let insns = [
        &pointer(PAGE - 3),
        &ld64(2, 0x0102_0304_0506_0708)[..],
        &[
            insn(0x7b, 1, 2, 0, 0),
            insn(0x79, 0, 1, 0, 0),
            insn(0x71, 3, 1, 3, 0),
            insn(0xaf, 0, 3, 0, 0),
            EXIT,
        ],
    ]
    .concat();
    assert_eq!(returns(&insns), 0x0102_0304_0506_0708 ^ 0x05);
}

#[test]
fn where_no_page_is_nothing_happens_and_loads_give_zero() {
    use AccessKind::{Read, Write};
    // What the access is, and what R0, 9 before, is after it.
    let table = [
        (insn(0x61, 0, 1, 4, 0), 0, Read),
        (insn(0x91, 0, 1, 4, 0), 0, Read),
        (insn(0x7a, 1, 0, 4, 1), 9, Write),
        (insn(0x7b, 1, 0, 4, 0), 9, Write),
        (insn(0xdb, 1, 0, 4, 0x01), 9, Write),
        (insn(0xdb, 1, 0, 4, 0xe1), 9, Write),
        (insn(0xdb, 1, 2, 4, 0xf1), 9, Write),
        (insn(0xdb, 0, 1, 4, 0x100), 9, Read),
    ];
    for (access, r0, kind) in table {
        let insns = [&pointer(-PAGE), &[mov(0, 9), mov(2, 3), access, EXIT][..]].concat();
        let (outcome, missed) = run_spec(spec(&insns));
        assert_eq!(outcome, Outcome::Returned(r0), "{access:?}");
        assert_eq!(missed, [(BASE - PAGE + 4, kind)], "{access:?}");
    }
    let straddling = [&pointer(2 * PAGE - 4), &[insn(0x7a, 1, 0, 0, -1), insn(0x61, 0, 1, 0, 0), EXIT][..]];
    assert_eq!(returns(&straddling.concat()), 0, "half of it is there, and is left alone");
}

#[test]
fn atomic_operations_work_on_pages() {
    // With 6 in memory, 3 in R2 and 6 in R0: the immediate, what is in memory then, what R2 and R0 are.
    let table = [
        (0x00, 9, 3, 6),
        (0x01, 9, 6, 6),
        (0x40, 7, 3, 6),
        (0x41, 7, 6, 6),
        (0x50, 2, 3, 6),
        (0xa1, 5, 6, 6),
        (0xe1, 3, 6, 6),
        (0xf1, 3, 3, 6),
    ];
    for opcode in [0xc3, 0xdb] {
        for (imm, memory, r2, r0) in table {
            let head = [
                &pointer(8),
                &[insn(0x7a, 1, 0, 0, 6), mov(2, 3), mov(0, 6), insn(opcode, 1, 2, 0, imm)][..],
            ];
            for (last, expected) in [(insn(0x79, 0, 1, 0, 0), memory), (insn(0xbf, 0, 2, 0, 0), r2)] {
                let insns = [&head.concat()[..], &[last, EXIT]].concat();
                assert_eq!(returns(&insns), expected, "{opcode:#x} {imm:#x}");
            }
            assert_eq!(returns(&[&head.concat()[..], &[EXIT]].concat()), r0, "{opcode:#x} {imm:#x}");
        }
    }
    let missed =
        [&pointer(8), &[insn(0x7a, 1, 0, 0, 6), mov(2, 3), mov(0, 5), insn(0xdb, 1, 2, 0, 0xf1), EXIT][..]];
    assert_eq!(returns(&missed.concat()), 6, "another value than expected");
}

#[test]
fn a_pointer_that_was_never_cast_is_none_into_the_arena() {
    let insns = [&ld64(2, USER + BASE as u64)[..], &[to_kernel(1, 2), insn(0x61, 0, 2, 0, 0), EXIT]].concat();
    match run_spec(spec(&insns)).0 {
        Outcome::Fault(fault) => assert_eq!((fault.kind.id(), fault.at.insn), ("invalid-mem-access", 3)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cast_needs_an_arena_where_it_is_reached() {
    for (skip, fails) in [(0, true), (1, false)] {
        let code = Code::new(CodeSpec {
            insns: &[mov(0, 0), insn(0x05, 0, 0, skip, 0), to_kernel(0, 0), EXIT],
            ..CodeSpec::default()
        });
        let (mut run, mut mem) = start(&Arc::new(code.expect("valid")), Limits::default());
        match run.run(&mut mem, &mut NoEnv) {
            Outcome::Fault(fault) => assert!(fails && fault.kind.to_string().contains("associated arena")),
            other => assert!(!fails, "{other:?}"),
        }
    }
    let insns = [mov(0, 0), insn(0xbf, 0, 0, 1, 7), EXIT];
    let refused = Code::new(CodeSpec { insns: &insns, ..CodeSpec::default() }).expect_err("no such cast");
    assert!(refused.to_string().contains("between user and kernel"), "{refused}");
}

#[test]
fn a_jump_through_a_register_stays_in_its_function() {
    // 0: r1 = insn ll; 2: gotox r1; 3, 4: r0 = 1; exit; 5, 6: r0 = 2; exit; 7: another function.
    let run = |to: u64| {
        let body = [insn(0x0d, 1, 0, 0, 0), mov(0, 1), EXIT, mov(0, 2), EXIT, mov(0, 3), EXIT];
        let insns = [&ld64(1, to)[..], &body].concat();
        let funcs = vec![Function { name: "other".into(), insn: 7, global: false }];
        run_spec(CodeSpec { funcs, jump_targets: vec![3, 5], ..spec(&insns) }).0
    };
    assert_eq!(run(Code::insn_addr(1, 3)), Outcome::Returned(1));
    assert_eq!(run(Code::insn_addr(1, 5)), Outcome::Returned(2));
    for bad in
        [Code::insn_addr(1, 7), Code::insn_addr(1, 1), Code::insn_addr(2, 3), Code::insn_addr(1, 3) + 4, 3]
    {
        match run(bad) {
            Outcome::Fault(fault) => assert_eq!((fault.kind.id(), fault.at.insn), ("bad-call-target", 2)),
            other => panic!("{bad:#x}: {other:?}"),
        }
    }
}

#[test]
fn what_a_jump_through_a_register_leads_to_knows_its_pointers() {
    // r1 is a pointer; gotox r2; 6: r0 = *(u64 *)(r1 + 0).
    let insns = [
        &pointer(0)[..],
        &ld64(2, Code::insn_addr(1, 7)),
        &[insn(0x7a, 1, 0, 0, 5), insn(0x0d, 2, 0, 0, 0), insn(0x79, 0, 1, 0, 0), EXIT],
    ]
    .concat();
    assert_eq!(run_spec(CodeSpec { jump_targets: vec![7], ..spec(&insns) }).0, Outcome::Returned(5));
}
