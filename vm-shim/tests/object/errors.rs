//! Every refusal names what is wrong and where.

use bpf_vm_shim::object::{LoadError, Object};

use crate::elf_builder::{ElfBuilder, R64_64};
use crate::insns::{EXIT, WIDE, ld_imm64, mov};

fn error(bytes: &[u8]) -> String {
    match Object::parse(bytes) {
        Ok(_) => "no error".to_owned(),
        Err(e) => e.to_string(),
    }
}

fn minimal() -> ElfBuilder {
    let mut elf = ElfBuilder::new();
    let text = elf.code("xdp", &[mov(2), EXIT]);
    elf.func("prog", text, 0, 2);
    elf
}

#[test]
fn other_files_are_named_for_what_they_are() {
    assert!(error(b"").starts_with("not an ELF file: only 0 bytes"));
    assert!(error(b"#!/bin/sh").starts_with("not an ELF file: it starts with"));
    assert!(error(b"\x7fELF").contains("cut off"));
    assert_eq!(error(b"\x7fELF\x01"), "a 32-bit ELF file; BPF objects are ELF64");

    let mut elf = minimal();
    elf.machine = 62;
    assert_eq!(error(&elf.build()), "an ELF file for x86-64 (e_machine 62), not for BPF (247)");

    let mut elf = minimal();
    elf.file_type = 2;
    assert_eq!(error(&elf.build()), "an ELF file of type 2, not a relocatable object (1)");

    let mut bytes = minimal().build();
    bytes[5] = 2;
    bytes[18..20].copy_from_slice(&[0, 247]);
    assert_eq!(Object::parse(&bytes).unwrap_err(), LoadError::BigEndian);
    bytes[18..20].copy_from_slice(&[0, 22]);
    assert_eq!(error(&bytes), "an ELF file for S/390 (e_machine 22), not for BPF (247)");
}

#[test]
fn early_compilers_left_the_machine_at_zero() {
    let mut elf = minimal();
    elf.machine = 0;
    assert_eq!(error(&elf.build()), "no error");
}

#[test]
fn a_cut_file_is_refused_at_every_length() {
    let bytes = minimal().build();
    assert_eq!(error(&bytes), "no error");
    for len in 0..bytes.len() {
        assert_ne!(error(&bytes[..len]), "no error", "cut to {len} bytes");
    }
}

#[test]
fn code_without_symbols_is_refused() {
    let mut elf = minimal();
    elf.symtab = false;
    assert_eq!(Object::parse(&elf.build()).unwrap_err(), LoadError::NoSymbols);
}

#[test]
fn an_object_without_programs_is_fine() {
    let mut elf = ElfBuilder::new();
    elf.data("license", b"GPL\0");
    let object = Object::parse(&elf.build()).unwrap();
    assert!(object.programs.is_empty());
    assert_eq!(object.license, "GPL");
}

#[test]
fn code_must_be_whole_instructions() {
    let mut elf = ElfBuilder::new();
    elf.section("xdp", 1, true, &[0; 12]);
    assert_eq!(error(&elf.build()), "section 'xdp' has 12 bytes, no whole number of 8-byte instructions");
}

#[test]
fn functions_must_fit_their_section() {
    let mut elf = ElfBuilder::new();
    let xdp = elf.code("xdp", &[mov(2), EXIT]);
    elf.func("prog", xdp, 0, 3);
    assert_eq!(error(&elf.build()), "function 'prog' at 0x0+0x18 does not fit section 'xdp' of 0x10 bytes");
}

#[test]
fn relocations_name_section_offset_and_symbol() {
    let mut elf = ElfBuilder::new();
    let xdp = elf.code("xdp", &[ld_imm64(0), WIDE, mov(0), EXIT]);
    elf.func("prog", xdp, 0, 4);
    let other = elf.data("elsewhere", &[0; 8]);
    let sym = elf.object("thing", other, 0, 8);
    let with = |offset, kind| {
        let mut elf = elf.clone();
        elf.reloc(xdp, offset, sym, kind);
        error(&elf.build())
    };
    let at = "section 'xdp' offset";
    assert_eq!(
        with(0, R64_64),
        format!(
            "{at} 0x0: relocation against 'thing': the symbol is in section 'elsewhere', which is neither code, data nor maps"
        )
    );
    assert_eq!(
        with(0, 99),
        format!("{at} 0x0: relocation against 'thing': relocation type 99 is not one of BPF's")
    );
    assert_eq!(
        with(16, R64_64),
        format!("{at} 0x10: relocation against 'thing': opcode 0xb7 is neither a call nor ld_imm64")
    );
    assert_eq!(with(4, R64_64), format!("{at} 0x4: relocation against 'thing': no instruction begins there"));
    assert_eq!(
        with(800, R64_64),
        format!("{at} 0x320: relocation against 'thing': no instruction begins there")
    );
}

#[test]
fn huge_data_sections_cost_no_memory() {
    let mut elf = minimal();
    elf.bss(".bss", 1 << 30);
    let object = Object::parse(&elf.build()).unwrap();
    let data = object.maps[0].data.as_ref().unwrap();
    assert_eq!((data.size(), data.bytes().len()), (1 << 30, 0));

    let mut elf = minimal();
    elf.bss(".bss", 4 << 30);
    assert_eq!(error(&elf.build()), "size of section '.bss': 4294967296 exceeds the limit of 2147483647");
}

#[test]
fn the_version_section_is_one_number() {
    let mut elf = minimal();
    elf.data("version", &0x0006_0c00_u32.to_le_bytes());
    assert_eq!(Object::parse(&elf.build()).unwrap().version, Some(0x0006_0c00));

    let mut elf = minimal();
    elf.data("version", &[1, 2]);
    assert_eq!(error(&elf.build()), "section 'version' has 2 bytes instead of 4");
}
