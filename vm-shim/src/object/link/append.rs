//! Putting a program and the functions it needs into one piece (libbpf's `bpf_object__reloc_code` and
//! `bpf_object__append_subprog_code`).

use std::collections::{BTreeMap, BTreeSet};

use super::{FieldUse, LineInfo, LinkedProgram, Poison, SubprogDef, Work, lines};
use crate::isa::{Insn, pseudo};
use crate::object::error::{LinkError, limit};
use crate::object::kinds::MapType;
use crate::object::map::{MapData, MapDef, MapOrigin};
use crate::object::parse::Object;
use crate::object::program::{FuncLinkage, ProgramDef};
use crate::object::relocs::{JUMP_TABLES, Ref};

/// `sizeof(struct bpf_insn_array_value)`.
const INSN_ARRAY_VALUE: u32 = 16;

/// Links one program.
pub(super) fn link(
    object: &Object,
    work: &Work,
    maps: &mut Vec<MapDef>,
    jump_table_bytes: &mut u64,
    index: usize,
    def: &ProgramDef,
) -> Result<LinkedProgram, LinkError> {
    let main = object.code.functions.get(def.func);
    let (code, start) = main.map_or((0, 0), |f| (f.code, f.start));
    let mut out = Appender {
        object,
        work,
        maps,
        program: &def.name,
        insns: Vec::new(),
        placed: BTreeMap::new(),
        subprogs: Vec::new(),
        lines: Vec::new(),
        fields: Vec::new(),
        poisoned: BTreeMap::new(),
        jump_table_bytes,
    };
    out.run(code, start, def)?;
    Ok(LinkedProgram {
        name: def.name.clone(),
        section: def.section.clone(),
        prog_type: def.prog_type,
        attach: def.attach.clone(),
        index,
        insns: out.insns,
        subprogs: out.subprogs,
        lines: out.lines,
        fields: out.fields,
        poisoned: out.poisoned,
    })
}

struct Appender<'a> {
    object: &'a Object,
    work: &'a Work,
    maps: &'a mut Vec<MapDef>,
    program: &'a str,
    insns: Vec<Insn>,
    /// Where each function went, by section and slot.
    placed: BTreeMap<(usize, usize), usize>,
    subprogs: Vec<SubprogDef>,
    lines: Vec<LineInfo>,
    fields: Vec<FieldUse>,
    poisoned: BTreeMap<usize, Poison>,
    /// Of all programs so far.
    jump_table_bytes: &'a mut u64,
}

/// A function whose references are being resolved.
struct Frame {
    code: usize,
    /// Slot in the section that corresponds to `at`.
    slot: usize,
    /// The next instruction to look at, in the program.
    at: usize,
    end: usize,
}

