//! bcc's rewrites of a program that libbpf has prepared and not yet loaded.
//!
//! Its instructions have descriptors of maps where the passes want numbers; they get them for as long as that takes. The
//! records of functions and source lines move along with the instructions that they belong to.

use std::collections::BTreeMap;

use bpf_helpers_mock::flow::{Subject, Tables};
use bpf_helpers_mock::passes;
use bpf_vm_shim::btf::TypeId;
use bpf_vm_shim::isa::{Insn, pseudo};
use bpf_vm_shim::object::{MapDef, Object, ProgType};

use crate::error::Error;

/// Applies the passes to a prepared program.
pub(super) fn rewrite(
    prog: *mut libbpf_sys::bpf_program,
    name: &str,
    prog_type: ProgType,
    object: &Object,
    maps: &[(MapDef, i32)],
    options: &passes::Options,
) -> Result<(), Error> {
    let by_fd: BTreeMap<i32, usize> = maps.iter().enumerate().map(|(i, (_, fd))| (*fd, i)).collect();
    let defs: Vec<MapDef> = maps.iter().map(|(def, _)| def.clone()).collect();
    // SAFETY: the program is alive and libbpf gives its instructions with their number.
    let insns = unsafe {
        let (insns, count) = (libbpf_sys::bpf_program__insns(prog), libbpf_sys::bpf_program__insn_cnt(prog));
        std::slice::from_raw_parts(insns.cast::<[u8; 8]>(), count as usize)
    };
    let mut insns: Vec<Insn> = insns.iter().map(|b| Insn::from_bytes(*b)).collect();
    translate(&mut insns, |src, imm| {
        let index = by_fd.get(&imm).map(|i| *i as i32)?;
        match src {
            pseudo::MAP_FD => Some((pseudo::MAP_IDX, index)),
            pseudo::MAP_VALUE => Some((pseudo::MAP_IDX_VALUE, index)),
            _ => None,
        }
    });
    let functions = function_records(prog);
    let starts: Vec<usize> = functions.iter().map(|f| f.insn_off as usize).collect();
    let main = functions.first().map(|f| TypeId(f.type_id));
    let tables = Tables { btf: object.btf.as_ref(), maps: &defs, kfuncs: &[], ksyms: &[] };
    let functions = if starts.is_empty() { vec![0] } else { starts };
    let subject = Subject { prog_type, insns: &insns, functions: &functions, poisoned: None, tables };
    let done = passes::rewrite(name, &subject, main, options).map_err(Error::from)?;
    if done.report.is_empty() {
        return Ok(());
    }
    let place = |slot: u32| done.places.get(slot as usize).map_or(slot, |p| *p as u32);
    let mut insns = done.insns;
    translate(&mut insns, |src, imm| {
        let fd = maps.get(usize::try_from(imm).ok()?)?.1;
        match src {
            pseudo::MAP_IDX => Some((pseudo::MAP_FD, fd)),
            pseudo::MAP_IDX_VALUE => Some((pseudo::MAP_VALUE, fd)),
            _ => None,
        }
    });
    let bytes: Vec<[u8; 8]> = insns.iter().map(|i| i.to_bytes()).collect();
    // SAFETY: libbpf copies the instructions, each of which is 8 bytes; its own records are changed in place, and their
    // number stays. The program is not loaded yet, and this thread is the only one that knows it.
    let set = unsafe {
        let set =
            libbpf_sys::bpf_program__set_insns(prog, bytes.as_ptr().cast_mut().cast(), bytes.len() as u64);
        for record in
            records(libbpf_sys::bpf_program__func_info(prog), libbpf_sys::bpf_program__func_info_cnt(prog))
        {
            record.insn_off = place(record.insn_off);
        }
        for record in
            records(libbpf_sys::bpf_program__line_info(prog), libbpf_sys::bpf_program__line_info_cnt(prog))
        {
            record.insn_off = place(record.insn_off);
        }
        set
    };
    if set == 0 {
        return Ok(());
    }
    let why = format!("libbpf does not take the rewritten instructions (error {})", -set);
    Err(Error::Invalid(format!("program '{name}': {why}")))
}

fn translate(insns: &mut [Insn], change: impl Fn(u8, i32) -> Option<(u8, i32)>) {
    let mut at = 0;
    while let Some(insn) = insns.get_mut(at) {
        at += 1;
        if !insn.is_ld_imm64() {
            continue;
        }
        at += 1;
        if let Some((src, imm)) = change(insn.src, insn.imm) {
            (insn.src, insn.imm) = (src, imm);
        }
    }
}

fn function_records(prog: *mut libbpf_sys::bpf_program) -> Vec<libbpf_sys::bpf_func_info> {
    // SAFETY: as in `rewrite`.
    let records = unsafe {
        records(libbpf_sys::bpf_program__func_info(prog), libbpf_sys::bpf_program__func_info_cnt(prog))
    };
    records.iter().map(|r| libbpf_sys::bpf_func_info { insn_off: r.insn_off, type_id: r.type_id }).collect()
}

/// Libbpf's records of a program.
///
/// # Safety
/// `first` is the first of `count` records, or `count` is 0 or `first` null; nobody else uses them meanwhile.
unsafe fn records<'a, T>(first: *mut T, count: u32) -> &'a mut [T] {
    if first.is_null() || count == 0 {
        return &mut [];
    }
    // SAFETY: what the caller says.
    unsafe { std::slice::from_raw_parts_mut(first, count as usize) }
}
