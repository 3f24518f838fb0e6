//! No damage to a file panics, hangs or exhausts memory.

use bpf_vm_shim::btf::core::CoreReloKind;
use bpf_vm_shim::btf::{BtfExtBuilder, Linkage, Member, SecVar};
use bpf_vm_shim::object::{KernelProfile, LinkOptions, Object};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

use crate::elf_builder::{ElfBuilder, R64_32, R64_64};
use crate::insns::{EXIT, WIDE, call, ld_imm64, mov};
use crate::maps::MapTypes;

/// An object with something of everything.
fn rich() -> Vec<u8> {
    let mut t = MapTypes::new();
    let def = {
        let key = t.btf.add_ptr(t.int);
        let members = [("type", t.uint(1)), ("max_entries", t.uint(16)), ("key", key), ("value", key)];
        t.def(&members)
    };
    let proto = t.btf.add_func_proto(t.int, &[]);
    let kfunc = t.btf.add_func("bpf_thing", proto, Linkage::Extern);
    t.btf.add_datasec(".ksyms", 0, &[SecVar { type_id: kfunc, offset: 0, size: 0 }]);
    let hz = t.btf.add_var("CONFIG_HZ", t.int, Linkage::Extern);
    t.btf.add_datasec(".kconfig", 0, &[SecVar { type_id: hz, offset: 0, size: 4 }]);
    let counter = t.btf.add_var("counter", t.int, Linkage::Global);
    t.btf.add_datasec(".bss", 0, &[SecVar { type_id: counter, offset: 0, size: 4 }]);
    let main = t.btf.add_func("main", proto, Linkage::Global);
    let point = t.btf.add_struct("point", 8, &[Member::new("x", t.int, 0), Member::new("y", t.int, 32)]);
    let mut ext = BtfExtBuilder::new();
    ext.add_func(&mut t.btf, "xdp", 0, main);
    ext.add_line(&mut t.btf, "xdp", 0, ("a.c", "int main()", 3, 1));
    ext.add_core_relo(&mut t.btf, "xdp", 56, (point, "0:1", CoreReloKind::FieldByteOffset));

    let mut elf = ElfBuilder::new();
    let text = elf.code(".text", &[call(-1), EXIT, mov(1), EXIT]);
    let code = [
        call(-1),
        ld_imm64(0),
        WIDE,
        ld_imm64(0),
        WIDE,
        ld_imm64(0),
        WIDE,
        mov(4),
        call(-1),
        ld_imm64(0),
        WIDE,
        EXIT,
    ];
    let xdp = elf.code("xdp", &code);
    let maps = elf.data(".maps", &[0; 64]);
    let legacy = elf.data("maps", &[1; 20]);
    let bss = elf.bss(".bss", 8);
    elf.data("license", b"GPL\0");
    let f = elf.static_func("f", text, 0, 2);
    let g = elf.func("g", text, 2, 2);
    elf.func("main", xdp, 0, code.len() as u64);
    let map = elf.object("m", maps, 0, 64);
    elf.object("old", legacy, 0, 20);
    let counter = elf.object("counter", bss, 0, 4);
    let thing = elf.undefined("bpf_thing", true);
    let hz = elf.undefined("CONFIG_HZ", true);
    elf.reloc(text, 0, g, R64_32);
    elf.reloc(xdp, 0, f, R64_32);
    elf.reloc(xdp, 8, map, R64_64);
    elf.reloc(xdp, 24, counter, R64_64);
    elf.reloc(xdp, 40, hz, R64_64);
    elf.reloc(xdp, 64, thing, R64_32);
    elf.reloc(xdp, 72, g, R64_64);
    let btf = t.maps(&[("m", def)]);
    elf.data(".BTF", &btf);
    elf.data(".BTF.ext", &ext.build());
    elf.build()
}

fn load(bytes: &[u8]) {
    if let Ok(object) = Object::parse(bytes) {
        let all = LinkOptions { all: true, ..LinkOptions::default() };
        let _ = object.link(&KernelProfile::default(), &all);
    }
}

#[test]
fn the_undamaged_object_links() {
    let object = Object::parse(&rich()).unwrap();
    let linked = object.link(&KernelProfile::default(), &LinkOptions::default()).unwrap();
    assert_eq!(linked.programs[0].subprogs.len(), 3);
    assert!(linked.programs[0].poisoned.is_empty(), "{:?}", linked.programs[0].poisoned);
}

#[test]
fn every_single_byte_may_be_anything_extreme() {
    let bytes = rich();
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            load(&damaged);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_few_bytes_may_be_anything(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        let mut bytes = rich();
        for (at, value) in &damage {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        load(&bytes);
    }

    #[test]
    fn any_word_may_be_huge(at in any::<prop::sample::Index>(), word in any::<u64>(), shift in 0u32..64) {
        let mut bytes = rich();
        let at = at.index(bytes.len() / 8) * 8;
        bytes[at..at + 8].copy_from_slice(&(word >> shift).to_le_bytes());
        load(&bytes);
    }
}
