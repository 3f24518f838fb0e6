//! Which functions are programs, and what their section names say.

use bpf_vm_shim::object::{AttachKind, AttachPoint, Object, ProgType};

use crate::elf_builder::{ElfBuilder, bind, kind};
use crate::insns::{EXIT, mov};

fn object(sections: &[(&str, &str)]) -> Object {
    let mut elf = ElfBuilder::new();
    for (section, function) in sections {
        let code = elf.code(section, &[mov(0), EXIT]);
        elf.func(function, code, 0, 2);
    }
    Object::parse(&elf.build()).unwrap()
}

#[test]
fn the_section_name_gives_type_and_target() {
    let object = object(&[
        ("kprobe/do_unlinkat", "a"),
        ("?tp_btf/sched_switch", "b"),
        ("my_own_section", "c"),
        ("fentry.s/vfs_read", "d"),
    ]);
    let [a, b, c, d] = &object.programs[..] else { panic!("four programs") };
    assert_eq!((a.name.as_str(), a.prog_type, a.autoload), ("a", ProgType::Kprobe, true));
    assert_eq!(a.attach.point, AttachPoint::Symbol { name: "do_unlinkat".into(), offset: 0 });
    assert_eq!(
        (b.section.as_str(), b.prog_type, b.autoload),
        ("tp_btf/sched_switch", ProgType::Tracing, false)
    );
    assert_eq!(b.attach.name(), Some("sched_switch"));
    assert_eq!((c.prog_type, c.attach.kind), (ProgType::Unspec, AttachKind::Unknown));
    assert!(d.attach.sleepable);
}

#[test]
fn several_programs_share_a_section_in_order() {
    let mut elf = ElfBuilder::new();
    let tc = elf.code("tc", &[mov(1), EXIT, mov(2), EXIT]);
    elf.func("second", tc, 2, 2);
    elf.func("first", tc, 0, 2);
    let object = Object::parse(&elf.build()).unwrap();
    let names: Vec<_> = object.programs.iter().map(|p| (p.name.as_str(), p.insns[0].imm)).collect();
    assert_eq!(names, [("first", 1), ("second", 2)]);
}

#[test]
fn text_holds_subprograms_unless_there_is_nothing_else() {
    assert_eq!(object(&[("xdp", "main"), (".text", "sub")]).programs.len(), 1);
    let alone = object(&[(".text", "main")]);
    assert_eq!((alone.programs.len(), alone.programs[0].prog_type), (1, ProgType::Unspec));
}

#[test]
fn static_functions_are_subprograms_everywhere() {
    let mut elf = ElfBuilder::new();
    let xdp = elf.code("xdp", &[mov(1), EXIT, mov(2), EXIT]);
    elf.func("main", xdp, 0, 2);
    elf.static_func("sub", xdp, 2, 2);
    let object = Object::parse(&elf.build()).unwrap();
    assert_eq!(object.programs.len(), 1);
    assert_eq!(object.subprograms().collect::<Vec<_>>(), ["sub"]);
}

#[test]
fn old_compilers_gave_functions_neither_type_nor_size() {
    let mut elf = ElfBuilder::new();
    let code = elf.code("socket", &[mov(1), EXIT, mov(2), EXIT]);
    elf.symbol("a", kind::NONE, bind::GLOBAL, code, 0, 0);
    elf.symbol("b", kind::NONE, bind::GLOBAL, code, 16, 0);
    elf.symbol("LBB0_1", kind::NONE, bind::LOCAL, code, 8, 0);
    let object = Object::parse(&elf.build()).unwrap();
    let sizes: Vec<_> = object.programs.iter().map(|p| (p.name.as_str(), p.insns.len())).collect();
    assert_eq!(sizes, [("a", 2), ("b", 2)]);
}
