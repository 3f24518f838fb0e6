//! Map definitions of every style, and references to them.

use bpf_vm_shim::btf::{BtfBuilder, IntEncoding, Linkage, Member, SecVar, TypeId};
use bpf_vm_shim::isa::pseudo;
use bpf_vm_shim::object::{
    BPF_F_MMAPABLE, BPF_F_RDONLY_PROG, InitialValue, KernelProfile, LinkOptions, LoadError, MapOrigin,
    MapType, Object, Pinning, SlotTarget,
};

use crate::elf_builder::{ElfBuilder, R64_64, R64_ABS64};
use crate::insns::{EXIT, WIDE, ld_imm64, mov};

/// Types of map definitions as `bpf_helpers.h` spells them.
pub(crate) struct MapTypes {
    pub(crate) btf: BtfBuilder,
    pub(crate) int: TypeId,
}

impl MapTypes {
    pub(crate) fn new() -> Self {
        let mut btf = BtfBuilder::new();
        let int = btf.add_int("int", 4, IntEncoding::SIGNED);
        Self { btf, int }
    }

    /// `__uint(name, n)`.
    pub(crate) fn uint(&mut self, n: u32) -> TypeId {
        let array = self.btf.add_array(self.int, self.int, n);
        self.btf.add_ptr(array)
    }

    /// `struct { .. }` of members that are 8 bytes each.
    pub(crate) fn def(&mut self, members: &[(&str, TypeId)]) -> TypeId {
        let list: Vec<_> =
            members.iter().enumerate().map(|(i, (name, id))| Member::new(name, *id, i as u32 * 64)).collect();
        self.btf.add_struct("", members.len() as u32 * 8, &list)
    }

    /// Variables of `.maps`, 64 bytes apart; offsets are left to the symbol table.
    pub(crate) fn maps(&mut self, maps: &[(&str, TypeId)]) -> Vec<u8> {
        let vars: Vec<_> = maps
            .iter()
            .map(|(name, def)| SecVar {
                type_id: self.btf.add_var(name, *def, Linkage::Global),
                offset: 0,
                size: 64,
            })
            .collect();
        self.btf.add_datasec(".maps", 0, &vars);
        self.btf.build()
    }
}

