//! Small assembled programs: what is changed, and that the result is the same.

use std::sync::Arc;

use bpf_vm_shim::btf::{Btf, BtfBuilder, IntEncoding, Linkage, Param, TypeId};
use bpf_vm_shim::exec::{Code, CodeSpec, Execution, Function, Limits, Outcome};
use bpf_vm_shim::isa::{Insn, disassemble, pseudo};
use bpf_vm_shim::mem::Perm;
use bpf_vm_shim::object::{Arch, KernelProfile, ProgType};
use proptest::prelude::*;

use super::{Options, PassError, Reader, Rewritten, rewrite};
use crate::flow::{Subject, Tables};
use crate::testing;

fn ins(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { opcode, dst, src, off, imm }
}

fn mov(dst: u8, imm: i32) -> Insn {
    ins(0xb7, dst, 0, 0, imm)
}

fn copy(dst: u8, src: u8) -> Insn {
    ins(0xbf, dst, src, 0, 0)
}

fn load(dst: u8, src: u8, off: i16) -> Insn {
    ins(0x79, dst, src, off, 0)
}

fn exit() -> Insn {
    ins(0x95, 0, 0, 0, 0)
}

fn pass(
    prog_type: ProgType,
    insns: &[Insn],
    functions: &[usize],
    options: &Options,
) -> Result<Rewritten, PassError> {
    let subject = Subject { prog_type, insns, functions, poisoned: None, tables: Tables::default() };
    rewrite("test", &subject, None, options)
}

fn kprobe(insns: &[Insn]) -> Rewritten {
    pass(ProgType::Kprobe, insns, &[0], &Options::default()).unwrap()
}

/// Runs a program whose context is these words.
#[track_caller]
fn run(insns: &[Insn], functions: &[usize], memory: &[u8]) -> Outcome {
    let mut machine = testing::machine();
    let data = testing::put(&mut machine, memory, Perm::ReadWrite);
    let mut ctx = data.to_le_bytes().to_vec();
    ctx.resize(168, 0);
    let ctx = testing::put(&mut machine, &ctx, Perm::ReadOnly);
    let funcs = functions.iter().map(|f| Function { name: "".into(), insn: *f, global: false }).collect();
    let spec = CodeSpec { name: "test", insns, funcs, ..CodeSpec::default() };
    let code = Arc::new(Code::new(spec).unwrap());
    let stack = Execution::alloc_stack(&mut machine.mem).unwrap();
    let mut run = Execution::new(code, [ctx, 0, 0, 0, 0], stack, Limits::default(), &mut machine.mem);
    run.run(&mut machine.mem, &mut machine.kernel)
}

fn text(insns: &[Insn]) -> Vec<String> {
    let mut out = Vec::new();
    let mut slot = 0;
    while let Some(insn) = insns.get(slot) {
        out.push(disassemble(insn, insns.get(slot + 1)));
        slot += if insn.is_ld_imm64() { 2 } else { 1 };
    }
    out
}

#[test]
fn a_load_through_a_number_becomes_a_read() {
    // r1 = ctx->di; r0 = *(r1 + 16), with r2 needed afterwards
    let done = kprobe(&[mov(2, 7), load(1, 1, 112), load(0, 1, 16), ins(0x0f, 0, 2, 0, 0), exit()]);
    assert_eq!(done.report.probe_reads, 1);
    let expected = [
        "r2 = 0x7",
        "r1 = *(u64 *)(r1 + 0x70)",
        "*(u64 *)(r10 - 0x10) = r2",
        "r3 = r1",
        "r3 += 0x10",
        "r1 = r10",
        "r1 += -0x8",
        "r2 = 0x8",
        "call 0x4",
        "r2 = *(u64 *)(r10 - 0x10)",
        "r0 = *(u64 *)(r10 - 0x8)",
        "r0 += r2",
        "exit",
    ];
    assert_eq!(text(&done.insns), expected);
    assert_eq!(done.places, [0, 1, 2, 11, 12, 13]);
}

#[test]
fn only_what_may_not_be_read_is_changed() {
    use ProgType as P;
    // (program type, whether a load through a field of the context is changed)
    let table = [
        (P::Kprobe, true),
        (P::Tracepoint, true),
        (P::PerfEvent, true),
        (P::RawTracepoint, true),
        (P::Tracing, false),
        (P::Lsm, false),
        (P::Xdp, false),
        (P::SchedCls, false),
        (P::SocketFilter, false),
    ];
    for (prog_type, changed) in table {
        let insns = [load(1, 1, 16), load(0, 1, 0), exit()];
        let done = pass(prog_type, &insns, &[0], &Options::default()).unwrap();
        assert_eq!(done.report.probe_reads > 0, changed, "{prog_type}");
        assert_eq!(done.insns == insns, !changed, "{prog_type}");
    }
}

