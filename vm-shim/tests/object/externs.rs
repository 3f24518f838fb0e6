//! Configuration values, kernel functions and kernel symbols.

use bpf_vm_shim::btf::{Btf, BtfBuilder, IntEncoding, Linkage, SecVar, TypeId};
use bpf_vm_shim::isa::pseudo;
use bpf_vm_shim::object::{KernelProfile, LinkOptions, Linked, Object, PoisonKind};

use crate::elf_builder::{ElfBuilder, R64_32, R64_64};
use crate::insns::{EXIT, WIDE, call, ld_imm64, mov};

fn link(elf: &ElfBuilder, kernel: &KernelProfile) -> Linked {
    Object::parse(&elf.build()).unwrap().link(kernel, &LinkOptions::default()).unwrap()
}

/// A program that loads the address of each extern.
fn loads(btf: &BtfBuilder, externs: &[(&str, bool)]) -> ElfBuilder {
    let mut elf = ElfBuilder::new();
    let mut code: Vec<_> = externs.iter().flat_map(|_| [ld_imm64(0), WIDE]).collect();
    code.extend([mov(0), EXIT]);
    let xdp = elf.code("xdp", &code);
    elf.func("prog", xdp, 0, code.len() as u64);
    for (i, (name, weak)) in externs.iter().enumerate() {
        let sym = elf.undefined(name, *weak);
        elf.reloc(xdp, i as u64 * 16, sym, R64_64);
    }
    elf.data(".BTF", &btf.build());
    elf
}

fn extern_vars(btf: &mut BtfBuilder, section: &str, vars: &[(&str, TypeId, u32)]) {
    let vars: Vec<_> = vars
        .iter()
        .map(|(name, ty, size)| SecVar {
            type_id: btf.add_var(name, *ty, Linkage::Extern),
            offset: 0,
            size: *size,
        })
        .collect();
    btf.add_datasec(section, 0, &vars);
}

