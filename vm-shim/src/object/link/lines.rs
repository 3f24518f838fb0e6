//! Types of functions and source lines, moved to where the code went (libbpf's `adjust_prog_btf_ext_info`).

use super::{FieldUse, LineInfo};
use crate::btf::core::CoreReloKind;
use crate::btf::{Kind, TypeId};
use crate::isa::Insn;
use crate::object::parse::Object;

/// The function of the object's BTF that begins at a slot of a section.
pub(super) fn func_type(object: &Object, code: usize, start: usize, name: &str) -> Option<TypeId> {
    let section = &object.code.code.get(code)?.name;
    let at = u32::try_from(start * Insn::SIZE).ok()?;
    let infos = object.btf_ext.as_ref().map(|ext| ext.func_info(section)).unwrap_or_default();
    let by_place = infos.binary_search_by_key(&at, |f| f.insn_off).ok().and_then(|i| infos.get(i));
    by_place.map(|f| f.type_id).or_else(|| object.btf.as_ref()?.find(Kind::Func, name))
}

/// Lines of the code `start..end` of a section, which begins at `moved_to` in the program.
pub(super) fn lines(
    object: &Object,
    code: usize,
    start: usize,
    end: usize,
    moved_to: usize,
) -> Vec<LineInfo> {
    let (Some(section), Some(ext)) = (object.code.code.get(code), &object.btf_ext) else { return Vec::new() };
    let all = ext.line_info(&section.name);
    let slot = |off: u32| off as usize / Insn::SIZE;
    let from = all.partition_point(|l| slot(l.insn_off) < start);
    let here = all.iter().skip(from).take_while(|l| slot(l.insn_off) < end);
    here.map(|l| LineInfo {
        insn: slot(l.insn_off) - start + moved_to,
        file: l.file.clone(),
        text: l.text.clone(),
        line: l.line,
        col: l.col,
    })
    .collect()
}

/// Uses of field offsets in the code `start..end` of a section, which begins at `moved_to` in the program.
pub(super) fn fields(
    object: &Object,
    code: usize,
    start: usize,
    end: usize,
    moved_to: usize,
) -> Vec<FieldUse> {
    let (Some(section), Some(ext)) = (object.code.code.get(code), &object.btf_ext) else { return Vec::new() };
    let here = ext.core_relos(&section.name).iter().filter(|r| r.kind == CoreReloKind::FieldByteOffset);
    let slots = here.map(|r| (r.insn_off as usize / Insn::SIZE, r.type_id));
    let mut uses: Vec<_> = slots
        .filter(|(slot, _)| (start..end).contains(slot))
        .map(|(slot, type_id)| FieldUse { insn: slot - start + moved_to, type_id })
        .collect();
    uses.sort_by_key(|u| u.insn);
    uses
}