#[test]
fn memory_of_the_program_is_read_directly() {
    let map = |dst| [ins(0x18, dst, pseudo::MAP_FD, 0, 3), ins(0, 0, 0, 0, 0)];
    let [m1, m2] = map(1);
    let lookup = [
        ins(0x7a, 10, 0, -8, 0),
        copy(2, 10),
        ins(0x07, 2, 0, 0, -8),
        m1,
        m2,
        ins(0x85, 0, 0, 0, 1),
        // A copy is made before the test, and spilled.
        copy(6, 0),
        ins(0x7b, 10, 6, -16, 0),
        ins(0x15, 0, 0, 3, 0),
        load(0, 6, 0),
        load(1, 10, -16),
        load(0, 1, 8),
        mov(0, 0),
        exit(),
    ];
    assert!(kprobe(&lookup).report.is_empty());
    // A pointer that the other path makes a number is no pointer.
    let mixed = [
        load(2, 1, 0),
        copy(3, 10),
        ins(0x07, 3, 0, 0, -8),
        ins(0x7a, 10, 0, -8, 5),
        ins(0x15, 2, 0, 1, 0),
        copy(3, 2),
        load(0, 3, 0),
        exit(),
    ];
    assert_eq!(kprobe(&mixed).report.probe_reads, 1);
}

#[test]
fn a_caller_s_stack_is_followed_into_functions() {
    // The caller stores a map's value and a number; the callee loads both through a pointer and reads behind each.
    let insns = [
        ins(0x18, 2, pseudo::MAP_VALUE, 0, 3),
        ins(0, 0, 0, 0, 0),
        ins(0x7b, 10, 2, -8, 0),
        load(3, 1, 0),
        ins(0x7b, 10, 3, -16, 0),
        copy(1, 10),
        ins(0x07, 1, 0, 0, -16),
        ins(0x85, 0, pseudo::CALL_LOCAL, 0, 1),
        exit(),
        load(2, 1, 8),
        load(0, 2, 0),
        load(2, 1, 0),
        load(0, 2, 0),
        exit(),
    ];
    let done = pass(ProgType::Kprobe, &insns, &[0, 9], &Options::default()).unwrap();
    assert_eq!(done.report.probe_reads, 1);
    assert_eq!(done.places[12] + 6, done.places[13]);
    assert_eq!(done.insns[7].imm, 1);
}

#[test]
fn the_helper_follows_the_options() {
    let insns = [load(1, 1, 16), load(0, 1, 0), exit()];
    let old = KernelProfile { version: KernelProfile::kernel_version(5, 4, 0), ..KernelProfile::default() };
    // (options, helper)
    let table = [
        (Options::default(), 4),
        (Options::default().with_reader(Reader::Kernel), 113),
        (Options::for_kernel(&old).with_reader(Reader::Kernel), 4),
    ];
    for (options, helper) in table {
        let done = pass(ProgType::Kprobe, &insns, &[0], &options).unwrap();
        let call = done.insns.iter().find(|i| i.is_helper_call()).unwrap();
        assert_eq!(call.imm, helper, "{options:?}");
    }
    let off = Options::default().with_probe_reads(false);
    assert!(pass(ProgType::Kprobe, &insns, &[0], &off).unwrap().report.is_empty());
}

#[test]
fn a_full_stack_is_said() {
    let full = [ins(0x7a, 10, 0, -512, 1), load(1, 1, 16), load(0, 1, 0), exit()];
    let error = pass(ProgType::Kprobe, &full, &[0], &Options::default()).unwrap_err();
    assert!(matches!(error, PassError::NoStack { insn: 2, used: 512, needed: 8, .. }), "{error}");
    let fits = [ins(0x7a, 10, 0, -504, 1), load(1, 1, 16), load(0, 1, 0), exit()];
    assert_eq!(kprobe(&fits).report.probe_reads, 1);
}

