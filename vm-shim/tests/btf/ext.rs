//! `.BTF.ext`.

use bpf_vm_shim::btf::{
    Btf, BtfExt, BtfExtBuilder, FuncInfo, Linkage, TypeId,
    core::{CoreRelo, CoreReloKind},
};
use proptest::prelude::*;

use crate::support::{INT, builder};

fn valid() -> (Btf, Vec<u8>) {
    let mut b = builder();
    let proto = b.add_func_proto(INT, &[]);
    let func = b.add_func("main", proto, Linkage::Global);
    let mut ext = BtfExtBuilder::new();
    ext.add_func(&mut b, "xdp", 0, func);
    ext.add_line(&mut b, "xdp", 8, ("prog.c", "\treturn 1;", 12, 3));
    ext.add_line(&mut b, "xdp", 0, ("prog.c", "int main()", 10, 0));
    ext.add_line(&mut b, ".text", 0, ("lib.h", "", 1 << 20, 1023));
    ext.add_core_relo(&mut b, "xdp", 16, (func, "0:1", CoreReloKind::FieldExists));
    (Btf::parse(b.build()).expect("valid"), ext.build())
}

#[test]
fn records_are_listed_by_section() {
    let (btf, bytes) = valid();
    let ext = BtfExt::parse(&bytes, &btf).expect("valid");
    assert_eq!(ext.func_info("xdp"), [FuncInfo { insn_off: 0, type_id: TypeId(6) }]);
    let lines: Vec<_> =
        ext.line_info("xdp").iter().map(|l| (l.insn_off, &*l.file, &*l.text, l.line, l.col)).collect();
    assert_eq!(lines, [(0, "prog.c", "int main()", 10, 0), (8, "prog.c", "\treturn 1;", 12, 3)]);
    let lib = &ext.line_info(".text")[0];
    assert_eq!((lib.line, lib.col), (1 << 20, 1023));
    let relo =
        CoreRelo { insn_off: 16, type_id: TypeId(6), access: "0:1".into(), kind: CoreReloKind::FieldExists };
    assert_eq!(ext.core_relos("xdp"), [relo]);
    assert!(ext.core_relos("other").is_empty());
    assert_eq!(ext.line_info_sections().map(|(s, _)| s).collect::<Vec<_>>(), [".text", "xdp"]);
}

#[test]
fn longer_records_of_a_newer_compiler_are_read_by_their_beginning() {
    let (btf, _) = valid();
    let words: [u32; 12] = [12, 1, 1, 0, 6, 99, 0, 0, 0, 0, 0, 0];
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    for word in [24, 0, 24, 24, 0].iter().chain(&words[..6]) {
        bytes.extend_from_slice(&u32::to_le_bytes(*word));
    }
    let ext = BtfExt::parse(&bytes, &btf).expect("valid");
    let funcs: Vec<_> = ext.func_info_sections().flat_map(|(_, f)| f).collect();
    assert_eq!(funcs, [&FuncInfo { insn_off: 0, type_id: TypeId(6) }]);
}

#[test]
fn source_text_need_not_be_utf8() {
    let mut b = builder();
    let mut ext = BtfExtBuilder::new();
    ext.add_line(&mut b, "xdp", 0, ("prog.c", "/* @ */", 1, 1));
    let mut blob = b.build();
    let at = blob.iter().rposition(|b| *b == b'@').expect("present");
    blob[at] = 0xfc;
    let btf = Btf::parse(blob).expect("valid");
    let ext = BtfExt::parse(&ext.build(), &btf).expect("valid");
    assert_eq!(&*ext.line_info("xdp")[0].text, "/* \u{fffd} */");
}

#[test]
fn broken_records_are_refused() {
    let (btf, bytes) = valid();
    let check = |at: usize, new: &[u8], message: &str| {
        let mut bytes = bytes.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        assert_eq!(BtfExt::parse(&bytes, &btf).expect_err("refused").to_string(), message);
    };
    check(0, &[0xeb, 0x9f], ".BTF.ext: big-endian BTF is not supported (compile with -target bpfel)");
    check(12, &[0xff], ".BTF.ext: func_info at 32..287 does not fit: it ends behind the blob");
    check(32, &[4], ".BTF.ext: func_info at byte 32: record size 4, expected 8 or more");
    check(
        36,
        &[0xff],
        ".BTF.ext: func_info at byte 36: string offset 255 is outside the string section of 95 bytes",
    );
    check(40, &[0], ".BTF.ext: func_info at byte 40: no records for section xdp");
    check(40, &[9], ".BTF.ext: func_info at byte 44: 9 records of 8 bytes do not fit");
    check(48, &[9], ".BTF.ext: func_info at byte 44: type id 9 is out of range: there are 7 types");
    assert!(BtfExt::parse(&bytes[..31], &btf).is_err());
    assert!(BtfExt::parse(&[], &btf).is_err());
}

proptest! {
    #[test]
    fn damage_never_panics(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let (btf, mut bytes) = valid();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = BtfExt::parse(&bytes, &btf);
    }
}
