//! The entry points that take input from outside.

use std::path::Path;
use std::sync::Arc;

use bpf_harness::scenario::play;
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
    Target { name: "scenario", run: scenario },
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
    for id in 0..btf.len().min(1000) {
        let id = TypeId(id);
        let _ = btf.get(id).map(|t| btf.find_all(t.name()).count());
        let _ = (btf.resolve(id), btf.size_of(id), btf.align_of(id));
        let _ = (btf.type_name(id), btf.c_decl(id, "x"), btf.decl_tags(id).count());
    }
}

/// The interpreter: programs of random instructions, most of them nearly valid.
fn program(rng: &mut Rng) {
    let count = 11 + rng.below(30);
    // Registers begin with some value, so that few programs end at once; R1 and R2 are the program's arguments.
    let set = |dst| Insn { opcode: 0xb7, dst, src: 0, off: 0, imm: i32::from(dst) * 1000 };
    let mut insns: Vec<Insn> = [0, 3, 4, 5, 6, 7, 8, 9].map(set).into();
    insns.extend((insns.len()..count).map(|at| insn(rng, at, count)));
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

/// The instruction at place `at` of `count`: mostly valid, with values that programs get wrong.
fn insn(rng: &mut Rng, at: usize, count: usize) -> Insn {
    const OPS: [u8; 40] = [
        0xb7, 0xbf, 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x97, 0x9f, 0x67, 0x6f, 0xc7, 0xcf, 0xb4,
        0xbc, 0x34, 0x3c, 0x87, 0xdc, 0xd4, 0xd7, 0x61, 0x69, 0x71, 0x79, 0x81, 0x91, 0x63, 0x7b, 0x7a, 0x73,
        0xdb, 0xc3, 0x05, 0x15, 0x2d, 0x85,
    ];
    let mut insn = Insn {
        opcode: *rng.pick(&OPS),
        dst: rng.below(10) as u8,
        src: rng.below(11) as u8,
        off: 0,
        imm: *rng.pick(&[1, 2, 8, 16, 31, 63, -1, i32::MIN, i32::MAX]),
    };
    let target = |rng: &mut Rng| rng.below(count) as i64 - at as i64 - 1;
    match insn.opcode {
        0x85 => {
            insn.dst = 0;
            insn.src = rng.below(2) as u8;
            insn.imm = if insn.src == 1 { target(rng) as i32 } else { rng.below(300) as i32 };
        }
        0x05 | 0x15 | 0x2d => insn.off = target(rng) as i16,
        0xdc | 0xd4 | 0xd7 => (insn.src, insn.imm) = (0, *rng.pick(&[16, 32, 64])),
        0xdb | 0xc3 => {
            insn.imm = *rng.pick(&[0, 1, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1, 0x100, 0x110]);
            (insn.dst, insn.off) = (10, -8 * (1 + rng.below(4) as i16));
        }
        op if matches!(op & 7, 1..=3) => {
            // Around the stack or the context, rarely elsewhere; rarely not aligned.
            insn.off = -8 * (1 + rng.below(66) as i16) + i16::from(rng.below(8) == 0);
            if rng.below(4) != 0 {
                *(if op & 7 == 1 { &mut insn.src } else { &mut insn.dst }) = 10;
            }
        }
        op if op & 7 == 7 || op & 7 == 4 => {
            insn.off = i16::from(rng.below(4) == 0 && matches!(op & 0xf0, 0x30 | 0x90));
            if op & 8 != 0 || op == 0x87 {
                insn.imm = 0;
            }
            if matches!(op & 0xf0, 0x60 | 0x70 | 0xc0) {
                insn.imm &= 31;
            }
        }
        _ => {}
    }
    let register = insn.opcode & 8 != 0 || matches!(insn.opcode & 7, 1 | 3) || insn.opcode == 0x85;
    if !register {
        insn.src = 0;
    }
    if insn.opcode == 0x05 {
        (insn.dst, insn.imm) = (0, 0);
    }
    if matches!(insn.opcode & 7, 1 | 3) && !matches!(insn.opcode, 0xdb | 0xc3) || insn.opcode == 0x2d {
        insn.imm = 0;
    }
    if rng.below(100) == 0 {
        insn.opcode = rng.next() as u8;
    }
    insn
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

/// Scenario files, played with the object that they are for.
fn scenario(rng: &mut Rng) {
    let (name, text) = rng.pick(bpf_fixtures::SCENARIOS);
    let mut bytes = text.as_bytes().to_vec();
    let all = 0..bytes.len();
    mutate(rng, &mut bytes, all);
    let Ok(text) = String::from_utf8(bytes) else { return };
    let Some(Ok(object)) = bpf_fixtures::object(name).map(Object::parse) else { return };
    let builder = Bpf::builder().budget(20_000);
    // Nothing is read but what the scenario names, beside it: there is no such folder.
    let _ = play(Path::new("no such folder/fuzz.toml"), &text, object, builder)
        .map_err(|e| e.render().to_owned());
}