#[test]
fn configuration_values_are_laid_out_and_filled_as_by_libbpf() {
    let mut btf = BtfBuilder::new();
    let int = btf.add_int("int", 4, IntEncoding::SIGNED);
    let long = btf.add_int("unsigned long", 8, IntEncoding::UNSIGNED);
    let bool = btf.add_int("_Bool", 1, IntEncoding::BOOL);
    let vars = [
        ("CONFIG_A_BOOL", bool, 1),
        ("CONFIG_HZ", long, 8),
        ("CONFIG_MISSING", int, 4),
        ("CONFIG_WEAK", int, 4),
        ("LINUX_KERNEL_VERSION", int, 4),
    ];
    extern_vars(&mut btf, ".kconfig", &vars);
    let elf = loads(
        &btf,
        &[
            ("CONFIG_A_BOOL", false),
            ("CONFIG_HZ", false),
            ("CONFIG_MISSING", false),
            ("CONFIG_WEAK", true),
            ("LINUX_KERNEL_VERSION", false),
        ],
    );
    let mut kernel = KernelProfile { hz: 250, ..KernelProfile::default() };
    kernel.kconfig.insert("CONFIG_A_BOOL".to_owned(), "y".to_owned());
    let linked = link(&elf, &kernel);
    let map = &linked.maps[0];
    assert_eq!((map.name.as_str(), map.value_size, map.is_readonly()), (".kconfig", 21, true));
    // By falling alignment, rising size, name: HZ at 0, MISSING at 8, WEAK at 12, VERSION at 16, the bool at 20.
    let data = map.data.as_ref().unwrap();
    assert_eq!(data.read(0, 8), Some(250u64.to_le_bytes().to_vec()));
    assert_eq!(data.read(12, 4), Some(vec![0; 4]));
    assert_eq!(data.read(16, 4), Some(KernelProfile::kernel_version(6, 12, 0).to_le_bytes().to_vec()));
    assert_eq!(data.read(20, 1), Some(vec![1]));
    let p = &linked.programs[0];
    assert_eq!((p.insns[0].src, p.insns[0].imm, p.insns[1].imm), (pseudo::MAP_IDX_VALUE, 0, 20));
    let poison = &p.poisoned[&4];
    assert_eq!(poison.what, PoisonKind::Kconfig { name: "CONFIG_MISSING".to_owned() });
    assert_eq!(p.poisoned.keys().copied().collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn kernel_symbols_are_typed_typeless_or_absent() {
    let mut btf = BtfBuilder::new();
    let int = btf.add_int("int", 4, IntEncoding::SIGNED);
    let vars =
        [("typed", int, 4), ("typeless", TypeId::VOID, 0), ("weak_absent", int, 4), ("weak_present", int, 4)];
    extern_vars(&mut btf, ".ksyms", &vars);
    let elf =
        loads(&btf, &[("typed", false), ("typeless", false), ("weak_absent", true), ("weak_present", true)]);
    let mut kernel = KernelProfile::default();
    kernel.symbols.insert("weak_present");
    let linked = link(&elf, &kernel);
    let insns = &linked.programs[0].insns;
    let name = |i: usize| linked.ksyms[insns[i].imm as usize].name.as_str();
    assert_eq!(
        [0, 2, 4, 6].map(|i: usize| insns[i].src),
        [pseudo::BTF_ID, pseudo::BTF_ID, 0, pseudo::BTF_ID]
    );
    assert_eq!((name(0), name(2), name(6)), ("typed", "typeless", "weak_present"));
    assert_eq!((insns[4].imm, insns[5].imm), (0, 0));
    let typed = linked.ksyms.iter().map(|k| k.type_id.is_some()).collect::<Vec<_>>();
    assert_eq!(typed, [true, false, true, true]);
}

/// A program that calls a kernel function.
fn caller(btf: Option<&BtfBuilder>, name: &str, weak: bool) -> ElfBuilder {
    let mut elf = ElfBuilder::new();
    let xdp = elf.code("xdp", &[call(-1), EXIT]);
    elf.func("prog", xdp, 0, 2);
    let sym = elf.undefined(name, weak);
    elf.reloc(xdp, 0, sym, R64_32);
    if let Some(btf) = btf {
        elf.data(".BTF", &btf.build());
    }
    elf
}

fn kfunc_btf(name: &str, linkage: Linkage, params: usize) -> BtfBuilder {
    let mut btf = BtfBuilder::new();
    let int = btf.add_int("int", 4, IntEncoding::SIGNED);
    let params: Vec<_> = (0..params).map(|_| bpf_vm_shim::btf::Param { name: "x", type_id: int }).collect();
    let proto = btf.add_func_proto(int, &params);
    let func = btf.add_func(name, proto, linkage);
    if linkage == Linkage::Extern {
        btf.add_datasec(".ksyms", 0, &[SecVar { type_id: func, offset: 0, size: 0 }]);
    }
    btf
}

#[test]
fn kernel_functions_are_called_by_index() {
    let btf = kfunc_btf("bpf_thing___v2", Linkage::Extern, 1);
    let linked = link(&caller(Some(&btf), "bpf_thing___v2", false), &KernelProfile::default());
    let insn = linked.programs[0].insns[0];
    assert_eq!((insn.src, insn.imm), (pseudo::CALL_KFUNC, 0));
    assert_eq!((linked.kfuncs[0].name.as_str(), linked.kfuncs[0].proto.is_some()), ("bpf_thing", true));
}

#[test]
fn library_functions_need_no_btf() {
    let linked = link(&caller(None, "memset", false), &KernelProfile::default());
    assert_eq!((linked.kfuncs[0].name.as_str(), linked.kfuncs[0].proto), ("memset", None));
    assert_eq!(linked.programs[0].insns[0].src, pseudo::CALL_KFUNC);
}

#[test]
fn a_function_that_the_kernel_lacks_poisons_its_calls() {
    let kernel_with = |params| {
        let btf = kfunc_btf("bpf_thing", Linkage::Static, params).build();
        KernelProfile { btf: Some(Btf::parse(btf).unwrap()), ..KernelProfile::default() }
    };
    let elf = caller(Some(&kfunc_btf("bpf_thing", Linkage::Extern, 1)), "bpf_thing", false);
    assert!(link(&elf, &kernel_with(1)).programs[0].poisoned.is_empty());
    // Of another shape is as good as absent.
    let linked = link(&elf, &kernel_with(2));
    let poison = &linked.programs[0].poisoned[&0];
    assert_eq!(poison.what, PoisonKind::Kfunc { name: "bpf_thing".to_owned(), weak: false });
    assert_eq!(poison.message, "kernel function 'bpf_thing' does not exist in this kernel");
    assert_eq!(linked.programs[0].insns[0].imm, 0x0bad_2310);
}

#[test]
fn unused_declarations_do_not_matter() {
    let mut elf = ElfBuilder::new();
    let xdp = elf.code("xdp", &[mov(0), EXIT]);
    elf.func("prog", xdp, 0, 2);
    elf.undefined("never_called", false);
    assert!(Object::parse(&elf.build()).unwrap().externs.is_empty());
}
