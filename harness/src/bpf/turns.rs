//! Several programs at one place: who comes first, who comes at all, and what they decide together.
//!
//! | place | order of running | sources in the kernel |
//! |---|---|---|
//! | kprobes, of many functions too; system calls | last attached first | `add_new_kprobe`, `add_ftrace_ops` |
//! | returns of functions | in order of attaching | `__kretprobe_trampoline_handler`: instances are a stack |
//! | returns of many functions | since 6.14 last attached first | `fprobe_return`, before `fprobe_exit_handler` |
//! | uprobes, their returns, USDT probes | last attached first | `consumer_add` |
//! | fentry, fexit, fmod_ret, hooks of security modules | last attached first | `__bpf_trampoline_link_prog` |
//! | tracepoints, raw or not | in order of attaching | `bpf_prog_array_copy`, `func_add` |
//! | traffic control | in order of attaching | by priority, which this library numbers so |
//! | control groups | in order of attaching | `cgroup_bpf_prog_attach` |
//! | packet sockets | last opened first | `dev_add_pack` |
//!
//! Programs of two kinds at one function (a kprobe and one of many functions) have no order that all kernels keep.

use std::ops::ControlFlow;

use bpf_vm_shim::object::{AttachKind, KernelProfile};

use super::{Point, RunReport};

/// Whether the programs at a point, which are of these kinds, run in the opposite order of attaching.
pub(super) fn last_first(point: &Point, kinds: impl IntoIterator<Item = AttachKind>, version: u32) -> bool {
    use AttachKind as K;
    use Point as P;
    let many = |kind| matches!(kind, K::KretprobeMulti | K::KprobeSession);
    if matches!(point, P::Kretprobe(_)) {
        return version >= KernelProfile::kernel_version(6, 14, 0) && kinds.into_iter().all(many);
    }
    matches!(
        point,
        P::Kprobe(_)
            | P::Ksyscall(_)
            | P::Uprobe(_)
            | P::Uretprobe(_)
            | P::Usdt(..)
            | P::Fentry(_)
            | P::Fexit(_)
            | P::FmodRet(_)
            | P::Lsm(_)
            | P::Socket
    )
}

/// `TC_ACT_OK`, `TC_ACT_SHOT`, `TC_ACT_STOLEN`, `TC_ACT_REDIRECT` and `TC_ACT_TRAP`, which are final: all other values are
/// `TC_ACT_UNSPEC` (`cls_bpf_exec_opcode`).
const FINAL: [i32; 5] = [0, 2, 4, 7, 8];

/// What traffic control does with a program's answer: `None` if the next program is asked.
pub(crate) fn action(verdict: u64) -> Option<i32> {
    Some(verdict as u32 as i32).filter(|action| FINAL.contains(action))
}

/// Whether the next program runs after one that has returned this. `passes` is whether a packet is on its way: in test runs
/// each program has a packet of its own.
///
/// A program that decides what a function or hook returns ends it (`invoke_bpf_mod_ret`), as does a final action of
/// traffic control.
pub(super) fn after(point: &Point, ret: u64, passes: bool) -> ControlFlow<()> {
    let ends = match point {
        Point::Lsm(_) | Point::FmodRet(_) => ret != 0,
        Point::Tc => passes && action(ret).is_some(),
        _ => false,
    };
    if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// What those that ran have decided: the last one, or in a control group all of them, of which one suffices to keep a packet
/// (`bpf_prog_run_array_cg`).
pub(crate) fn verdict(point: &Point, reports: &[RunReport]) -> Option<u64> {
    let mut all = reports.iter().filter_map(|r| r.ret().ok());
    match point {
        Point::CgroupSkb => all.reduce(|a, b| a & b),
        _ => all.next_back(),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use bpf_vm_shim::object::{AttachKind, KernelProfile};

    use super::{after, last_first};
    use crate::bpf::Point;

    #[test]
    fn returns_of_many_functions_changed_their_order() {
        let point = Point::Kretprobe("vfs_read".to_owned());
        let turned = |kinds: &[AttachKind], minor| {
            last_first(&point, kinds.iter().copied(), KernelProfile::kernel_version(6, minor, 0))
        };
        use AttachKind::{Kretprobe, KretprobeMulti};
        assert!(!turned(&[KretprobeMulti; 2], 13) && turned(&[KretprobeMulti; 2], 14));
        assert!(!turned(&[Kretprobe; 2], 14) && !turned(&[Kretprobe, KretprobeMulti], 14));
    }

    #[test]
    fn in_test_runs_no_program_takes_the_packet_from_the_next() {
        assert_eq!(after(&Point::Tc, 2, false), ControlFlow::Continue(()));
        assert_eq!(after(&Point::Tc, 2, true), ControlFlow::Break(()));
        assert_eq!(after(&Point::Xdp, 1, true), ControlFlow::Continue(()));
    }
}
