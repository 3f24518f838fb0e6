//! Writing maps, values, kernel functions and symbols into instructions (libbpf's
//! `bpf_object__relocate_data`).

use std::collections::BTreeMap;

use super::externs::{Externs, Resolved};
use super::{Poison, PoisonKind, Work};
use crate::isa::pseudo;
use crate::object::map::MapDef;
use crate::object::parse::Object;
use crate::object::relocs::Ref;

/// Applies all references but those to functions, which depend on the program that the code ends up in.
pub(super) fn apply(
    object: &Object,
    externs: &Externs,
    missing: &BTreeMap<usize, String>,
    maps: &[MapDef],
    work: &mut Work,
) {
    for (&(code, slot), target) in &object.refs {
        match *target {
            Ref::Map(map) => match maps.get(map).filter(|m| !m.autocreate) {
                Some(absent) => {
                    let name = absent.name.clone();
                    let message = format!("map '{name}' is not created");
                    work.poison(code, slot, Poison { what: PoisonKind::Map { name }, message });
                }
                None => work.load(code, slot, pseudo::MAP_IDX, map as i32, 0),
            },
            Ref::MapValue { map, offset } => {
                work.load(code, slot, pseudo::MAP_IDX_VALUE, map as i32, offset.cast_signed());
            }
            Ref::Extern(index) => {
                if let Some(resolved) = externs.resolved.get(index) {
                    let name = object.externs.get(index).map_or("", |e| e.name.as_str());
                    if *resolved == Resolved::MissingKconfig {
                        let why = missing.get(&index).map_or("", String::as_str);
                        let message = format!("kernel configuration value '{name}' is not known: {why}");
                        let what = PoisonKind::Kconfig { name: name.to_owned() };
                        work.poison(code, slot, Poison { what, message });
                        continue;
                    }
                    apply_extern(object, *resolved, externs, work, code, slot);
                }
            }
            Ref::Func { .. } | Ref::JumpTable { .. } => {}
        }
    }
}

fn apply_extern(
    object: &Object,
    ext: Resolved,
    externs: &Externs,
    work: &mut Work,
    code: usize,
    slot: usize,
) {
    let is_call = work.insns.get(code).and_then(|i| i.get(slot)).is_some_and(|i| i.opcode == 0x85);
    match ext {
        Resolved::MissingKconfig => {}
        Resolved::Kconfig { offset } => {
            let map = object.kconfig_map.unwrap_or_default();
            work.load(code, slot, pseudo::MAP_IDX_VALUE, map as i32, offset.cast_signed());
        }
        Resolved::Kfunc { kfunc, callable: true, .. } if is_call => {
            if let Some(insn) = work.insns.get_mut(code).and_then(|i| i.get_mut(slot)) {
                insn.src = pseudo::CALL_KFUNC;
                insn.off = 0;
                insn.imm = kfunc as i32;
            }
        }
        Resolved::Kfunc { kfunc, .. } if is_call => {
            let Some(decl) = externs.kfuncs.get(kfunc) else { return };
            let what = PoisonKind::Kfunc { name: decl.name.clone(), weak: decl.weak };
            let message = format!("kernel function '{}' does not exist in this kernel", decl.name);
            work.poison(code, slot, Poison { what, message });
        }
        Resolved::Ksym { ksym, present } | Resolved::Kfunc { ksym, present, .. } => {
            let Some(decl) = externs.ksyms.get(ksym) else { return };
            let what = PoisonKind::Ksym { name: decl.name.clone() };
            if is_call {
                let message = format!("'{}' is called, but declared as a variable", decl.name);
                work.poison(code, slot, Poison { what, message });
            } else if present {
                work.load(code, slot, pseudo::BTF_ID, ksym as i32, 0);
            } else if decl.weak {
                // The program tests the address against 0.
                work.load(code, slot, pseudo::IMM64, 0, 0);
            } else {
                let message = format!("kernel symbol '{}' does not exist in this kernel", decl.name);
                work.poison(code, slot, Poison { what, message });
            }
        }
    }
}

impl Work {
    /// Makes a `ld_imm64` of both slots, unless the instruction is something else by now (poisoned).
    fn load(&mut self, code: usize, slot: usize, src: u8, imm: i32, second: i32) {
        let Some(insns) = self.insns.get_mut(code) else { return };
        let Some([first, next, ..]) = insns.get_mut(slot..) else { return };
        if !first.is_ld_imm64() {
            return;
        }
        first.src = src;
        first.imm = imm;
        next.imm = second;
    }
}
