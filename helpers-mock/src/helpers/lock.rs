//! Spin locks in map values and objects (`kernel/bpf/helpers.c`; the rules are the verifier's, `process_spin_lock`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{FaultKind, Trap};

use super::desc::{Arg, Call, HelperDesc};
use crate::kernel::Kernel;

pub(super) static TABLE: &[HelperDesc] = &[
    HelperDesc {
        id: 93,
        name: "bpf_spin_lock",
        args: &[Arg::InMapValue],
        since: (5, 1),
        gpl_only: false,
        func: lock,
        resume: None,
    },
    HelperDesc {
        id: 94,
        name: "bpf_spin_unlock",
        args: &[Arg::InMapValue],
        since: (5, 1),
        gpl_only: false,
        func: unlock,
        resume: None,
    },
];

pub(crate) fn fault(why: impl Into<String>) -> Trap {
    FaultKind::Lock { why: why.into() }.into()
}

/// `bpf_spin_lock`. A second lock, of whatever value, is a fault.
fn lock(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = call.args[0];
    let (earlier, at) = (kernel.runs.len().saturating_sub(1), call.cx.insn());
    let elsewhere = kernel.runs.iter().take(earlier).any(|r| r.lock.is_some_and(|(a, _)| a == addr));
    if elsewhere {
        return Err(fault("bpf_spin_lock: deadlock: a program that this one interrupts holds the lock"));
    }
    let Some(run) = kernel.run_mut() else { return Ok(Flow::Return(0)) };
    if let Some((_, taken)) = run.lock {
        let why = format!("locking two bpf_spin_locks is not allowed: one is held since instruction {taken}");
        return Err(fault(why));
    }
    run.lock = Some((addr, at));
    let _ = call.cx.mem.poke(addr, &1u32.to_le_bytes());
    Ok(Flow::Return(0))
}

/// `bpf_spin_unlock`.
fn unlock(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = call.args[0];
    let Some(run) = kernel.run_mut() else { return Ok(Flow::Return(0)) };
    match run.lock {
        None => Err(fault("bpf_spin_unlock without taking a lock")),
        Some((held, at)) if held != addr => {
            let why = format!("bpf_spin_unlock of a different lock than the one taken at instruction {at}");
            Err(fault(why))
        }
        Some(_) => {
            run.lock = None;
            let _ = call.cx.mem.poke(addr, &0u32.to_le_bytes());
            Ok(Flow::Return(0))
        }
    }
}

/// Requires that a lock in the same value or object as `field` is held (lists and trees).
pub(crate) fn require_lock(k: &Kernel, call: &Call<'_, '_>, field: u64, what: &str) -> Result<(), Trap> {
    let Some(run) = k.run() else { return Ok(()) };
    let base = |addr| call.cx.mem.region(addr).map(|r| r.element_of(addr));
    let spin = run.lock.iter().map(|(addr, _)| *addr);
    let mut held = spin.chain(run.res_locks.iter().map(|l| l.addr)).peekable();
    if held.peek().is_none() {
        return Err(fault(format!("{}: bpf_spin_lock must be held for {what}", call.name)));
    }
    if held.any(|addr| base(addr) == base(field)) {
        return Ok(());
    }
    Err(fault(format!("{}: held lock and {what} are not in the same allocation", call.name)))
}

/// Refuses a call while a lock is held, unless it is one of the few that are allowed then.
pub(crate) fn check_call(kernel: &Kernel, callee: &str) -> Result<(), Trap> {
    let Some(run) = kernel.run() else { return Ok(()) };
    if (run.lock.is_none() && run.res_locks.is_empty()) || allowed(callee) {
        return Ok(());
    }
    let why = "function calls are not allowed while holding a lock".to_owned();
    Err(FaultKind::NotAllowed { callee: callee.to_owned(), why }.into())
}

/// `kfunc_spin_allowed`, and the two helpers.
fn allowed(callee: &str) -> bool {
    const NAMES: &[&str] = &["bpf_spin_lock", "bpf_spin_unlock", "bpf_kptr_xchg"];
    const PREFIXES: &[&str] = &[
        "bpf_list_",
        "bpf_rbtree_",
        "bpf_refcount_acquire",
        "bpf_iter_num_",
        "bpf_res_spin_",
        "bpf_arena_",
        "bpf_stream_",
    ];
    const LIBCALLS: &[&str] = &["memset", "memcpy", "memmove", "memcmp"];
    NAMES.contains(&callee)
        || LIBCALLS.contains(&callee)
        || PREFIXES.iter().any(|prefix| callee.starts_with(prefix))
}