fn btf_maps(build: impl FnOnce(&mut MapTypes) -> Vec<(&'static str, TypeId)>) -> Result<Object, LoadError> {
    let mut types = MapTypes::new();
    let list = build(&mut types);
    let mut elf = ElfBuilder::new();
    let section = elf.data(".maps", &vec![0; 64 * list.len()]);
    for (i, (name, _)) in list.iter().enumerate() {
        elf.object(name, section, i as u64 * 64, 64);
    }
    elf.data(".BTF", &types.maps(&list));
    Object::parse(&elf.build())
}

#[test]
fn attributes_are_read_from_types() {
    let object = btf_maps(|t| {
        let key = t.btf.add_ptr(t.int);
        let long = t.btf.add_int("long", 8, IntEncoding::SIGNED);
        let value = t.btf.add_ptr(long);
        let members = [
            ("type", t.uint(1)),
            ("max_entries", t.uint(1024)),
            ("key", key),
            ("value", value),
            ("map_flags", t.uint(1)),
            ("numa_node", t.uint(2)),
            ("map_extra", t.uint(3)),
            ("pinning", t.uint(1)),
        ];
        vec![("counts", t.def(&members))]
    })
    .unwrap();
    let map = &object.maps[0];
    assert_eq!((map.name.as_str(), map.origin, map.map_type), ("counts", MapOrigin::Btf, MapType::Hash));
    assert_eq!((map.key_size, map.value_size, map.max_entries), (4, 8, 1024));
    assert_eq!((map.map_flags, map.numa_node, map.map_extra), (1, Some(2), 3));
    assert_eq!(map.key_type, Some(TypeId(1)));
    assert_eq!(map.pinning, Pinning::ByName);
    assert!(object.notes[0].contains("pinning is ignored"), "{:?}", object.notes);
}

#[test]
fn sizes_may_be_given_instead_of_types() {
    let object = btf_maps(|t| {
        let members = [("type", t.uint(27)), ("max_entries", t.uint(5000)), ("key_size", t.uint(0))];
        vec![("rb", t.def(&members))]
    })
    .unwrap();
    assert_eq!((object.maps[0].map_type, object.maps[0].max_entries), (MapType::Ringbuf, 8192));
}

#[test]
fn bad_definitions_are_refused_by_name() {
    let untyped = btf_maps(|t| {
        let members = [("max_entries", t.uint(1))];
        vec![("m", t.def(&members))]
    });
    assert_eq!(untyped.unwrap_err().to_string(), "map 'm': its definition says no type");
    let conflict = btf_maps(|t| {
        let key = t.btf.add_ptr(t.int);
        let members = [("type", t.uint(1)), ("key", key), ("key_size", t.uint(8))];
        vec![("m", t.def(&members))]
    });
    assert_eq!(conflict.unwrap_err().to_string(), "map 'm': two key sizes, 4 and 8");
    let no_btf = {
        let mut elf = ElfBuilder::new();
        elf.data(".maps", &[0; 64]);
        Object::parse(&elf.build())
    };
    assert_eq!(
        no_btf.unwrap_err().to_string(),
        "the object needs BTF for the maps in section '.maps', but section '.BTF' is missing"
    );
}

#[test]
fn values_name_maps_and_programs() {
    let mut t = MapTypes::new();
    let inner = {
        let members = [
            ("type", t.uint(2)),
            ("max_entries", t.uint(7)),
            ("key_size", t.uint(4)),
            ("value_size", t.uint(8)),
        ];
        t.def(&members)
    };
    let to_inner = t.btf.add_ptr(inner);
    let slots = t.btf.add_array(to_inner, t.int, 0);
    let outer = {
        let members =
            [("type", t.uint(12)), ("max_entries", t.uint(2)), ("key_size", t.uint(4)), ("values", slots)];
        t.def(&members)
    };
    let proto = t.btf.add_func_proto(t.int, &[]);
    let to_func = t.btf.add_ptr(proto);
    let funcs = t.btf.add_array(to_func, t.int, 0);
    let jumps = {
        let members =
            [("type", t.uint(3)), ("max_entries", t.uint(2)), ("key_size", t.uint(4)), ("values", funcs)];
        t.def(&members)
    };
    let mut elf = ElfBuilder::new();
    let section = elf.data(".maps", &[0; 192]);
    let xdp = elf.code("xdp", &[mov(0), EXIT]);
    let prog = elf.func("prog", xdp, 0, 2);
    let inner_sym = elf.object("inner", section, 0, 64);
    elf.object("outer", section, 64, 64);
    elf.object("jumps", section, 128, 64);
    elf.data(".BTF", &t.maps(&[("inner", inner), ("outer", outer), ("jumps", jumps)]));
    elf.reloc(section, 64 + 24 + 8, inner_sym, R64_ABS64);
    elf.reloc(section, 128 + 24, prog, R64_ABS64);
    let object = Object::parse(&elf.build()).unwrap();
    let [_, outer, jumps] = &object.maps[..] else { panic!("three maps") };
    let template = outer.inner.as_ref().unwrap();
    assert_eq!((template.map_type, template.max_entries, template.value_size), (MapType::Array, 7, 8));
    assert_eq!(outer.value_size, 4);
    assert_eq!(outer.values, [InitialValue { slot: 1, target: SlotTarget::Map(0) }]);
    assert_eq!(jumps.values, [InitialValue { slot: 0, target: SlotTarget::Program(0) }]);
}

#[test]
fn legacy_definitions_of_every_length() {
    let words = |n: usize| -> Vec<u8> {
        [1u32, 4, 8, 100, 1, 77, 78, 79, 80][..n].iter().flat_map(|w| w.to_le_bytes()).collect()
    };
    for n in [4, 5, 7, 9] {
        let mut elf = ElfBuilder::new();
        let data = [words(n), words(n)].concat();
        let section = elf.data("maps", &data);
        elf.object("a", section, 0, n as u64 * 4);
        elf.object("b", section, n as u64 * 4, 0);
        let object = Object::parse(&elf.build()).unwrap();
        assert_eq!(object.maps.len(), 2);
        for map in &object.maps {
            let flags = u32::from(n > 4);
            assert_eq!((map.map_type, map.key_size, map.value_size), (MapType::Hash, 4, 8));
            assert_eq!((map.max_entries, map.map_flags, map.origin), (100, flags, MapOrigin::Legacy));
        }
    }
    let mut elf = ElfBuilder::new();
    let section = elf.data("maps", &words(3));
    elf.object("a", section, 0, 12);
    let error = Object::parse(&elf.build()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "map 'a': a definition of 12 bytes in section 'maps'; at least 16 are needed"
    );
}

#[test]
fn what_follows_the_common_words_is_told_by_their_number() {
    let (array, maps) = (2u32, 12u32);
    // Words of two maps in one section; what the second one holds, where it is, and how it is pinned.
    type Row = (&'static str, Vec<u32>, Vec<u32>, Option<u32>, &'static [u32], Pinning, Option<u32>);
    let table: [Row; 5] = [
        (
            "samples",
            vec![array, 4, 8, 1, 0, 0, 0],
            vec![maps, 4, 4, 1, 0, 0, 0],
            Some(8),
            &[],
            Pinning::None,
            None,
        ),
        (
            "node",
            vec![array, 4, 8, 1, 0, 0, 0],
            vec![array, 4, 4, 1, 4, 0, 3],
            None,
            &[],
            Pinning::None,
            Some(3),
        ),
        (
            "aya",
            vec![array, 4, 8, 1, 0, 7, 1],
            vec![array, 4, 4, 1, 0, 7, 1],
            None,
            &[],
            Pinning::ByName,
            None,
        ),
        (
            "iproute2",
            vec![array, 4, 8, 1, 0, 42, 0, 0, 3],
            vec![maps, 4, 4, 9, 0, 0, 2, 42, 0],
            Some(8),
            &[3],
            Pinning::Other(2),
            None,
        ),
        (
            "iproute2, in no slot",
            vec![array, 4, 8, 1, 0, 42, 0, 0, u32::MAX],
            vec![maps, 4, 4, 9, 0, 0, 0, 42, 0],
            Some(8),
            &[],
            Pinning::None,
            None,
        ),
    ];
    for (what, first, second, inside, slots, pinning, node) in table {
        let size = first.len() as u64 * 4;
        let mut elf = ElfBuilder::new();
        let data: Vec<u8> = [first, second].concat().iter().flat_map(|w| w.to_le_bytes()).collect();
        let section = elf.data("maps", &data);
        elf.object("a", section, 0, size);
        elf.object("b", section, size, size);
        let object = Object::parse(&elf.build()).unwrap();
        let map = object.map("b").unwrap();
        assert_eq!(map.inner.as_ref().map(|i| i.value_size), inside, "{what}");
        assert_eq!(map.values.iter().map(|v| v.slot).collect::<Vec<_>>(), slots, "{what}");
        assert!(map.values.iter().all(|v| v.target == SlotTarget::Map(0)), "{what}");
        assert_eq!((map.pinning, map.numa_node), (pinning, node), "{what}");
    }
}

#[test]
fn references_become_indexes_into_the_map_table() {
    let mut elf = ElfBuilder::new();
    let maps = elf.data("maps", &[[2u8, 0, 0, 0], [4, 0, 0, 0], [8, 0, 0, 0], [1, 0, 0, 0]].concat());
    let rodata = elf.data(".rodata", b"hello\0\0\0");
    let bss = elf.bss(".bss", 16);
    let xdp = elf.code(
        "xdp",
        &[ld_imm64(0), WIDE, ld_imm64(2), WIDE, ld_imm64(0), WIDE, ld_imm64(8), WIDE, mov(0), EXIT],
    );
    elf.func("prog", xdp, 0, 10);
    let map = elf.object("m", maps, 0, 16);
    let text = elf.section_symbol(rodata);
    let counter = elf.object("counter", bss, 8, 8);
    elf.reloc(xdp, 0, map, R64_64);
    elf.reloc(xdp, 16, text, R64_64);
    elf.reloc(xdp, 32, counter, R64_64);
    elf.reloc(xdp, 48, text, R64_64);
    let object = Object::parse_named("my_object_name", &elf.build()).unwrap();
    let names: Vec<_> = object.maps.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["m", "my_objec.rodata", "my_objec.bss"]);
    assert_eq!(object.map(".rodata").unwrap().map_flags, BPF_F_RDONLY_PROG);
    let counter = object.global("counter").unwrap();
    assert_eq!((counter.map, counter.offset, counter.size, counter.type_id), (2, 8, 8, None));
    let linked = object.link(&KernelProfile::default(), &LinkOptions::default()).unwrap();
    let insns = &linked.programs[0].insns;
    let refs: Vec<_> =
        [0, 2, 4, 6].iter().map(|i| (insns[*i].src, insns[*i].imm, insns[i + 1].imm)).collect();
    let value = pseudo::MAP_IDX_VALUE;
    assert_eq!(refs, [(pseudo::MAP_IDX, 0, 0), (value, 1, 2), (value, 2, 8), (value, 1, 8)]);
}

