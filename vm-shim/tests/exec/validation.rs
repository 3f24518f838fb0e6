//! What is refused before anything runs, and what is not.

use bpf_vm_shim::exec::InvalidKind;
use bpf_vm_shim::fault::FaultKind;
use bpf_vm_shim::isa::Insn;

use crate::support::{EXIT, compile, faults, insn, mov, returns};

#[track_caller]
fn refused(insns: &[Insn], at: usize, problem: &InvalidKind) {
    let error = compile(insns).unwrap_err();
    assert_eq!((error.insn, &error.problem), (at, problem), "{error}");
}

#[test]
fn malformed_programs_are_refused_with_the_place() {
    refused(&[], 0, &InvalidKind::Empty);
    refused(&[mov(0, 0), insn(0xff, 0, 0, 0, 0), EXIT], 1, &InvalidKind::UnknownOpcode(0xff));
    refused(&[insn(0x07, 0, 0, 5, 0), EXIT], 0, &InvalidKind::UnknownVariant(0x07));
    refused(&[insn(0xb7, 11, 0, 0, 0), EXIT], 0, &InvalidKind::BadRegister(11));
    refused(&[insn(0xbf, 0, 12, 0, 0), EXIT], 0, &InvalidKind::BadRegister(12));
    refused(&[insn(0xb7, 0, 3, 0, 0), EXIT], 0, &InvalidKind::ReservedFields);
    refused(&[insn(0x18, 0, 0, 0, 0)], 0, &InvalidKind::BadImm64);
    refused(&[insn(0x18, 0, 0, 0, 0), mov(0, 0), EXIT], 0, &InvalidKind::BadImm64);
    refused(&[insn(0x18, 0, 1, 0, 0), insn(0, 0, 0, 0, 0), EXIT], 0, &InvalidKind::Unresolved(1));
    refused(&[insn(0x05, 0, 0, 7, 0), EXIT], 0, &InvalidKind::JumpOutOfRange { from: 0, to: 8 });
    refused(&[insn(0x05, 0, 0, -7, 0), EXIT], 0, &InvalidKind::JumpOutOfRange { from: 0, to: -6 });
    let middle = [insn(0x05, 0, 0, 1, 0), insn(0x18, 0, 0, 0, 0), insn(0, 0, 0, 0, 0), EXIT];
    refused(&middle, 0, &InvalidKind::JumpIntoImm64(1));
    refused(&[mov(0, 0)], 0, &InvalidKind::FallsOff);
}

#[test]
fn a_jump_into_another_function_is_refused() {
    let insns = [insn(0x85, 0, 1, 0, 2), insn(0x05, 0, 0, 2, 0), EXIT, mov(0, 0), EXIT];
    refused(&insns, 1, &InvalidKind::JumpOutOfRange { from: 1, to: 4 });
}

#[test]
fn what_nothing_reaches_may_have_bad_fields() {
    assert_eq!(returns(&[mov(0, 3), insn(0x05, 0, 0, 1, 0), insn(0xb7, 11, 0, 0, 0), EXIT]), 3);
}

#[test]
fn constants_that_only_a_dead_path_uses_wait_until_they_are_reached() {
    let dead = |taken: i32| [mov(0, 1), insn(0x15, 0, 0, 1, taken), insn(0x37, 0, 0, 0, 0), EXIT];
    assert_eq!(returns(&dead(1)), 1);
    assert!(matches!(faults(&dead(2)), (FaultKind::InvalidInstruction { .. }, 2)));
}
