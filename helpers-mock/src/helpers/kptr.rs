//! Pointers to kernel and allocated objects in map values (`kernel/bpf/helpers.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::FaultKind;

use super::desc::{Arg, Call, HelperDesc};
use crate::kernel::Kernel;
use crate::kfuncs::base_of;
use crate::run::HeldKind;

pub(super) static TABLE: &[HelperDesc] = &[HelperDesc {
    id: 194,
    name: "bpf_kptr_xchg",
    args: &[Arg::FixedOut(8), Arg::Any],
    since: (5, 19),
    gpl_only: false,
    func: xchg,
    resume: None,
}];

/// `bpf_kptr_xchg`: puts an owned pointer, or null, in place and gives what was there, which the program then owns.
fn xchg(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [field, new, ..] = call.args;
    let Ok(old) = call.cx.mem.load(field, 8) else { return Ok(Flow::Return(0)) };
    let (old_base, new_base) = (base_of(call, old), base_of(call, new));
    if new != 0 {
        let Some(run) = kernel.run_mut() else { return Ok(Flow::Return(0)) };
        let given = run.release(HeldKind::Object, new_base).or_else(|| run.release(HeldKind::Reference, new));
        if given.is_none() {
            let why = format!("is {new:#x}, expected an owned (referenced) pointer or null");
            return Err(
                FaultKind::Argument { callee: call.name.to_owned(), arg: 2, why, problem: None }.into()
            );
        }
    }
    let _ = call.cx.mem.poke(field, &new.to_le_bytes());
    if old != 0 {
        let object = kernel.state.allocated.contains(old_base);
        if let Some(run) = kernel.run_mut() {
            let (kind, key) = if object { (HeldKind::Object, old_base) } else { (HeldKind::Reference, old) };
            run.hold(call.cx, kind, key, "pointer from a map value", call.name);
        }
    }
    Ok(Flow::Return(old))
}