#[test]
fn globals_are_typed_and_make_maps_mappable() {
    let mut t = MapTypes::new();
    let shown = t.btf.add_var("shown", t.int, Linkage::Global);
    let secret = t.btf.add_var("secret", t.int, Linkage::Static);
    let vars =
        [SecVar { type_id: shown, offset: 0, size: 4 }, SecVar { type_id: secret, offset: 4, size: 4 }];
    t.btf.add_datasec(".data", 0, &vars);
    t.btf.add_datasec(".data.own", 0, &[SecVar { type_id: secret, offset: 0, size: 4 }]);
    let mut elf = ElfBuilder::new();
    let data = elf.data(".data", &[9, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0]);
    elf.data(".data.own", &[1, 0, 0, 0]);
    // The compiler leaves the offset of globals to the symbol table.
    elf.object("shown", data, 8, 4);
    elf.data(".BTF", &t.btf.build());
    let mut object = Object::parse_named("o", &elf.build()).unwrap();
    let globals: Vec<_> = object.globals.iter().map(|g| (g.name.as_str(), g.map, g.offset)).collect();
    assert_eq!(globals, [("secret", 0, 4), ("shown", 0, 8), ("secret", 1, 0)]);
    assert_eq!((object.maps[0].map_flags, object.maps[1].map_flags), (BPF_F_MMAPABLE, 0));
    assert_eq!(object.maps[1].name, ".data.own");
    let data = object.maps[0].data.as_ref().unwrap();
    assert_eq!(data.read(8, 4), Some(vec![5, 0, 0, 0]));
    assert_eq!(object.set_global_bytes("shown", &[6]), Some(()));
    assert_eq!(object.global_bytes("shown"), Some(vec![6, 0, 0, 0]));
    assert_eq!(object.set_global_bytes("shown", &[0; 5]), None);
    assert_eq!(object.set_global_bytes("unheard_of", &[0]), None);
}

