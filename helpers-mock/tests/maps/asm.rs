//! Just enough assembly.

use bpf_helpers_mock::Machine;
use bpf_helpers_mock::maps::MapId;
use bpf_vm_shim::exec::{Code, CodeSpec, Execution, Limits, Outcome};
use bpf_vm_shim::isa::Insn;
use std::sync::Arc;

pub(crate) const fn insn(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { opcode, dst, src, off, imm }
}

/// `rD = imm`
pub(crate) const fn mov(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}

/// `rD = rS`
pub(crate) const fn mov_reg(dst: u8, src: u8) -> Insn {
    insn(0xbf, dst, src, 0, 0)
}

/// `rD += imm`
pub(crate) const fn add(dst: u8, imm: i32) -> Insn {
    insn(0x07, dst, 0, 0, imm)
}

/// `*(u32 *)(rD + off) = imm`
pub(crate) const fn store(dst: u8, off: i16, imm: i32) -> Insn {
    insn(0x62, dst, 0, off, imm)
}

/// `rD = *(u32 *)(rS + off)`
pub(crate) const fn load(dst: u8, src: u8, off: i16) -> Insn {
    insn(0x61, dst, src, off, 0)
}

/// `if rD == imm goto +off`
pub(crate) const fn jeq(dst: u8, imm: i32, off: i16) -> Insn {
    insn(0x15, dst, 0, off, imm)
}

pub(crate) const fn call(id: i32) -> Insn {
    insn(0x85, 0, 0, 0, id)
}

pub(crate) const fn exit() -> Insn {
    insn(0x95, 0, 0, 0, 0)
}

/// `rD = imm ll`
pub(crate) const fn imm64(dst: u8, v: u64) -> [Insn; 2] {
    [insn(0x18, dst, 0, 0, v as u32 as i32), insn(0, 0, 0, 0, (v >> 32) as u32 as i32)]
}

/// `r1 = map; r2 = fp - 4, holding key`
pub(crate) fn map_and_key(map: MapId, key: i32) -> Vec<Insn> {
    [&imm64(1, map.addr())[..], &[store(10, -4, key), mov_reg(2, 10), add(2, -4)]].concat()
}

/// Runs code on the machine.
pub(crate) fn run(machine: &mut Machine, insns: &[Insn]) -> Outcome {
    let spec = CodeSpec { name: "test", insns, ..CodeSpec::default() };
    let code = Code::new(spec).unwrap_or_else(|e| panic!("{e}"));
    let stack = Execution::alloc_stack(&mut machine.mem).expect("memory");
    let mut run = Execution::new(Arc::new(code), [0; 5], stack, Limits::default(), &mut machine.mem);
    run.run(&mut machine.mem, &mut machine.kernel)
}
