//! CO-RE relocations as part of linking.

use bpf_vm_shim::btf::core::CoreReloKind;
use bpf_vm_shim::btf::{Btf, BtfBuilder, BtfExtBuilder, IntEncoding, Member, TypeId};
use bpf_vm_shim::object::{KernelProfile, LinkOptions, LinkedProgram, Object, PoisonKind};

use crate::elf_builder::{ElfBuilder, R64_32};
use crate::insns::{EXIT, call, load32};

fn task(btf: &mut BtfBuilder, fields: &[&str]) -> TypeId {
    let int = btf.add_int("int", 4, IntEncoding::SIGNED);
    let members: Vec<_> =
        fields.iter().enumerate().map(|(i, f)| Member::new(f, int, i as u32 * 32)).collect();
    btf.add_struct("task_struct", fields.len() as u32 * 4, &members)
}

/// A subprogram that reads `task->pid`, called by a program.
fn object() -> Object {
    let mut btf = BtfBuilder::new();
    let local = task(&mut btf, &["pid"]);
    let mut ext = BtfExtBuilder::new();
    ext.add_core_relo(&mut btf, ".text", 0, (local, "0:0", CoreReloKind::FieldByteOffset));
    let mut elf = ElfBuilder::new();
    let text = elf.code(".text", &[load32(0), EXIT]);
    let xdp = elf.code("xdp", &[call(-1), EXIT]);
    let sub = elf.static_func("sub", text, 0, 2);
    elf.func("prog", xdp, 0, 2);
    elf.reloc(xdp, 0, sub, R64_32);
    elf.data(".BTF", &btf.build());
    elf.data(".BTF.ext", &ext.build());
    Object::parse(&elf.build()).unwrap()
}

fn link(kernel: Option<&[&str]>) -> LinkedProgram {
    let btf = kernel.map(|fields| {
        let mut btf = BtfBuilder::new();
        task(&mut btf, fields);
        Btf::parse(btf.build()).unwrap()
    });
    let profile = KernelProfile { btf, ..KernelProfile::default() };
    object().link(&profile, &LinkOptions::default()).unwrap().programs.remove(0)
}

#[test]
fn offsets_follow_the_kernel() {
    assert_eq!(link(None).insns[2].off, 0);
    assert_eq!(link(Some(&["state", "flags", "pid"])).insns[2].off, 8);
}

#[test]
fn a_missing_field_poisons_the_instruction_where_it_ended_up() {
    let program = link(Some(&["state"]));
    let poison = &program.poisoned[&2];
    let PoisonKind::CoreRelo { type_name, field } = &poison.what else { panic!("{poison:?}") };
    assert_eq!((type_name.as_str(), field.as_str()), ("struct task_struct", "pid"));
    assert!(poison.message.contains("struct task_struct.pid"), "{}", poison.message);
    assert_eq!(program.poisoned.len(), 1);
}