#[test]
fn struct_ops_members_lead_to_programs() {
    let mut t = MapTypes::new();
    let proto = t.btf.add_func_proto(t.int, &[]);
    let ptr = t.btf.add_ptr(proto);
    let members = [Member::new("flags", t.int, 0), Member::new("init", ptr, 64)];
    let ops = t.btf.add_struct("my_ops", 16, &members);
    let var = t.btf.add_var("mine", ops, Linkage::Global);
    t.btf.add_datasec(".struct_ops.link", 0, &[SecVar { type_id: var, offset: 0, size: 16 }]);
    let mut elf = ElfBuilder::new();
    let code = elf.code("struct_ops/init", &[mov(0), EXIT]);
    let section = elf.data(".struct_ops.link", &[3; 16]);
    let prog = elf.func("my_init", code, 0, 2);
    elf.object("mine", section, 0, 16);
    elf.rela(section, 8, prog, R64_ABS64, 0);
    elf.data(".BTF", &t.btf.build());
    let object = Object::parse(&elf.build()).unwrap();
    let map = object.map("mine").unwrap();
    let ops = map.struct_ops.as_ref().unwrap();
    assert_eq!((map.map_type, ops.type_name.as_str()), (MapType::StructOps, "my_ops"));
    assert_eq!((ops.members[0].name.as_str(), ops.members[0].program), ("init", 0));
    assert_eq!(object.programs[0].struct_ops, Some(("my_ops".to_owned(), "init".to_owned())));
}

#[test]
fn the_per_cpu_default_of_perf_arrays_follows_the_profile() {
    let mut elf = ElfBuilder::new();
    let section = elf.data("maps", &[[4u8, 0, 0, 0], [4, 0, 0, 0], [4, 0, 0, 0], [0; 4]].concat());
    elf.object("events", section, 0, 16);
    let object = Object::parse(&elf.build()).unwrap();
    let kernel = KernelProfile { cpus: 3, ..KernelProfile::default() };
    let linked = object.link(&kernel, &LinkOptions::default()).unwrap();
    assert_eq!((object.maps[0].max_entries, linked.maps[0].max_entries), (0, 3));
}