#[test]
fn functions_that_call_one_another_share_the_stack() {
    let insns = [
        ins(0x7a, 10, 0, -256, 1),
        load(1, 1, 16),
        ins(0x85, 0, pseudo::CALL_LOCAL, 0, 1),
        exit(),
        ins(0x7a, 10, 0, -256, 1),
        load(0, 1, 0),
        exit(),
    ];
    let error = pass(ProgType::Kprobe, &insns, &[0, 4], &Options::default()).unwrap_err();
    assert!(matches!(error, PassError::CallStack { used: 544, .. }), "{error}");
}

#[test]
fn jumps_that_become_too_long_take_another_form() {
    // if r2 == 0 skip 5000 loads, each of which becomes seven or more instructions
    let mut insns = vec![copy(6, 1), load(6, 6, 0), load(2, 6, 0), ins(0x15, 2, 0, 5000, 0)];
    insns.extend((0..5000).map(|_| load(0, 6, 8)));
    insns.extend([mov(0, 5), exit()]);
    let old = KernelProfile { version: KernelProfile::kernel_version(6, 5, 0), ..KernelProfile::default() };
    let error = pass(ProgType::Kprobe, &insns, &[0], &Options::for_kernel(&old)).unwrap_err();
    assert!(matches!(error, PassError::JumpTooLong { insn: 3, .. }), "{error}");
    let done = kprobe(&insns);
    let at = done.places[3];
    assert_eq!(text(&done.insns[at..at + 2]), ["if r2 == 0x0 goto +0x1", "goto +0x1"]);
    assert_eq!(done.insns[at + 2].opcode, 0x06);
    for (first, expected) in [(0u64, 5), (1, 5)] {
        let memory = [first.to_le_bytes(), [7; 8]].concat();
        assert_eq!(run(&done.insns, &[0], &memory), Outcome::Returned(expected));
    }
}

/// `int f(ctx, ...)` with parameters of these types.
fn typed(build: impl FnOnce(&mut BtfBuilder) -> Vec<TypeId>) -> (Btf, TypeId) {
    let mut b = BtfBuilder::new();
    let int = b.add_int("int", 4, IntEncoding::SIGNED);
    let ctx = b.add_ptr(TypeId::VOID);
    let types = build(&mut b);
    let params: Vec<_> = [ctx].into_iter().chain(types).map(|type_id| Param { name: "p", type_id }).collect();
    let proto = b.add_func_proto(int, &params);
    let func = b.add_func("f", proto, Linkage::Global);
    (Btf::parse(b.build()).unwrap(), func)
}

fn with_arguments(
    name: &str,
    typed: &(Btf, TypeId),
    options: &Options,
    body: &[Insn],
) -> Result<Rewritten, PassError> {
    let tables = Tables { btf: Some(&typed.0), ..Tables::default() };
    let subject =
        Subject { prog_type: ProgType::Kprobe, insns: body, functions: &[0], poisoned: None, tables };
    rewrite(name, &subject, Some(typed.1), options)
}

#[test]
fn arguments_are_loaded_by_width_and_sign() {
    let types = typed(|b| {
        vec![
            b.add_ptr(TypeId::VOID),
            b.add_int("int", 4, IntEncoding::SIGNED),
            b.add_int("unsigned short", 2, IntEncoding::UNSIGNED),
            b.add_int("signed char", 1, IntEncoding::SIGNED),
        ]
    });
    let body = [copy(0, 2), exit()];
    let done = with_arguments("kprobe__f", &types, &Options::default(), &body).unwrap();
    assert_eq!(done.report.arguments, 4);
    let expected = [
        "r2 = *(u64 *)(r1 + 0x70)",
        "w3 = *(u32 *)(r1 + 0x68)",
        "r3 <<= 0x20",
        "r3 s>>= 0x20",
        "w4 = *(u16 *)(r1 + 0x60)",
        "w5 = *(u8 *)(r1 + 0x58)",
        "r5 <<= 0x38",
        "r5 s>>= 0x38",
        "r0 = r2",
        "exit",
    ];
    assert_eq!(text(&done.insns), expected);
    assert_eq!(done.places, [0, 9, 10]);
    // Done twice is done once.
    assert!(with_arguments("kprobe__f", &types, &Options::default(), &done.insns).unwrap().report.is_empty());
    let arm = KernelProfile { arch: Arch::Arm64, ..KernelProfile::default() };
    let done = with_arguments("kprobe__f", &types, &Options::for_kernel(&arm), &body).unwrap();
    assert_eq!(text(&done.insns[..2]), ["r2 = *(u64 *)(r1 + 0x0)", "w3 = *(u32 *)(r1 + 0x8)"]);
}

