//! Where a program is: read-side critical sections, preemption and interrupts off, locks held, and what may therefore
//! not be done (`in_sleepable_context`, `check_resource_leak`, `check_kfunc_call` in `kernel/bpf/verifier.c`).

use bpf_vm_shim::isa::{Insn, pseudo};
use bpf_vm_shim::object::{AttachType, ProgType};

use super::call::MOVES_PACKET;
use super::kfunc_table;
use super::state::{Reg, Special, State, Step, Target, Trust, refuse};
use super::walk::Walk;
use super::why::Why;
use crate::helpers;

/// Helpers that sleep (`might_sleep` of `struct bpf_func_proto`).
const SLEEPING_HELPERS: &[u32] = &[148, 161, 191, 193];

/// Kernel functions that come with lists, trees and program memory (`generic_btf_ids`).
const GENERIC: &[&str] = &[
    "bpf_obj_new",
    "bpf_obj_drop",
    "bpf_percpu_obj_",
    "bpf_refcount_acquire",
    "bpf_list_",
    "bpf_rbtree_",
    "bpf_task_acquire",
    "bpf_task_release",
    "bpf_task_from_",
    "bpf_task_under_cgroup",
    "bpf_cgroup_acquire",
    "bpf_cgroup_release",
    "bpf_cgroup_ancestor",
    "bpf_cgroup_from_id",
];

