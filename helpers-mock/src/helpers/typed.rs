//! Typed kernel pointers: direct loads, and variables that each CPU has its own of.
//!
//! The kernel's verifier gives pointers their types; a load through one becomes a `BPF_PROBE_MEM` access, which reads 0
//! where nothing is mapped (`ex_handler_bpf` in `arch/x86/net/bpf_jit_comp.c`). Which loads may be such is found out once,
//! when the program is loaded ([`crate::flow`]); all others fault.

use bpf_vm_shim::btf::{Btf, Type};
use bpf_vm_shim::env::{CallResult, Cx, Flow};
use bpf_vm_shim::fault::{Unsupported, UnsupportedKind};
use bpf_vm_shim::isa::{Form, Insn, lookup, pseudo};
use bpf_vm_shim::mem::{AccessKind, AccessProblem, BadAccess, RegionKind};
use bpf_vm_shim::object::{KfuncDecl, LinkedProgram, ProgType};

use super::desc::{Arg, Call, HelperDesc};
use crate::flow::{self, Tables};
use crate::kernel::Kernel;
use crate::progs::{ProgId, TypedLoads};

pub(super) static TABLE: &[HelperDesc] = &[
    HelperDesc::plain(153, "bpf_per_cpu_ptr", &[Arg::Any, Arg::Any], (5, 10), per_cpu_ptr),
    HelperDesc::plain(154, "bpf_this_cpu_ptr", &[Arg::Any], (5, 10), this_cpu_ptr),
];

/// Helpers that give typed pointers: `skc_to_*` (136 to 140, 178, 196), `per_cpu_ptr`, `this_cpu_ptr`,
/// `get_current_task_btf`, `sock_from_file`, `task_pt_regs`, `kptr_xchg`, and `sk_lookup`'s family to which casts apply.
const TYPED_HELPERS: &[i32] = &[136, 137, 138, 139, 140, 153, 154, 158, 162, 175, 178, 194, 196];

/// The loads of a program that may go through typed pointers.
pub(crate) fn typed_loads(prog_type: ProgType, linked: &LinkedProgram, tables: Tables<'_>) -> TypedLoads {
    if !has_typed_pointers(prog_type, &linked.insns, tables) {
        return TypedLoads::default();
    }
    let facts = flow::analyze_linked(linked, prog_type, tables);
    // What the analysis did not come to is not blamed.
    let typed =
        |slot: usize| facts.loads.get(&slot).is_none_or(|l| l.base.is_empty() || l.base.may_be_typed());
    let slots = linked.insns.iter().enumerate();
    let loads =
        slots.filter(|(_, i)| lookup(i).is_some_and(|r| matches!(r.form, Form::Load | Form::LoadAcquire)));
    loads.map(|(slot, _)| slot).filter(|s| facts.gave_up || typed(*s)).map(|s| s as u32).collect()
}

/// Whether a program can have typed kernel pointers: by its type, or by what it calls.
fn has_typed_pointers(prog_type: ProgType, insns: &[Insn], tables: Tables<'_>) -> bool {
    let Tables { btf, kfuncs, ksyms, .. } = tables;
    let variable =
        |i: &Insn| ksyms.get(i.imm as u32 as usize).is_some_and(|k| k.type_id.is_some() && !k.is_func);
    has_typed_context(prog_type)
        || insns.iter().any(|i| {
            i.is_helper_call() && TYPED_HELPERS.contains(&i.imm)
                || i.is_ld_imm64() && i.src == pseudo::BTF_ID && variable(i)
                || i.is_kfunc_call()
                    && kfuncs.get(i.imm as u32 as usize).is_some_and(|k| gives_pointer(k, btf))
        })
}

/// Whether programs of a type are given typed kernel pointers.
const fn has_typed_context(prog_type: ProgType) -> bool {
    matches!(
        prog_type,
        ProgType::Tracing | ProgType::Lsm | ProgType::StructOps | ProgType::Netfilter | ProgType::Ext
    )
}

/// Whether a kernel function returns a pointer to a structure or to `void` (`bpf_rdonly_cast`).
fn gives_pointer(kfunc: &KfuncDecl, btf: Option<&Btf>) -> bool {
    let found = || {
        let btf = btf?;
        let proto = match btf.get(kfunc.proto?).ok()? {
            Type::Func { proto, .. } => btf.get(proto).ok()?,
            other => other,
        };
        let Type::FuncProto(proto) = proto else { return None };
        let Type::Ptr(target) = btf.resolve(proto.ret).ok()?.1 else { return None };
        let (_, target) = btf.resolve(target).ok()?;
        Some(matches!(target, Type::Struct(_) | Type::Union(_) | Type::Fwd { .. } | Type::Void))
    };
    found().unwrap_or(false)
}

/// A load that memory refused: kernel memory is read, an address where nothing is reads 0. Anything else (outside a map
/// value, freed, never written) stays a fault, as it does for programs without typed pointers.
pub(crate) fn load(kernel: &Kernel, cx: &mut Cx<'_>, addr: u64, size: u8) -> Option<u64> {
    if let Some(value) = super::map_struct::load(kernel, addr, size) {
        return Some(value);
    }
    // The run's program may have given way to another one by a tail call.
    let prog = kernel.progs.get(ProgId(cx.code().id()))?;
    if !prog.typed_loads.contains(cx.insn()) {
        return None;
    }
    match cx.mem.explain(BadAccess { kind: AccessKind::Read, addr, size: size.into() }) {
        AccessProblem::Kernel(_) => {
            let mut word = [0; 8];
            let read = cx.mem.probe_read(addr, word.get_mut(..size.into())?);
            Some(read.map_or(0, |()| u64::from_le_bytes(word)))
        }
        AccessProblem::Null | AccessProblem::Wild => Some(0),
        AccessProblem::OutOfBounds(r) | AccessProblem::Freed(r) if r.kind == RegionKind::Kernel => Some(0),
        // Whatever lies behind what is not really such an object.
        AccessProblem::OutOfBounds(_) if takes_untrusted(kernel, cx) => Some(0),
        _ => None,
    }
}

/// Whether the running function says of an argument that it may be anything (`__arg_untrusted`).
fn takes_untrusted(kernel: &Kernel, cx: &Cx<'_>) -> bool {
    let found = || {
        let prog = kernel.progs.get(ProgId(cx.code().id()))?;
        let subprog = prog.linked.subprog(cx.insn() as usize)?;
        let btf = prog.object.btf.as_ref()?;
        Some(btf.decl_tags(subprog.func?).any(|t| t.component >= 0 && t.tag == "arg:untrusted"))
    };
    found().unwrap_or(false)
}

/// `bpf_per_cpu_ptr`: null for a CPU that does not exist.
fn per_cpu_ptr(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [ptr, cpu, ..] = call.args;
    of_cpu(kernel, ptr, cpu as u32)
}

/// `bpf_this_cpu_ptr`.
fn this_cpu_ptr(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let cpu = kernel.state.cpus.current;
    of_cpu(kernel, call.args[0], cpu)
}

fn of_cpu(kernel: &Kernel, ptr: u64, cpu: u32) -> CallResult {
    if cpu >= kernel.state.cpus.count {
        return Ok(Flow::Return(0));
    }
    match kernel.state.symbols.percpu(ptr, cpu) {
        Some(addr) => Ok(Flow::Return(addr)),
        None => {
            let what = "a per-CPU pointer that is no kernel variable's";
            Err(Unsupported::new(UnsupportedKind::Feature, what).into())
        }
    }
}