#[test]
fn a_system_call_s_arguments_are_behind_its_wrapper_s() {
    let types = typed(|b| {
        let long = b.add_int("long", 8, IntEncoding::SIGNED);
        vec![long, long, long, long]
    });
    let bare = KernelProfile { syscall_wrapper: false, ..KernelProfile::default() };
    let body = [copy(0, 5), exit()];
    // (name, options, offset of the fourth argument in the inner registers, or none)
    let table = [
        ("syscall__openat", Options::default(), Some(56)),
        ("kprobe____x64_sys_openat", Options::default(), Some(56)),
        ("kprobe____x64_other", Options::default(), None),
        ("syscall__openat", Options::for_kernel(&bare), None),
    ];
    for (name, options, inner) in table {
        let done = with_arguments(name, &types, &options, &body).unwrap();
        let offsets: Vec<_> =
            done.insns.iter().filter(|i| i.opcode == 0x07 && i.dst == 3).map(|i| i.imm).collect();
        assert_eq!(offsets.last().copied(), inner, "{name}");
    }
}

#[test]
fn parameters_that_no_register_holds_are_named() {
    let wide = typed(|b| vec![b.add_struct("pair", 16, &[])]);
    let error = with_arguments("f", &wide, &Options::default(), &[exit()]).unwrap_err();
    assert!(
        matches!(&error, PassError::Parameter { parameter: 2, type_name, .. } if type_name == "struct pair")
    );
    let many = typed(|b| vec![b.add_int("int", 4, IntEncoding::SIGNED); 5]);
    let error = with_arguments("f", &many, &Options::default(), &[exit()]).unwrap_err();
    assert!(matches!(error, PassError::TooManyParameters { count: 6, .. }), "{error}");
}

#[test]
fn a_loop_to_the_first_instruction_does_not_load_the_arguments_again() {
    let types = typed(|b| vec![b.add_ptr(TypeId::VOID)]);
    // r2 += 1; if r2 < 10 goto the start
    let body = [ins(0x07, 2, 0, 0, 1), ins(0xa5, 2, 0, -2, 10), copy(0, 2), exit()];
    let options = Options::default();
    let done = with_arguments("f", &types, &options, &body).unwrap();
    assert_eq!(text(&done.insns)[2], "if r2 < 0xa goto -0x2");
    assert_eq!(run(&done.insns, &[0], &[]), Outcome::Returned(10));
}

/// One step of a made-up program; registers are 0 to 5, 8 and 9.
#[derive(Clone, Debug)]
enum Step {
    Alu(u8, u8, u8),
    Load { dst: u8, size: u8, off: i16, via: Option<u8> },
    Spill(u8, i16),
    Fill(u8, i16),
    Skip(u8, i16),
    Call,
}

fn step() -> impl Strategy<Value = Step> {
    let reg = || prop::sample::select(vec![0u8, 1, 2, 3, 4, 5, 8, 9]);
    let slot = || (1i16..=4).prop_map(|s| -8 * s);
    let size = prop::sample::select(vec![0x61u8, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91]);
    prop_oneof![
        (prop::sample::select(vec![0x0fu8, 0x1f, 0x2f, 0xaf, 0x4f]), reg(), reg())
            .prop_map(|(o, d, s)| Step::Alu(o, d, s)),
        (reg(), size, 0i16..56, prop::option::of(reg())).prop_map(|(dst, size, off, via)| Step::Load {
            dst,
            size,
            off,
            via
        }),
        (reg(), slot()).prop_map(|(r, s)| Step::Spill(r, s)),
        (reg(), slot()).prop_map(|(r, s)| Step::Fill(r, s)),
        (reg(), 0i16..5).prop_map(|(r, n)| Step::Skip(r, n)),
        Just(Step::Call),
    ]
}

