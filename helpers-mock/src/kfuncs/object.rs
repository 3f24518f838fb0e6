//! Objects that programs allocate (`bpf_obj_new` and friends in `kernel/bpf/helpers.c`).

use bpf_vm_shim::btf::TypeId;
use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{FaultKind, Trap};
use bpf_vm_shim::mem::{AccessKind, AccessProblem, Alloc, Area, BadAccess, RegionKind};

use super::KfuncDesc;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;
use crate::run::HeldKind;

macro_rules! row {
    ($name:literal, $since:expr, $func:ident) => {
        KfuncDesc { name: $name, args: &[Arg::Any], since: $since, func: $func }
    };
}

pub(super) static TABLE: &[KfuncDesc] = &[
    row!("bpf_obj_new_impl", (6, 2), new),
    row!("bpf_obj_new", (7, 0), new),
    row!("bpf_obj_drop_impl", (6, 2), drop_object),
    row!("bpf_obj_drop", (7, 0), drop_object),
    row!("bpf_percpu_obj_new_impl", (6, 6), new_percpu),
    row!("bpf_percpu_obj_new", (7, 0), new_percpu),
    row!("bpf_percpu_obj_drop_impl", (6, 6), drop_object),
    row!("bpf_percpu_obj_drop", (7, 0), drop_object),
    row!("bpf_refcount_acquire_impl", (6, 4), refcount_acquire),
    row!("bpf_refcount_acquire", (7, 0), refcount_acquire),
];

/// The object that an address lies in: its first byte.
pub(crate) fn base_of(call: &Call<'_, '_>, addr: u64) -> u64 {
    call.cx.mem.region(addr).map_or(addr, |r| r.element_of(addr))
}

/// A wrong argument.
pub(super) fn argument(callee: &str, arg: u8, why: &str, problem: Option<AccessProblem>) -> Trap {
    FaultKind::Argument { callee: callee.to_owned(), arg, why: why.to_owned(), problem }.into()
}

/// Requires an address in live memory; `problem` of the fault says why it is not.
pub(super) fn require_live(call: &mut Call<'_, '_>, arg: u8, len: u64, why: &str) -> Result<u64, Trap> {
    let addr = call.args.get(usize::from(arg) - 1).copied().unwrap_or_default();
    if call.cx.mem.allowed(AccessKind::Write, addr, len) {
        return Ok(addr);
    }
    let problem = call.cx.mem.explain(BadAccess { kind: AccessKind::Write, addr, size: len });
    Err(argument(call.name, arg, why, Some(problem)))
}

/// Takes ownership of an object away from the program.
pub(super) fn give_up(kernel: &mut Kernel, call: &mut Call<'_, '_>, arg: u8, addr: u64) -> Result<u64, Trap> {
    let base = base_of(call, addr);
    let owned = kernel.run_mut().and_then(|run| run.release(HeldKind::Object, base));
    if owned.is_some() {
        return Ok(base);
    }
    let problem = call.cx.mem.explain(BadAccess { kind: AccessKind::Read, addr, size: 1 });
    let freed = Some(problem).filter(|p| matches!(p, AccessProblem::Freed(_)));
    Err(argument(call.name, arg, "is not an owned object (release of an unowned reference)", freed))
}

/// Gives ownership of an object to the program.
pub(super) fn own(kernel: &mut Kernel, call: &Call<'_, '_>, addr: u64) {
    let base = base_of(call, addr);
    if let Some(run) = kernel.run_mut() {
        run.hold(call.cx, HeldKind::Object, base, "allocated object", call.name);
    }
}

fn allocate(kernel: &mut Kernel, call: &mut Call<'_, '_>, percpu: bool) -> CallResult {
    let object = kernel.run().map(|run| std::sync::Arc::clone(&run.prog.object));
    let btf = object.as_ref().and_then(|o| o.btf.as_ref());
    let ty = TypeId(call.args[0] as u32);
    let size = btf.and_then(|btf| btf.size_of(ty).ok()).and_then(|size| u32::try_from(size).ok());
    let Some((btf, size)) = btf.zip(size).filter(|(_, size)| *size > 0) else {
        return Err(argument(call.name, 1, "is no type of the program's BTF", None));
    };
    let name = btf.type_name(ty);
    let count = if percpu { kernel.profile.cpus.max(1) } else { 1 };
    let alloc = Alloc::new(Area::Heap, RegionKind::Object, size, name.clone()).count(count);
    // No memory is what the kernel, too, answers with null.
    let Ok(addr) = call.cx.mem.alloc(alloc) else { return Ok(Flow::Return(0)) };
    kernel.state.allocated.add(addr, percpu);
    if let Some(run) = kernel.run_mut() {
        run.hold(call.cx, HeldKind::Object, addr, name, call.name);
    }
    Ok(Flow::Return(addr))
}

/// `bpf_obj_new`: a zeroed object of a type of the program's BTF.
fn new(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    allocate(kernel, call, false)
}

/// `bpf_percpu_obj_new`: one object per CPU.
fn new_percpu(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    allocate(kernel, call, true)
}

/// `bpf_obj_drop`, `bpf_percpu_obj_drop`: gives an owned reference back; the last one frees the object.
fn drop_object(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let base = give_up(kernel, call, 1, call.args[0])?;
    kernel.state.allocated.drop_ref(call.cx.mem, base);
    Ok(Flow::Return(0))
}

/// `bpf_refcount_acquire`: one more reference to the same object.
fn refcount_acquire(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = require_live(call, 1, 1, "is not a refcounted object")?;
    let base = base_of(call, addr);
    if !kernel.state.allocated.acquire(base) {
        return Err(argument(call.name, 1, "is not a refcounted object", None));
    }
    own(kernel, call, base);
    Ok(Flow::Return(base))
}
