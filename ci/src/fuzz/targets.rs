//! The entry points that take input from outside.

use std::sync::Arc;

use bpf_harness::{Bpf, Input};
use bpf_vm_shim::btf::{Btf, TypeId};
use bpf_vm_shim::env::NoEnv;
use bpf_vm_shim::exec::{Code, CodeSpec, Execution, Limits};
use bpf_vm_shim::isa::{Insn, disassemble};
use bpf_vm_shim::mem::{Alloc, Area, Memory, RegionKind};
use bpf_vm_shim::object::{KernelProfile, LinkOptions, Object};

use super::Target;
use super::mutate::{Rng, mutate};

/// All targets.
pub(crate) const ALL: &[Target] = &[
    Target { name: "object", run: object },
    Target { name: "btf", run: btf },
    Target { name: "program", run: program },
    Target { name: "machine", run: machine },
];

/// Where an object's bytes of a section are. Reads the ELF headers on its own: the parser is what is being tested.
fn section(
    object: &[u8],
    wanted: impl Fn(&str, u32) -> bool,
    rng: &mut Rng,
) -> Option<std::ops::Range<usize>> {
    let number = |at: usize, size: usize| {
        let bytes = object.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0usize, |n, b| n << 8 | usize::from(*b)))
    };
    let (table, count, names) = (number(40, 8)?, number(60, 2)?, number(62, 2)?);
    let names = number(table + names * 64 + 24, 8)?;
    let mut found = Vec::new();
    for i in 0..count {
        let header = table + i * 64;
        let name = object.get(names + number(header, 4)?..)?.split(|b| *b == 0).next()?;
        let (offset, size) = (number(header + 24, 8)?, number(header + 32, 8)?);
        let flags = number(header + 8, 8)? as u32;
        if size > 0 && wanted(std::str::from_utf8(name).ok()?, flags) {
            found.push(offset..offset + size);
        }
    }
    if found.is_empty() { None } else { Some(rng.pick(&found).clone()) }
}

/// ELF: parsing and linking.
fn object(rng: &mut Rng) {
    let mut bytes = rng.pick(bpf_fixtures::all()).object.to_vec();
    let range = section(&bytes, |_, _| true, rng).unwrap_or(0..bytes.len());
    let range = if rng.below(4) == 0 { 0..bytes.len() } else { range };
    mutate(rng, &mut bytes, range);
    if let Ok(object) = Object::parse(&bytes) {
        let _ = object.link(&KernelProfile::default(), &LinkOptions::default()).map_err(|e| e.to_string());
    }
}

/// BTF: parsing, and every question that is asked of types.
fn btf(rng: &mut Rng) {
    let object = rng.pick(bpf_fixtures::all()).object;
    let Some(range) = section(object, |name, _| name == ".BTF", rng) else { return };
    let mut bytes = object[range].to_vec();
    let all = 0..bytes.len();
    mutate(rng, &mut bytes, all);
    let Ok(btf) = Btf::parse(bytes) else { return };
    for id in 0..btf.len().min(1000) as u32 {
        let id = TypeId(id);
        let _ = btf.get(id).map(|t| btf.find_all(t.name()).count());
        let _ = (btf.resolve(id), btf.size_of(id), btf.align_of(id));
        let _ = (btf.type_name(id), btf.c_decl(id, "x"), btf.decl_tags(id).count());
    }
}

/// The interpreter: programs of random instructions, most of them nearly valid.
fn program(rng: &mut Rng) {
    let count = 1 + rng.below(30);
    let mut insns: Vec<Insn> = (0..count).map(|_| insn(rng, count)).collect();
    insns.push(Insn { opcode: 0x95, dst: 0, src: 0, off: 0, imm: 0 });
    for (i, insn) in insns.iter().enumerate() {
        let _ = disassemble(insn, insns.get(i + 1));
    }
    let spec =
        CodeSpec { id: 1, name: "fuzz", insns: &insns, lenient: rng.below(2) == 0, ..CodeSpec::default() };
    let Ok(code) = Code::new(spec) else { return };
    let mut mem = Memory::default();
    let stack = Execution::alloc_stack(&mut mem).expect("an empty memory has room for a stack");
    let ctx = Alloc::new(Area::Context, RegionKind::Context, 64, "ctx");
    let ctx = mem.alloc(ctx).expect("an empty memory has room for a context");
    let limits = Limits { insns: 10_000, uninit_stack: rng.below(2) == 0 };
    let mut run = Execution::new(Arc::new(code), [ctx, 64, 0, 0, 0], stack, limits, &mut mem);
    let _ = run.run(&mut mem, &mut NoEnv);
}

/// An instruction: any opcode, or one of those that programs are made of, with registers and offsets that make sense.
fn insn(rng: &mut Rng, count: usize) -> Insn {
    const COMMON: [u8; 24] = [
        0xb7, 0xbf, 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x97, 0xb4, 0xbc, 0x61, 0x79, 0x7b, 0x63,
        0x7a, 0xdb, 0xc3, 0x05, 0x15, 0x2d, 0x85,
    ];
    let opcode = if rng.below(6) == 0 { rng.next() as u8 } else { *rng.pick(&COMMON) };
    let jump = matches!(opcode & 7, 5 | 6);
    let off = match rng.below(8) {
        0 => rng.next() as i16,
        _ if jump => rng.below(count) as i16 - count as i16 / 2,
        _ => -8 * rng.below(8) as i16,
    };
    let imm = match rng.below(4) {
        0 => rng.next() as i32,
        1 if opcode == 0x85 => rng.below(count) as i32 - count as i32 / 2,
        _ => rng.below(16) as i32,
    };
    let src = if opcode == 0x85 { rng.below(3) as u8 } else { rng.below(12) as u8 };
    Insn { opcode, dst: rng.below(12) as u8, src, off, imm }
}

/// The whole machine: objects with changed code and data, loaded and run against the simulated kernel.
fn machine(rng: &mut Rng) {
    /// `SHF_EXECINSTR`.
    const EXECUTABLE: u32 = 4;
    let mut bytes = rng.pick(bpf_fixtures::all()).object.to_vec();
    if let Some(range) = section(&bytes, |n, flags| flags & EXECUTABLE != 0 || n == ".maps", rng) {
        mutate(rng, &mut bytes, range);
    }
    let Ok(mut bpf) = Bpf::builder().object(bytes).budget(20_000).load() else { return };
    let names: Vec<String> = bpf.program_names().map(str::to_owned).collect();
    for name in names {
        if let Ok(report) = bpf.run(&name, Input::default_for_type()) {
            let _ = report.diagnostic.map(|d| (d.to_string(), d.render(false)));
        }
    }
}
