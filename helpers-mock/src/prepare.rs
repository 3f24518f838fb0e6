//! From a linked program to one that runs: rewritten if that was asked for, references resolved, validated.

use std::collections::BTreeMap;
use std::sync::Arc;

use bpf_vm_shim::btf::{Type, TypeId};
use bpf_vm_shim::exec::{Code, CodeSpec, Function, InvalidCode};
use bpf_vm_shim::fault::{Unsupported, UnsupportedKind};
use bpf_vm_shim::isa::{Insn, pseudo};
use bpf_vm_shim::object::{FuncLinkage, LinkedProgram, ProgType, SubprogDef};

use crate::flow::Tables;
use crate::helpers;
use crate::machine::Machine;
use crate::maps::{MapCx, MapId};
use crate::passes::{self, PassError};
use crate::progs::{LoadedObject, LoadedProg, ProgId};

/// Why a program cannot be made ready.
#[derive(Debug)]
pub(crate) enum PrepareError {
    /// It is not valid.
    Invalid(InvalidCode),
    /// It cannot be rewritten, or the kernel would refuse it.
    Pass(PassError),
}

impl Machine {
    /// Makes a program of an object ready to run as a program of this type.
    pub(crate) fn prepare(
        &mut self,
        id: ProgId,
        mut linked: LinkedProgram,
        prog_type: ProgType,
        object: &Arc<LoadedObject>,
    ) -> Result<(LoadedProg, passes::Report), PrepareError> {
        let decls: Vec<_> = object.ksyms.iter().map(|(decl, _)| decl.clone()).collect();
        let tables =
            Tables { btf: object.btf.as_ref(), maps: &object.defs, kfuncs: &object.kfuncs, ksyms: &decls };
        let report = match &object.passes {
            Some(passes) => {
                passes::apply(&mut linked, prog_type, tables, passes).map_err(PrepareError::Pass)?
            }
            None => passes::Report::default(),
        };
        let mut unsupported = BTreeMap::new();
        let insns = self.resolve(&linked, object, &mut unsupported);
        let arena = self.arena_of(&linked, &object.maps);
        let spec = CodeSpec {
            id: id.0,
            name: &linked.name,
            insns: &insns,
            funcs: linked.subprogs.iter().map(function).collect(),
            poisoned: linked.poisoned.iter().map(|(i, p)| (*i, p.message.clone())).collect(),
            unsupported,
            arena: arena.and_then(|id| self.arena_view(id)),
            jump_targets: self.jump_targets(&linked, &object.maps),
            exception_cb: exception_callback(&linked, object),
            lenient: false,
        };
        let code = Code::with_entry(spec, entry_registers(prog_type, &linked, object));
        let code = Arc::new(code.map_err(PrepareError::Invalid)?);
        self.fill_jump_tables(id, &linked, &object.maps);
        let typed_loads = helpers::typed_loads(prog_type, &linked, tables);
        let object = Arc::clone(object);
        Ok((LoadedProg { id, object, linked, prog_type, code, arena, typed_loads }, report))
    }

    /// Replaces symbolic references by guest addresses, as the kernel's `resolve_pseudo_ldimm64` does.
    fn resolve(
        &mut self,
        linked: &LinkedProgram,
        object: &LoadedObject,
        unsupported: &mut BTreeMap<usize, Unsupported>,
    ) -> Vec<Insn> {
        let maps = &object.maps;
        let mut insns = linked.insns.clone();
        for i in 0..insns.len() {
            let insn = insns[i];
            if !insn.is_ld_imm64() || linked.poisoned.contains_key(&i) {
                continue;
            }
            let index = insn.imm as u32 as usize;
            let addr = match insn.src {
                pseudo::MAP_IDX => maps.get(index).map(|m| m.addr()),
                pseudo::MAP_IDX_VALUE => {
                    let offset = insns.get(i + 1).map_or(0, |n| n.imm as u32);
                    maps.get(index).and_then(|m| self.map_value(*m)).map(|v| v + u64::from(offset))
                }
                pseudo::BTF_ID => object.ksyms.get(index).map(|(_, addr)| *addr),
                _ => None,
            };
            if addr.is_none() && matches!(insn.src, pseudo::MAP_IDX_VALUE) {
                let map = maps.get(index).and_then(|m| self.kernel.maps.get(*m));
                let name =
                    map.map_or_else(String::new, |m| format!("direct value of {} map", m.def.map_type));
                unsupported.insert(i, Unsupported::new(UnsupportedKind::MapType, name));
            }
            if let (Some(addr), true) = (addr, i + 1 < insns.len()) {
                insns[i].src = pseudo::IMM64;
                insns[i].imm = addr as u32 as i32;
                insns[i + 1].imm = (addr >> 32) as u32 as i32;
            }
        }
        insns
    }

    /// The address of a map's first value (`map_direct_value_addr`).
    fn map_value(&mut self, map: MapId) -> Option<u64> {
        if let Some(addr) = self.direct_value(map) {
            return Some(addr);
        }
        let mut cx = MapCx::host(&mut self.mem, self.kernel.state.cpus.count);
        self.kernel.maps.get(map)?.ops.lookup(&mut cx, &[0; 4]).ok()?
    }
}

fn function(f: &SubprogDef) -> Function {
    let global = f.linkage != FuncLinkage::Static;
    Function { name: f.name.as_str().into(), insn: f.start, global }
}

/// The function that the main function's `exception_callback:` declaration tag names.
fn exception_callback(linked: &LinkedProgram, object: &LoadedObject) -> Option<usize> {
    let btf = object.btf.as_ref()?;
    let main = linked.subprogs.first()?.func?;
    let tag = btf.decl_tags(main).find_map(|t| t.tag.strip_prefix("exception_callback:"))?;
    linked.subprogs.iter().find(|s| s.name == tag).map(|s| s.start)
}

/// The registers that hold values when a program starts: the context; the arguments of the function that it replaces;
/// R0 where nobody uses the result (a function of a structure that returns `void`).
fn entry_registers(prog_type: ProgType, linked: &LinkedProgram, object: &LoadedObject) -> u16 {
    match prog_type {
        ProgType::Ext | ProgType::Unspec => 0b11_1110,
        ProgType::StructOps if returns_void(linked, object).unwrap_or(true) => 0b11,
        _ => 0b10,
    }
}

fn returns_void(linked: &LinkedProgram, object: &LoadedObject) -> Option<bool> {
    let btf = object.btf.as_ref()?;
    let mut all = object.defs.iter().filter_map(|m| m.struct_ops.as_ref());
    let (ops, member) = all.find_map(|ops| {
        ops.members.iter().find(|m| m.program == linked.index).map(|m| (ops, m.name.as_str()))
    })?;
    let composite = btf.resolve(ops.type_id).ok()?.1.as_composite()?;
    let member = composite.members().find(|m| m.name == member)?;
    let Type::Ptr(target) = btf.resolve(member.type_id).ok()?.1 else { return None };
    let Type::FuncProto(proto) = btf.resolve(target).ok()?.1 else { return None };
    Some(proto.ret == TypeId::VOID)
}