/// The program, and where its functions start. R7 points to what is read: memory behind a number, or the stack.
fn program(steps: &[Step], number: bool) -> (Vec<Insn>, Vec<usize>) {
    let mut main: Vec<Vec<Insn>> = Vec::new();
    let mut head = vec![copy(6, 1)];
    for slot in 1..=12 {
        head.push(ins(0x7a, 10, 0, -8 * slot, i32::from(slot) * 0x0101_0101));
    }
    if number {
        head.push(load(7, 6, 0));
    } else {
        head.extend([copy(7, 10), ins(0x07, 7, 0, 0, -96)]);
    }
    for reg in [0, 1, 2, 3, 4, 5, 8, 9] {
        head.push(mov(reg, i32::from(reg) * 0x0123_4567));
    }
    main.push(head);
    for step in steps {
        main.push(match step {
            Step::Alu(op, dst, src) => vec![ins(*op, *dst, *src, 0, 0)],
            Step::Load { dst, size, off, via: None } => vec![ins(*size, *dst, 7, *off, 0)],
            Step::Load { dst, size, off, via: Some(via) } => {
                vec![copy(*via, 7), ins(*size, *dst, *via, *off, 0), mov(*via, 3)]
            }
            Step::Spill(reg, slot) => vec![ins(0x7b, 10, *reg, *slot, 0)],
            Step::Fill(reg, slot) => vec![load(*reg, 10, *slot)],
            Step::Skip(reg, _) => vec![ins(0xa5, *reg, 0, 0, 0x10_0000)],
            Step::Call => {
                let mut call = vec![copy(1, 7), ins(0x85, 0, pseudo::CALL_LOCAL, 0, 0)];
                call.extend((1..=5).map(|r| mov(r, i32::from(r) + 7)));
                call
            }
        });
    }
    main.push(
        (1..=9)
            .filter(|r| !matches!(r, 6 | 7))
            .flat_map(|r| [ins(0x27, 0, 0, 0, 31), ins(0xaf, 0, r, 0, 0)])
            .chain([exit()])
            .collect(),
    );
    let starts: Vec<usize> = main
        .iter()
        .scan(0, |at, part| {
            let s = *at;
            *at += part.len();
            Some(s)
        })
        .collect();
    let mut insns: Vec<Insn> = main.concat();
    let callee = insns.len();
    for (i, step) in steps.iter().enumerate() {
        let at = starts[i + 1];
        match step {
            Step::Skip(_, n) => {
                let to = starts[(i + 2 + *n as usize).min(starts.len() - 1)];
                insns[at].off = (to - at - 1) as i16;
            }
            Step::Call => insns[at + 1].imm = (callee - at - 2) as i32,
            _ => {}
        }
    }
    if !steps.iter().any(|s| matches!(s, Step::Call)) {
        return (insns, vec![0]);
    }
    // The callee reads through its argument twice and keeps R9.
    insns.extend([
        load(2, 1, 8),
        copy(9, 1),
        load(3, 9, 16),
        copy(0, 2),
        ins(0xaf, 0, 3, 0, 0),
        ins(0x69, 1, 9, 3, 0),
        ins(0x0f, 0, 1, 0, 0),
        exit(),
    ]);
    (insns, vec![0, callee])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn reads_by_helper_give_what_direct_loads_give(
        steps in prop::collection::vec(step(), 0..24),
        memory in prop::collection::vec(any::<u8>(), 64),
    ) {
        let (insns, functions) = program(&steps, true);
        let expected = run(&insns, &functions, &memory);
        prop_assert!(matches!(expected, Outcome::Returned(_)), "{expected:?}");
        let done = pass(ProgType::Kprobe, &insns, &functions, &Options::default()).unwrap();
        let moved: Vec<usize> = functions.iter().map(|f| done.places[*f]).collect();
        prop_assert_eq!(run(&done.insns, &moved, &memory), expected, "{:#?}", text(&done.insns));
        // Done twice is done once.
        let again = pass(ProgType::Kprobe, &done.insns, &moved, &Options::default()).unwrap();
        prop_assert!(again.report.is_empty());
        prop_assert_eq!(again.insns, done.insns);
    }

    #[test]
    fn programs_that_read_their_own_memory_are_left_alone(steps in prop::collection::vec(step(), 0..24)) {
        let (insns, functions) = program(&steps, false);
        let done = pass(ProgType::Kprobe, &insns, &functions, &Options::default()).unwrap();
        prop_assert!(done.report.is_empty());
        prop_assert_eq!(done.insns, insns);
    }
}

#[test]
fn a_read_of_nothing_gives_zero() {
    let insns = [load(1, 1, 8), load(0, 1, 0), exit()];
    let done = kprobe(&insns);
    assert!(matches!(run(&insns, &[0], &[]), Outcome::Fault(_)));
    assert_eq!(run(&done.insns, &[0], &[]), Outcome::Returned(0));
}
