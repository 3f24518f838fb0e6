//! For unit tests of helpers: one call from a tiny program.

use std::collections::BTreeMap;
use std::sync::Arc;

use bpf_vm_shim::exec::{Code, CodeSpec, Execution, Limits, Outcome};
use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::mem::{Alloc, Area, Perm, RegionKind};
use bpf_vm_shim::object::KernelProfile;

use crate::machine::Machine;

/// A default machine.
pub(crate) fn machine() -> Machine {
    Machine::new(KernelProfile::default())
}

/// Calls a helper with these arguments from a program whose context is address 0.
#[track_caller]
pub(crate) fn call(machine: &mut Machine, id: u32, args: &[u64]) -> Outcome {
    let mut insns = Vec::new();
    for (reg, arg) in (1..).zip(args) {
        insns.push(Insn { opcode: 0x18, dst: reg, imm: *arg as u32 as i32, ..Insn::default() });
        insns.push(Insn { imm: (*arg >> 32) as u32 as i32, ..Insn::default() });
    }
    insns.push(Insn { opcode: 0x85, imm: id.cast_signed(), ..Insn::default() });
    insns.push(Insn { opcode: 0x95, ..Insn::default() });
    let spec = CodeSpec {
        id: 0,
        name: "test",
        insns: &insns,
        funcs: Vec::new(),
        poisoned: BTreeMap::new(),
        exception_cb: None,
        lenient: true,
        ..CodeSpec::default()
    };
    let code = Arc::new(Code::new(spec).unwrap());
    let stack = Execution::alloc_stack(&mut machine.mem).unwrap();
    let mut run = Execution::new(code, [0; 5], stack, Limits::default(), &mut machine.mem);
    run.run(&mut machine.mem, &mut machine.kernel)
}

/// What a helper returned, as a signed number.
#[track_caller]
pub(crate) fn ret(machine: &mut Machine, id: u32, args: &[u64]) -> i64 {
    match call(machine, id, args) {
        Outcome::Returned(v) => v.cast_signed(),
        other => panic!("{other:?}"),
    }
}

/// Memory of the program's, filled with `0xee`.
pub(crate) fn buffer(machine: &mut Machine, size: u32) -> u64 {
    put(machine, &vec![0xee; size as usize], Perm::ReadWrite)
}

/// Bytes that only probing reaches.
pub(crate) fn kernel_bytes(machine: &mut Machine, bytes: &[u8]) -> u64 {
    put(machine, bytes, Perm::ProbeOnly)
}

pub(crate) fn put(machine: &mut Machine, bytes: &[u8], perm: Perm) -> u64 {
    let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, bytes.len() as u32, "test").perm(perm);
    let addr = machine.mem.alloc(alloc).unwrap();
    machine.mem.poke(addr, bytes).unwrap();
    addr
}

/// What is in memory.
pub(crate) fn bytes(machine: &mut Machine, addr: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    machine.mem.peek(addr, &mut out).unwrap();
    out
}
