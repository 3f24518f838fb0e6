//! Control flow: jumps, calls, limits, and stopping and going on.

use bpf_vm_shim::env::NoEnv;
use bpf_vm_shim::exec::{InsnView, Limits, Observer, Outcome, Step};
use bpf_vm_shim::fault::FaultKind;
use bpf_vm_shim::isa::Insn;

use crate::support::{EXIT, compile, faults, insn, ld64, mov, returns, start};

/// Counts to `n` in R0.
fn counting(n: i32) -> Vec<Insn> {
    vec![mov(0, 0), insn(0x07, 0, 0, 0, 1), insn(0x55, 0, 0, -2, n), EXIT]
}

#[test]
fn every_instruction_is_counted_once() {
    let code = compile(&counting(10)).unwrap();
    let (mut run, mut mem) = start(&code, Limits::default());
    assert_eq!(run.run(&mut mem, &mut NoEnv), Outcome::Returned(10));
    assert_eq!(run.executed(), 1 + 2 * 10 + 1);
    let mut wide = ld64(0, 5).to_vec();
    wide.push(EXIT);
    let (mut run, mut mem) = start(&compile(&wide).unwrap(), Limits::default());
    run.run(&mut mem, &mut NoEnv);
    assert_eq!(run.executed(), 2, "ld_imm64 is one instruction in two slots");
}

