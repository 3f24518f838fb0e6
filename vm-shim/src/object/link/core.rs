//! CO-RE relocation of all code (libbpf's `bpf_object__relocate_core`).

use std::collections::BTreeSet;

use super::{Poison, PoisonKind, Work};
use crate::btf::Btf;
use crate::btf::core::{CoreOutcome, CoreRelo, CoreResolver, Patched};
use crate::isa::Insn;
use crate::object::error::LinkError;
use crate::object::parse::Object;
use crate::object::profile::KernelProfile;

pub(super) fn relocate(
    object: &Object,
    kernel: &KernelProfile,
    work: &mut Work,
    notes: &mut Vec<String>,
) -> Result<(), LinkError> {
    let (Some(local), Some(ext)) = (&object.btf, &object.btf_ext) else { return Ok(()) };
    let target = kernel.btf.as_ref().unwrap_or(local);
    let modules: Vec<_> = kernel.module_btfs.values().cloned().collect();
    let mut resolver = CoreResolver::new(local, target).with_modules(&modules);
    let mut seen = BTreeSet::new();
    for (code, section) in object.code.code.iter().enumerate() {
        // BTF knows sections by name only: it describes the first of that name.
        if !seen.insert(section.name.as_str()) {
            continue;
        }
        for relo in ext.core_relos(&section.name) {
            let slot = relo.insn_off as usize / Insn::SIZE;
            let bad = |reason: String| {
                let section = section.name.clone();
                LinkError::BadCoreRelo { section, insn: slot, reason }
            };
            let inside = slot < section.insns.len() && (relo.insn_off as usize).is_multiple_of(Insn::SIZE);
            if !inside {
                return Err(bad(format!(
                    "byte offset {:#x} is no instruction of the section",
                    relo.insn_off
                )));
            }
            match resolver.resolve(relo) {
                Ok(CoreOutcome::Value(value)) => {
                    let Some(insns) = work.insns.get_mut(code) else { continue };
                    match value.patch(insns, slot) {
                        Ok(Patched::Done) => {}
                        Ok(Patched::Poison(why)) => {
                            let type_name = local.type_name(relo.type_id);
                            let what = PoisonKind::CoreRelo { type_name, field: relo.access.to_string() };
                            let message = format!("CO-RE relocation of {}: {why}", value.spec);
                            work.poison(code, slot, Poison { what, message });
                        }
                        Err(e) => poison_broken(work, notes, (code, slot), local, relo, &e.to_string()),
                    }
                }
                Ok(CoreOutcome::Unresolvable(u)) => {
                    let place = match u.field.as_str() {
                        "" => u.type_name.clone(),
                        field => format!("{}.{field}", u.type_name),
                    };
                    let message = format!("CO-RE relocation ({}) of {place}: {}", u.kind.name(), u.why);
                    let what = PoisonKind::CoreRelo { type_name: u.type_name, field: u.field };
                    work.poison(code, slot, Poison { what, message });
                }
                Err(e) => poison_broken(work, notes, (code, slot), local, relo, &e.to_string()),
            }
        }
    }
    Ok(())
}

/// libbpf refuses the whole program here; other programs, and other paths, are still worth running.
fn poison_broken(
    work: &mut Work,
    notes: &mut Vec<String>,
    (code, slot): (usize, usize),
    local: &Btf,
    relo: &CoreRelo,
    why: &str,
) {
    const MAX_NOTES: usize = 1000;
    let message = format!("CO-RE relocation failed: {why}");
    if notes.len() < MAX_NOTES && !notes.contains(&message) {
        notes.push(message.clone());
    }
    let what =
        PoisonKind::CoreRelo { type_name: local.type_name(relo.type_id), field: relo.access.to_string() };
    work.poison(code, slot, Poison { what, message });
}