impl Appender<'_> {
    fn run(&mut self, code: usize, start: usize, def: &ProgramDef) -> Result<(), LinkError> {
        let main = self.append(code, start, Some(def))?;
        let mut stack = vec![main];
        self.resolve(&mut stack)?;
        // A handler for thrown exceptions is named by a tag only, never called.
        for name in exception_callbacks(self.object, self.subprogs.first()) {
            let Some(func) = self.object.code.functions.iter().find(|f| f.name == name) else { continue };
            if !self.placed.contains_key(&(func.code, func.start)) {
                let frame = self.append(func.code, func.start, None)?;
                stack.push(frame);
                self.resolve(&mut stack)?;
            }
        }
        Ok(())
    }

    /// Walks functions depth first, so that each callee lands where libbpf puts it.
    fn resolve(&mut self, stack: &mut Vec<Frame>) -> Result<(), LinkError> {
        while let Some(frame) = stack.last_mut() {
            if frame.at >= frame.end {
                stack.pop();
                continue;
            }
            let (code, slot, at) = (frame.code, frame.slot, frame.at);
            let Some(insn) = self.insns.get(at).copied() else { break };
            let step = if insn.is_ld_imm64() { 2 } else { 1 };
            frame.at += step;
            frame.slot += step;
            let target = match self.object.refs.get(&(code, slot)) {
                Some(Ref::Func { code, slot }) if insn.is_ld_imm64() || insn.opcode == 0x85 => {
                    Some((*code, *slot))
                }
                Some(Ref::JumpTable { offset, size }) if insn.is_ld_imm64() => {
                    let end = frame.end;
                    self.jump_table(code, at, slot, end, (*offset, *size))?;
                    None
                }
                None if insn.is_local_call() => {
                    let target = (slot as i64 + 1).checked_add(i64::from(insn.imm));
                    let target = target.and_then(|t| usize::try_from(t).ok());
                    let target = target.ok_or_else(|| self.bad(code, slot, "code before its section"))?;
                    Some((code, target))
                }
                _ => None,
            };
            // A poisoned instruction is a helper call by now.
            let Some((to_code, to_slot)) = target.filter(|_| !self.poisoned.contains_key(&at)) else {
                continue;
            };
            let to = match self.placed.get(&(to_code, to_slot)) {
                Some(to) => *to,
                None => {
                    if self.object.code.extent(to_code, to_slot).is_none() {
                        return Err(self.bad(code, slot, "code behind its section"));
                    }
                    let callee = self.append(to_code, to_slot, None)?;
                    let to = callee.at;
                    stack.push(callee);
                    to
                }
            };
            self.point(at, to);
        }
        Ok(())
    }

    /// Makes a call or `ld_imm64` refer to an instruction of the program.
    fn point(&mut self, at: usize, to: usize) {
        let distance = (to as i64 - at as i64 - 1) as i32;
        let Some(insn) = self.insns.get_mut(at) else { return };
        insn.imm = distance;
        if insn.is_ld_imm64() {
            insn.src = pseudo::FUNC;
            if let Some(second) = self.insns.get_mut(at + 1) {
                second.imm = 0;
            }
        } else {
            insn.src = pseudo::CALL_LOCAL;
        }
    }

    /// Turns a table of section offsets into a map of instruction slots of this program (libbpf's
    /// `create_jt_map`), 8 bytes each. An entry outside the function leads nowhere.
    fn jump_table(
        &mut self,
        code: usize,
        at: usize,
        slot: usize,
        end: usize,
        (offset, size): (u64, u64),
    ) -> Result<(), LinkError> {
        let bytes = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
        let bytes = bytes.and_then(|(from, len)| self.object.jump_tables.get(from..from.checked_add(len)?));
        let bytes = bytes.ok_or_else(|| self.bad(code, slot, "a jump table outside its section"))?;
        let (entries, _) = bytes.as_chunks::<8>();
        let mut data = Vec::with_capacity(bytes.len());
        for entry in entries {
            let target = usize::try_from(u64::from_le_bytes(*entry)).unwrap_or(usize::MAX) / Insn::SIZE;
            let target = target.saturating_add(at).checked_sub(slot).filter(|t| *t < end);
            data.extend_from_slice(&target.map_or(u64::MAX, |t| t as u64).to_le_bytes());
        }
        *self.jump_table_bytes = self.jump_table_bytes.saturating_add(data.len() as u64);
        if *self.jump_table_bytes > limit::JUMP_TABLES || self.maps.len() as u64 > limit::MAPS {
            let what = format!("jump tables up to program '{}'", self.program);
            return Err(LinkError::Limit { what, size: *self.jump_table_bytes, limit: limit::JUMP_TABLES });
        }
        let mut map = MapDef::new(JUMP_TABLES, JUMP_TABLES, MapOrigin::JumpTable);
        map.map_type = MapType::InsnArray;
        map.key_size = 4;
        map.value_size = INSN_ARRAY_VALUE;
        map.max_entries = entries.len() as u32;
        let size = data.len() as u32;
        map.data = Some(MapData::new(data, size));
        let index = self.maps.len() as i32;
        self.maps.push(map);
        if let Some([first, second, ..]) = self.insns.get_mut(at..) {
            first.src = pseudo::MAP_IDX_VALUE;
            first.imm = index;
            second.imm = 0;
        }
        Ok(())
    }

    fn append(&mut self, code: usize, start: usize, def: Option<&ProgramDef>) -> Result<Frame, LinkError> {
        let known = self.object.code.extent(code, start);
        let main = def.and_then(|d| self.object.code.functions.get(d.func));
        let (function, end) = match (main, known) {
            (Some(f), _) => (Some(f), f.end),
            (None, Some((index, end))) => (index.and_then(|i| self.object.code.functions.get(i)), end),
            (None, None) => (None, start),
        };
        let insns = self.work.insns.get(code).and_then(|i| i.get(start..end)).unwrap_or_default();
        let at = self.insns.len();
        let size = (at + insns.len()) as u64;
        if size > limit::PROGRAM_INSNS {
            let what = format!("instructions of program '{}'", self.program);
            return Err(LinkError::Limit { what, size, limit: limit::PROGRAM_INSNS });
        }
        self.insns.extend_from_slice(insns);
        self.placed.insert((code, start), at);
        for ((_, slot), poison) in self.work.poisoned.range((code, start)..(code, end)) {
            self.poisoned.insert(at + slot - start, poison.clone());
        }
        let name = function.map_or_else(|| format!("sub_{start}"), |f| f.name.clone());
        self.subprogs.push(SubprogDef {
            start: at,
            end: self.insns.len(),
            func: lines::func_type(self.object, code, start, &name),
            linkage: function.map_or(FuncLinkage::Static, |f| f.linkage),
            name,
        });
        self.lines.extend(lines::lines(self.object, code, start, end, at));
        self.fields.extend(lines::fields(self.object, code, start, end, at));
        Ok(Frame { code, slot: start, at, end: self.insns.len() })
    }

    fn bad(&self, code: usize, slot: usize, what: &str) -> LinkError {
        LinkError::BadCall {
            program: self.program.to_owned(),
            section: self.object.code.code.get(code).map_or_else(String::new, |c| c.name.clone()),
            insn: slot,
            reason: what.to_owned(),
        }
    }
}

/// Values of the tags `exception_callback:<name>` on the program's function.
fn exception_callbacks(object: &Object, main: Option<&SubprogDef>) -> BTreeSet<String> {
    let tagged = object.btf.as_ref().zip(main.and_then(|m| m.func));
    let tags = tagged.into_iter().flat_map(|(btf, id)| btf.decl_tags(id).map(|t| t.tag.to_owned()));
    tags.filter_map(|t| t.strip_prefix("exception_callback:").map(str::to_owned)).collect()
}