#[test]
fn an_endless_loop_runs_out_of_budget() {
    let code = compile(&[mov(0, 0), insn(0x05, 0, 0, -1, 0), EXIT]).unwrap();
    let (mut run, mut mem) = start(&code, Limits { insns: 1000, ..Limits::default() });
    match run.run(&mut mem, &mut NoEnv) {
        Outcome::Fault(fault) => assert_eq!(fault.kind, FaultKind::Budget { limit: 1000 }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_in_slices_ends_as_one_in_a_piece() {
    let code = compile(&counting(1000)).unwrap();
    for slice in [1, 2, 7, 100, 5000] {
        let (mut run, mut mem) = start(&code, Limits::default());
        let mut pauses = 0;
        let outcome = loop {
            match run.run_slice(&mut mem, &mut NoEnv, slice) {
                Step::Paused => pauses += 1,
                Step::Done(outcome) => break outcome,
            }
        };
        assert_eq!(outcome, Outcome::Returned(1000));
        assert_eq!(run.executed(), 2002);
        assert_eq!(pauses > 0, slice < 2002, "slice {slice}: {pauses} pauses");
    }
}

/// The interpreter takes a few operations in one step, and lets a loop of just these go round in it: neither the count nor
/// where it can be stopped may change by that, nor what happens when the loop is entered in its middle.
#[test]
fn a_loop_of_three_instructions_is_counted_and_stopped_like_any_other() {
    let add = insn(0x07, 0, 0, 0, 1);
    let bodies = [insn(0x0f, 3, 0, 0, 0), insn(0x7b, 10, 0, -8, 0), insn(0x79, 3, 10, -8, 0)];
    for body in bodies {
        for into_the_middle in [false, true] {
            let skip = insn(0x05, 0, 0, i16::from(into_the_middle), 0);
            let program = [
                mov(0, 0),
                mov(3, 0),
                insn(0x7b, 10, 0, -8, 0),
                skip,
                body,
                add,
                insn(0x55, 0, 0, -3, 500),
                EXIT,
            ];
            let whole = 4 + 3 * 500 - u64::from(into_the_middle) + 1;
            for slice in [1, 2, 3, 4, 100, whole - 1] {
                let (mut run, mut mem) = start(&compile(&program).unwrap(), Limits::default());
                let outcome = loop {
                    let before = run.executed();
                    match run.run_slice(&mut mem, &mut NoEnv, slice) {
                        Step::Paused => assert!(run.executed() >= before + slice, "slices of {slice}"),
                        Step::Done(outcome) => break outcome,
                    }
                };
                assert_eq!((outcome, run.executed()), (Outcome::Returned(500), whole), "slices of {slice}");
            }
            let (mut run, mut mem) =
                start(&compile(&program).unwrap(), Limits { insns: 300, ..Limits::default() });
            assert!(matches!(run.run(&mut mem, &mut NoEnv), Outcome::Fault(_)));
            assert!((300..310).contains(&run.executed()), "{}", run.executed());
        }
    }
}

/// Pauses at one instruction, and notes all that it sees.
struct PauseAt {
    insn: u32,
    seen: Vec<u32>,
    armed: bool,
}

impl Observer for PauseAt {
    fn before(&mut self, view: &InsnView<'_>) -> bool {
        if self.armed && view.insn == self.insn {
            return true;
        }
        self.armed = true;
        self.seen.push(view.insn);
        false
    }
}

#[test]
fn a_paused_run_can_be_copied_and_both_go_on() {
    let code = compile(&[mov(0, 1), mov(1, 2), insn(0x0f, 0, 1, 0, 0), EXIT]).unwrap();
    let (mut run, mut mem) = start(&code, Limits::default());
    let mut observer = PauseAt { insn: 2, seen: Vec::new(), armed: true };
    assert_eq!(run.run_observed(&mut mem, &mut NoEnv, &mut observer), Step::Paused);
    assert_eq!((run.insn(), run.regs()[0], run.regs()[1]), (2, 1, 2));
    let (mut copy, mut copied) = (run.clone(), mem.fork());
    assert_eq!(copy.run(&mut copied, &mut NoEnv), Outcome::Returned(3));
    observer.armed = false;
    assert_eq!(run.run_observed(&mut mem, &mut NoEnv, &mut observer), Step::Done(Outcome::Returned(3)));
    assert_eq!(observer.seen, [0, 1, 2, 3]);
    assert_eq!(run.executed(), 4);
}

#[test]
fn copies_of_a_run_in_flight_write_to_memory_of_their_own() {
    let insns = [
        mov(1, 1),
        insn(0x7b, 10, 1, -8, 0), // the stack's page is known to be R10's from here on
        insn(0x79, 0, 10, -8, 0),
        insn(0x07, 0, 0, 0, 1),
        insn(0x7b, 10, 0, -8, 0),
        insn(0x79, 0, 10, -8, 0),
        EXIT,
    ];
    let code = compile(&insns).unwrap();
    let (mut run, mut mem) = start(&code, Limits::default());
    let mut observer = PauseAt { insn: 3, seen: Vec::new(), armed: true };
    assert_eq!(run.run_observed(&mut mem, &mut NoEnv, &mut observer), Step::Paused);
    let (mut copy, mut copied) = (run.clone(), mem.fork());
    assert_eq!(copy.run(&mut copied, &mut NoEnv), Outcome::Returned(2));
    assert_eq!(mem.load(run.regs()[10] - 8, 8), Ok(1));
    assert_eq!(run.run(&mut mem, &mut NoEnv), Outcome::Returned(2));
}

#[test]
fn calls_keep_the_callers_registers_and_have_a_stack_of_their_own() {
    let insns = [
        mov(6, 42),
        insn(0x7a, 10, 0, -8, 7),
        mov(1, 5),
        insn(0x85, 0, 1, 0, 4), // call f
        insn(0x79, 1, 10, -8, 0),
        insn(0x0f, 0, 6, 0, 0),
        insn(0x0f, 0, 1, 0, 0),
        EXIT,
        mov(6, 0), // f: R6 and the stack are its own
        insn(0x7a, 10, 0, -8, 99),
        insn(0xbf, 0, 1, 0, 0),
        EXIT,
    ];
    assert_eq!(returns(&insns), 5 + 42 + 7);
}

#[test]
fn recursion_ends_at_the_kernels_depth() {
    let insns = [insn(0x85, 0, 1, 0, 1), EXIT, insn(0x85, 0, 1, 0, -1), EXIT];
    assert!(matches!(faults(&insns).0, FaultKind::CallDepth { limit: 8 }));
}

#[test]
fn a_function_can_be_called_through_its_address() {
    let insns = [insn(0x18, 2, 4, 0, 3), insn(0, 0, 0, 0, 0), insn(0x8d, 2, 0, 0, 0), EXIT, mov(0, 77), EXIT];
    assert_eq!(returns(&insns), 77);
    let wrong = [mov(2, 8), insn(0x8d, 2, 0, 0, 0), EXIT];
    assert_eq!(faults(&wrong), (FaultKind::BadCallTarget { addr: 8 }, 1));
}

#[test]
fn gotol_and_may_goto_jump() {
    assert_eq!(returns(&[mov(0, 1), insn(0x06, 0, 0, 0, 1), mov(0, 2), EXIT]), 1);
    // may_goto falls through until its budget is spent: the loop ends by itself.
    let insns = [mov(0, 0), insn(0xe5, 0, 0, 2, 0), insn(0x07, 0, 0, 0, 1), insn(0x05, 0, 0, -3, 0), EXIT];
    assert_eq!(returns(&insns), 8 << 20);
}

#[test]
fn registers_that_nothing_wrote_are_not_read() {
    for (insns, reg, at) in [
        (vec![insn(0xbf, 0, 3, 0, 0), EXIT], 3, 0),
        (vec![EXIT], 0, 0),
        (vec![mov(0, 0), insn(0x85, 0, 1, 0, 2), insn(0xbf, 0, 1, 0, 0), EXIT, mov(0, 0), EXIT], 1, 2),
    ] {
        assert_eq!(faults(&insns), (FaultKind::UninitRegister { reg }, at), "{insns:?}");
    }
    // Written on one path only: the kernel may know that the other is not taken.
    let either = [mov(0, 1), insn(0x15, 0, 0, 1, 0), mov(2, 9), insn(0xbf, 0, 2, 0, 0), EXIT];
    assert_eq!(returns(&either), 9);
}