impl Walk<'_> {
    /// Refuses what sleeps where that cannot be.
    pub(super) fn may_sleep(&self, state: &State, what: &str) -> Step<()> {
        let place = match state {
            _ if state.rcu > 0 => "inside bpf_rcu_read_lock region",
            _ if state.preempt > 0 => "within non-preemptible region",
            _ if !state.irqs.is_empty() => "within IRQ-disabled region",
            _ if state.later == Some(false) => "in non-sleepable prog",
            _ => return Ok(()),
        };
        refuse(Why::NotAllowed, format!("sleepable {what} {place}"))
    }

    pub(super) fn sleeping_helper(&self, state: &State, id: u32) -> Step<()> {
        if !SLEEPING_HELPERS.contains(&id) {
            return Ok(());
        }
        self.may_sleep(state, &format!("helper {}#{id}", helpers::name_of(id)))
    }

    /// Whether an instruction is a call that sleeps (`might_sleep` of `struct bpf_subprog_info`).
    pub(super) fn sleeping_call(&self, insn: &Insn) -> bool {
        match (insn.opcode, insn.src) {
            (0x85, pseudo::CALL_HELPER) => SLEEPING_HELPERS.contains(&(insn.imm as u32)),
            (0x85, pseudo::CALL_KFUNC) => {
                let kfunc = self.prog.kfuncs.get(insn.imm as u32 as usize);
                kfunc.is_some_and(|k| kfunc_table::sleeps(&k.name))
            }
            _ => false,
        }
    }

    /// Whether an instruction is a call that may move packets (`changes_pkt_data` of `struct bpf_subprog_info`).
    pub(super) fn packet_call(&self, insn: &Insn) -> bool {
        match (insn.opcode, insn.src) {
            (0x85, pseudo::CALL_HELPER) => MOVES_PACKET.contains(&(insn.imm as u32)),
            (0x85, pseudo::CALL_KFUNC) => {
                let kfunc = self.prog.kfuncs.get(insn.imm as u32 as usize);
                kfunc.is_some_and(|k| k.name == "bpf_xdp_pull_data")
            }
            _ => false,
        }
    }

    /// What must not be left behind where a program ends, throws or is replaced (`check_resource_leak`).
    pub(super) fn nothing_held(&self, state: &State, what: &str) -> Step<()> {
        if state.lock.is_some() {
            return refuse(Why::Lock, format!("{what} cannot be used inside bpf_spin_lock-ed region"));
        }
        if let Some(r) = state.refs.first() {
            let m = format!("Unreleased reference id={} alloc_insn={}", r.id, r.insn);
            return refuse(Why::UnreleasedReference, format!("{what} would lead to reference leak: {m}"));
        }
        let region = match state {
            _ if !state.irqs.is_empty() => "bpf_local_irq_save",
            _ if state.rcu > 0 => "bpf_rcu_read_lock",
            _ if state.preempt > 0 => "bpf_preempt_disable",
            _ => return Ok(()),
        };
        refuse(Why::UnbalancedRegion, format!("{what} cannot be used inside {region}-ed region"))
    }

    /// `bpf_rcu_read_lock`, `bpf_preempt_disable` and what ends them.
    pub(super) fn region(&self, state: &mut State, name: &str) -> Step<()> {
        match name {
            "bpf_rcu_read_lock" => state.rcu += 1,
            "bpf_preempt_disable" => state.preempt += 1,
            "bpf_rcu_read_unlock" => {
                if state.rcu == 0 {
                    return refuse(
                        Why::UnbalancedRegion,
                        "unmatched rcu read unlock (kernel function bpf_rcu_read_unlock)".to_owned(),
                    );
                }
                state.rcu -= 1;
                if state.rcu == 0 {
                    end_of_rcu(state, self.prog.attach.sleepable);
                }
            }
            _ => {
                if state.preempt == 0 {
                    return refuse(
                        Why::UnbalancedRegion,
                        "unmatched attempt to enable preemption (kernel function bpf_preempt_enable)"
                            .to_owned(),
                    );
                }
                state.preempt -= 1;
            }
        }
        Ok(())
    }

    /// Kernel functions that are certainly not registered for the program's type
    /// (`bpf_prog_type_to_kfunc_hook`, `register_btf_kfunc_id_set`).
    pub(super) fn kfunc_allowed(&self, name: &str) -> Step<()> {
        use ProgType as P;
        let (t, attach) = (self.prog.prog_type, self.prog.attach.attach_type);
        let tracing = matches!(t, P::Kprobe | P::Tracepoint | P::PerfEvent | P::RawTracepoint);
        let refused = match name {
            "bpf_dynptr_from_skb" => tracing || t == P::Xdp,
            "bpf_dynptr_from_skb_meta" => tracing || matches!(t, P::Xdp | P::Tracing),
            "bpf_dynptr_from_xdp" => t != P::Xdp && !matches!(t, P::Ext | P::Unspec),
            "bpf_sock_destroy" => t == P::Tracing && attach != AttachType::TraceIter,
            "bpf_path_d_path" => t == P::Tracing,
            "bpf_iter_css_task_new" => {
                let may = t == P::Lsm || attach == AttachType::TraceIter || self.prog.attach.sleepable;
                t == P::Tracing && !may
            }
            _ => {
                let bare = matches!(t, P::Kprobe | P::SocketFilter | P::Netfilter);
                bare && GENERIC.iter().any(|g| name.starts_with(g))
            }
        };
        if refused {
            return refuse(Why::NotAllowed, format!("calling kernel function {name} is not allowed"));
        }
        Ok(())
    }

    /// Functions that want a read-side critical section, which programs that cannot sleep are always in.
    pub(super) fn rcu_protected(&self, state: &State, name: &str) -> Step<()> {
        let outside = self.sleeps_now(state) && state.rcu == 0 && state.preempt == 0 && state.irqs.is_empty();
        if outside && state.lock.is_none() {
            let m = format!("kernel func {name} requires RCU critical section protection");
            return refuse(Why::NotAllowed, m);
        }
        Ok(())
    }

    /// The program may sleep where it is, apart from critical sections.
    pub(super) fn sleeps_now(&self, state: &State) -> bool {
        match state.later {
            Some(may) => may,
            None => self.prog.attach.sleepable || self.prog.prog_type == ProgType::Syscall,
        }
    }
}

/// Pointers that a read-side critical section protected are not to be trusted any more.
fn end_of_rcu(state: &mut State, sleepable: bool) {
    state.for_each(|r| {
        if let Reg::Ptr(p) = r
            && let Target::Obj { ty, trust: Trust::Rcu } = p.target
        {
            p.target = Target::Obj { ty, trust: Trust::Untrusted };
            p.or_null = false;
        }
    });
    if !sleepable {
        return;
    }
    for frame in &mut state.frames {
        for slot in frame.stack.values_mut() {
            if let Some(Special::Iter { stale, .. }) = &mut slot.special {
                *stale = true;
            }
        }
    }
}
