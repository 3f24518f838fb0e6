//! Default arguments for programs whose arguments have types: zeroed kernel objects, as the kernel passes no null
//! pointers where its verifier takes a pointer for trusted.

use bpf_vm_shim::btf::{Btf, Kind, Type, TypeId};
use bpf_vm_shim::mem::Perm;
use bpf_vm_shim::object::{AttachKind, ProgType};

use super::args::TypedArgs;
use super::error::ContextError;
use super::{infer, netfilter};
use crate::machine::Machine;
use crate::objects;
use crate::progs::LoadedProg;
use crate::run::RunInput;

/// Zeros for numbers; a zeroed object for each pointer to a structure; the running task for a task. Where no types of
/// the kernel are known, the program's uses tell what is a pointer.
pub(super) fn default_input(machine: &mut Machine, prog: &LoadedProg) -> Result<RunInput, ContextError> {
    let mut call = TypedArgs::default_for(machine, prog);
    let mut owned = RunInput::default();
    if let Some((btf, params)) = params(machine, prog) {
        call.args.resize(params.len().min(super::sizes::MAX_FUNC_ARGS), 0);
        for (arg, id) in call.args.iter_mut().zip(params) {
            if let Some(object) = pointee(&btf, id) {
                *arg = argument(machine, prog.prog_type, &btf, object, &mut owned)?;
            }
        }
    } else if let (None, Some(btf)) = (&machine.kernel.profile.btf, prog.object.btf.clone()) {
        for (arg, object) in call.args.iter_mut().zip(infer::pointees(prog)) {
            if let Some(object) = object {
                *arg = argument(machine, prog.prog_type, &btf, object, &mut owned)?;
            }
        }
    }
    let mut input = call.build(machine)?;
    input.scratch.append(&mut owned.scratch);
    input.packet = owned.packet;
    Ok(input)
}

fn argument(
    machine: &mut Machine,
    prog_type: ProgType,
    btf: &Btf,
    object: TypeId,
    owned: &mut RunInput,
) -> Result<u64, ContextError> {
    if bare_name(btf, object) == "task_struct" {
        let pid = machine.kernel.state.current().pid;
        let task = machine.kernel.make_task(&mut machine.mem, pid)?;
        if let (ProgType::StructOps, Some((offset, size))) = (prog_type, member(btf, object, "scx")) {
            // Schedulers write a task's slice and virtual time (`bpf_scx_btf_struct_access`).
            machine.mem.protect(task + offset, size, Perm::ReadWrite);
        }
        return Ok(task);
    }
    if bare_name(btf, object) == "sk_buff" && owned.packet.is_none() {
        let (input, skb) = netfilter::buffer(machine, Some(btf), &[0; 64])?;
        owned.scratch.extend(input.scratch);
        owned.packet = input.packet;
        if prog_type == ProgType::StructOps {
            machine.mem.protect(skb, btf.size_of(object).unwrap_or(0), Perm::ReadWrite);
        }
        return Ok(skb);
    }
    // A socket is the start of its protocol's own structure; programs of congestion control cast it.
    let whole = match bare_name(btf, object) {
        "sock" => btf.find(Kind::Struct, "tcp_sock").unwrap_or(object),
        _ => object,
    };
    let addr = objects::alloc_type(&mut machine.mem, btf, whole)?;
    owned.scratch.push(addr);
    if matches!(bare_name(btf, object), "file" | "path") {
        // Every file has a path; of this one nothing else is known.
        let size = btf.size_of(whole).unwrap_or(1);
        machine.kernel.state.files.set_path(addr, size, "/");
    }
    if prog_type == ProgType::StructOps {
        // Which members such a program may write is each structure's own business (`btf_struct_access`).
        let size = btf.size_of(whole).unwrap_or(0);
        machine.mem.protect(addr, size, Perm::ReadWrite);
    }
    Ok(addr)
}

/// A structure's name without the flavour that CO-RE allows (`task_struct___old`).
fn bare_name(btf: &Btf, id: TypeId) -> &str {
    let name = btf.name_of(id);
    name.split_once("___").map_or(name, |(bare, _)| bare)
}

/// Where a member is, and how large.
fn member(btf: &Btf, id: TypeId, name: &str) -> Option<(u64, u64)> {
    let member = btf.resolve(id).ok()?.1.as_composite()?.members().find(|m| m.name == name)?;
    Some((u64::from(member.bit_offset / 8), btf.size_of(member.type_id).ok()?))
}

/// The structure that a parameter points to.
pub(super) fn pointee(btf: &Btf, param: TypeId) -> Option<TypeId> {
    let Type::Ptr(target) = btf.resolve(param).ok()?.1 else { return None };
    let (id, ty) = btf.resolve(target).ok()?;
    matches!(ty, Type::Struct(_)).then_some(id)
}

/// The types of a program's arguments, as far as BTF says.
fn params(machine: &Machine, prog: &LoadedProg) -> Option<(Btf, Vec<TypeId>)> {
    let kernel = machine.kernel.profile.btf.as_ref();
    let attach = &prog.linked.attach;
    if prog.prog_type == ProgType::StructOps {
        return member_params(machine, prog);
    }
    let (btf, name) = kernel.zip(attach.name())?;
    let (proto, skip) = match attach.kind {
        AttachKind::TpBtf => (btf.find(Kind::Typedef, &format!("btf_trace_{name}"))?, 1),
        AttachKind::Lsm => (btf.find(Kind::Func, &format!("bpf_lsm_{name}"))?, 0),
        AttachKind::Fentry | AttachKind::Fexit | AttachKind::FmodRet | AttachKind::Fsession => {
            (btf.find(Kind::Func, name)?, 0)
        }
        _ => return None,
    };
    Some((btf.clone(), proto_params(btf, proto)?.split_off(skip)))
}

/// Parameters of the structure's member that the program is put into.
fn member_params(machine: &Machine, prog: &LoadedProg) -> Option<(Btf, Vec<TypeId>)> {
    let index = prog.linked.index;
    let defs = prog.object.maps.iter().filter_map(|id| machine.kernel.maps.get(*id));
    let found = defs.filter_map(|m| m.def.struct_ops.as_ref()).find_map(|ops| {
        ops.members.iter().find(|m| m.program == index).map(|m| (ops.clone(), m.name.clone()))
    });
    let (ops, member) = found?;
    let (btf, id) = match &machine.kernel.profile.btf {
        Some(btf) => (btf, btf.find(Kind::Struct, &ops.type_name)?),
        None => (prog.object.btf.as_ref()?, ops.type_id),
    };
    let composite = btf.resolve(id).ok()?.1.as_composite()?;
    let member = composite.members().find(|m| m.name == member)?;
    Some((btf.clone(), proto_params(btf, member.type_id)?))
}

/// The parameters of a function, or of what is a pointer to one.
pub(super) fn proto_params(btf: &Btf, id: TypeId) -> Option<Vec<TypeId>> {
    let proto = match btf.resolve(id).ok()?.1 {
        Type::Func { proto, .. } => proto,
        Type::Ptr(target) => target,
        Type::FuncProto(_) => id,
        _ => return None,
    };
    match btf.resolve(proto).ok()?.1 {
        // A type of 0 at the end stands for `...`.
        Type::FuncProto(proto) => {
            Some(proto.params().map(|p| p.type_id).filter(|t| *t != TypeId::VOID).collect())
        }
        _ => None,
    }
}
