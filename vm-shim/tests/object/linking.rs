//! Programs in one piece: calls, callbacks, lines.

use bpf_vm_shim::btf::{BtfBuilder, BtfExtBuilder, IntEncoding, Linkage, TypeId};
use bpf_vm_shim::isa::{Insn, pseudo};
use bpf_vm_shim::object::{KernelProfile, LinkOptions, Linked, LinkedProgram, Object};

use crate::elf_builder::{ElfBuilder, R64_32, R64_64};
use crate::insns::{EXIT, WIDE, call, ld_imm64, mov};

fn link(elf: &ElfBuilder) -> Linked {
    let object = Object::parse(&elf.build()).unwrap();
    object.link(&KernelProfile::default(), &LinkOptions::default()).unwrap()
}

/// Functions of the program with their starts.
fn layout(p: &LinkedProgram) -> Vec<(&str, usize)> {
    p.subprogs.iter().map(|s| (s.name.as_str(), s.start)).collect()
}

/// Where the call or function address at a slot leads.
fn target(p: &LinkedProgram, at: usize) -> usize {
    (at as i64 + 1 + i64::from(p.insns[at].imm)) as usize
}

/// `.text` with three functions of two instructions, and a caller.
fn calls(caller: &[[u8; 8]]) -> (ElfBuilder, usize, [usize; 4]) {
    let mut elf = ElfBuilder::new();
    let text = elf.code(".text", &[mov(1), EXIT, call(-1), EXIT, mov(3), EXIT]);
    let xdp = elf.code("xdp", caller);
    let a = elf.static_func("a", text, 0, 2);
    let b = elf.func("b", text, 2, 2);
    let c = elf.static_func("c", text, 4, 2);
    elf.func("main", xdp, 0, caller.len() as u64);
    let section = elf.section_symbol(text);
    // b calls c by its symbol.
    elf.reloc(text, 16, c, R64_32);
    (elf, xdp, [a, b, c, section])
}

#[test]
fn calls_by_symbol_and_by_section_bring_their_callees() {
    let (mut elf, xdp, [_, b, _, section]) = calls(&[call(-1), call(-1), call(3), EXIT]);
    elf.reloc(xdp, 0, b, R64_32);
    elf.reloc(xdp, 8, section, R64_32);
    elf.reloc(xdp, 16, section, R64_32);
    let linked = link(&elf);
    let p = &linked.programs[0];
    // Depth first: b, what b calls, then the rest.
    assert_eq!(layout(p), [("main", 0), ("b", 4), ("c", 6), ("a", 8)]);
    assert_eq!([target(p, 0), target(p, 1), target(p, 2), target(p, 4)], [4, 8, 6, 6]);
    assert_eq!(p.insns.len(), 10);
}

#[test]
fn what_nobody_calls_stays_out() {
    let (elf, _, _) = calls(&[mov(0), EXIT]);
    let linked = link(&elf);
    assert_eq!(layout(&linked.programs[0]), [("main", 0)]);
}

#[test]
fn callbacks_are_function_addresses() {
    let (mut elf, xdp, [a, _, _, section]) = calls(&[ld_imm64(0), WIDE, ld_imm64(32), WIDE, EXIT]);
    elf.reloc(xdp, 0, a, R64_64);
    elf.reloc(xdp, 16, section, R64_64);
    let linked = link(&elf);
    let p = &linked.programs[0];
    assert_eq!(layout(p), [("main", 0), ("a", 5), ("c", 7)]);
    assert_eq!((p.insns[0].src, p.insns[2].src), (pseudo::FUNC, pseudo::FUNC));
    assert_eq!((target(p, 0), target(p, 2)), (5, 7));
}

#[test]
fn calls_inside_a_section_need_no_relocation() {
    let mut elf = ElfBuilder::new();
    let xdp = elf.code("xdp", &[call(1), EXIT, mov(7), EXIT]);
    elf.func("main", xdp, 0, 2);
    elf.static_func("sub", xdp, 2, 2);
    let linked = link(&elf);
    let p = &linked.programs[0];
    assert_eq!((layout(p), target(p, 0)), (vec![("main", 0), ("sub", 2)], 2));
}

#[test]
fn a_callee_without_symbol_is_found_by_its_place() {
    let mut elf = ElfBuilder::new();
    let text = elf.code(".text", &[mov(1), EXIT, mov(2), EXIT]);
    let xdp = elf.code("xdp", &[call(1), EXIT]);
    elf.func("main", xdp, 0, 2);
    let section = elf.section_symbol(text);
    elf.reloc(xdp, 0, section, R64_32);
    let linked = link(&elf);
    let p = &linked.programs[0];
    assert_eq!(layout(p), [("main", 0), ("sub_2", 2)]);
    assert_eq!(p.insns[2].imm, 2);
}

