//! Building and running small programs.

use std::sync::Arc;

use bpf_vm_shim::engine::{Engine, Interp};
use bpf_vm_shim::env::NoEnv;
use bpf_vm_shim::exec::{Code, CodeSpec, Execution, InvalidCode, Limits, Outcome};
use bpf_vm_shim::fault::FaultKind;
use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::mem::Memory;

pub(crate) const fn insn(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { opcode, dst, src, off, imm }
}

/// `dst = imm` in 64 bits.
pub(crate) const fn mov(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}

/// `dst = value`, any 64 bits.
pub(crate) const fn ld64(dst: u8, value: u64) -> [Insn; 2] {
    [insn(0x18, dst, 0, 0, value as u32 as i32), insn(0, 0, 0, 0, (value >> 32) as u32 as i32)]
}

pub(crate) const EXIT: Insn = insn(0x95, 0, 0, 0, 0);

pub(crate) fn compile(insns: &[Insn]) -> Result<Arc<Code>, InvalidCode> {
    Code::new(CodeSpec { id: 1, name: "test", insns, ..CodeSpec::default() }).map(Arc::new)
}

/// A run at its start, with the memory it needs.
pub(crate) fn start(code: &Arc<Code>, limits: Limits) -> (Execution, Memory) {
    let mut mem = Memory::default();
    let stack = Execution::alloc_stack(&mut mem).unwrap();
    (Execution::new(Arc::clone(code), [0; 5], stack, limits, &mut mem), mem)
}

#[track_caller]
pub(crate) fn run_on(engine: &dyn Engine, insns: &[Insn]) -> Outcome {
    let (execution, mut mem) = start(&compile(insns).unwrap(), Limits::default());
    engine.run(execution, &mut mem, &mut NoEnv).0
}

#[track_caller]
pub(crate) fn run(insns: &[Insn]) -> Outcome {
    run_on(&Interp, insns)
}

#[track_caller]
pub(crate) fn returns(insns: &[Insn]) -> u64 {
    match run(insns) {
        Outcome::Returned(v) => v,
        other => panic!("expected a result, got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn faults(insns: &[Insn]) -> (FaultKind, u32) {
    match run(insns) {
        Outcome::Fault(fault) => (fault.kind, fault.at.insn),
        other => panic!("expected a fault, got {other:?}"),
    }
}