#[test]
fn recursion_ends() {
    let mut elf = ElfBuilder::new();
    let text = elf.code(".text", &[call(-1), EXIT]);
    let xdp = elf.code("xdp", &[call(-1), EXIT]);
    let f = elf.func("f", text, 0, 2);
    elf.func("main", xdp, 0, 2);
    elf.reloc(text, 0, f, R64_32);
    elf.reloc(xdp, 0, f, R64_32);
    let linked = link(&elf);
    let p = &linked.programs[0];
    assert_eq!((layout(p), target(p, 0), target(p, 2)), (vec![("main", 0), ("f", 2)], 2, 2));
}

#[test]
fn programs_may_call_into_other_sections() {
    let mut elf = ElfBuilder::new();
    let tc = elf.code("tc", &[mov(5), EXIT]);
    let xdp = elf.code("xdp", &[call(-1), EXIT]);
    let other = elf.func("other", tc, 0, 2);
    elf.func("main", xdp, 0, 2);
    elf.rela(xdp, 0, other, R64_32, 0);
    let linked = link(&elf);
    assert_eq!(linked.programs.len(), 2);
    assert_eq!(layout(&linked.programs[1]), [("main", 0), ("other", 2)]);
}

#[test]
fn a_call_to_nowhere_is_an_error() {
    let mut elf = ElfBuilder::new();
    let xdp = elf.code("xdp", &[call(100), EXIT]);
    elf.func("main", xdp, 0, 2);
    let object = Object::parse(&elf.build()).unwrap();
    let error = object.link(&KernelProfile::default(), &LinkOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "program 'main': instruction 0 of section 'xdp' refers to code behind its section"
    );
}

#[test]
fn optional_programs_are_linked_on_demand() {
    let mut elf = ElfBuilder::new();
    let xdp = elf.code("?xdp", &[mov(0), EXIT]);
    elf.func("main", xdp, 0, 2);
    let object = Object::parse(&elf.build()).unwrap();
    let kernel = KernelProfile::default();
    assert_eq!(object.link(&kernel, &LinkOptions::default()).unwrap().programs.len(), 0);
    let all = LinkOptions { all: true, ..LinkOptions::default() };
    assert_eq!(object.link(&kernel, &all).unwrap().programs.len(), 1);
    let mut named = LinkOptions::default();
    named.programs.insert("main".to_owned());
    assert_eq!(object.link(&kernel, &named).unwrap().programs.len(), 1);
}

#[test]
fn lines_and_functions_move_with_the_code() {
    let (mut elf, xdp, [_, b, _, _]) = calls(&[call(-1), EXIT]);
    elf.reloc(xdp, 0, b, R64_32);
    let mut btf = BtfBuilder::new();
    let int = btf.add_int("int", 4, IntEncoding::SIGNED);
    let proto = btf.add_func_proto(int, &[]);
    let main = btf.add_func("main", proto, Linkage::Global);
    let func_b = btf.add_func("b", proto, Linkage::Global);
    let mut ext = BtfExtBuilder::new();
    ext.add_func(&mut btf, "xdp", 0, main);
    ext.add_func(&mut btf, ".text", 16, func_b);
    ext.add_line(&mut btf, "xdp", 0, ("a.c", "int main()", 3, 1));
    ext.add_line(&mut btf, ".text", 0, ("a.c", "in a", 7, 1));
    ext.add_line(&mut btf, ".text", 24, ("a.c", "in b", 9, 5));
    let ext = ext.build();
    elf.data(".BTF", &btf.build());
    elf.data(".BTF.ext", &ext);
    let linked = link(&elf);
    let p = &linked.programs[0];
    let functions: Vec<_> = p.subprogs.iter().map(|s| (s.name.as_str(), s.func)).collect();
    assert_eq!(functions, [("main", Some(main)), ("b", Some(func_b)), ("c", None::<TypeId>)]);
    let lines: Vec<_> = p.lines.iter().map(|l| (l.insn, &*l.text, l.line)).collect();
    assert_eq!(lines, [(0, "int main()", 3), (3, "in b", 9)]);
    assert_eq!(p.line(1).map(|l| l.line), Some(3));
    assert_eq!(p.line(2), None, "b has no line before its second instruction");
    assert_eq!(p.line(3).map(|l| l.col), Some(5));
}

#[test]
fn insns_are_what_the_file_says() {
    let (elf, _, _) = calls(&[mov(9), EXIT]);
    let linked = link(&elf);
    assert_eq!(linked.programs[0].insns[0], Insn { opcode: 0xb7, imm: 9, ..Insn::default() });
}
