//! What holds at the end of a program (`check_return_code`, `check_reference_leak` in `kernel/bpf/verifier.c`).

use bpf_vm_shim::object::{AttachType as A, ProgType as P};

use super::state::{Reg, State, Step, Stop, refuse};
use super::walk::Walk;
use super::why::Why;

/// Security hooks that certainly return 0 or an error (`include/linux/lsm_hook_defs.h`); there are more.
const ERRNO_HOOKS: &[&str] = &[
    "bpf",
    "bpf_map",
    "bpf_prog",
    "file_alloc_security",
    "file_ioctl",
    "file_mprotect",
    "file_open",
    "file_permission",
    "inode_create",
    "socket_create",
    "socket_post_create",
    "inode_mkdir",
    "inode_unlink",
    "path_mkdir",
    "path_unlink",
    "socket_bind",
    "socket_connect",
    "task_alloc",
];

impl Walk<'_> {
    /// The end of the program, or of a global function that is looked at by itself.
    pub(super) fn check_exit(&mut self, state: &mut State) -> Step<()> {
        self.nothing_held(state, "BPF_EXIT instruction in main prog")?;
        let callback = state.global.is_some_and(|f| self.exceptions.contains(&f));
        if let Some(func) = state.global
            && !callback
        {
            if self.returns_void(func) {
                return Ok(());
            }
            return match state.read(0)? {
                Reg::Ptr(p) => {
                    let m =
                        format!("At subprogram exit the register R0 is not a scalar value ({})", p.name());
                    refuse(Why::ReturnValue, m)
                }
                _ => Ok(()),
            };
        }
        if self.prog.prog_type == P::StructOps {
            return Ok(());
        }
        let r0 = state.read(0)?;
        self.result_in_range(r0, "R0")
    }

    /// A result is one that programs of the type may give.
    pub(super) fn result_in_range(&self, r0: Reg, name: &str) -> Step<()> {
        let Some((lo, hi)) = self.return_range() else { return Ok(()) };
        match r0 {
            Reg::Scalar(s, _) => {
                // Results are ints: old kernels looked at 64 bits, new ones look at 32 where that is more lenient.
                if (s.smin >= lo && s.smax <= hi) || (i64::from(s.s32min) >= lo && i64::from(s.s32max) <= hi)
                {
                    return Ok(());
                }
                let m = format!(
                    "At program exit the register {name} has smin={} smax={} should have been in [{lo}, {hi}]",
                    s.smin, s.smax
                );
                refuse(Why::ReturnValue, m)
            }
            Reg::Ptr(p) => {
                let m = format!("At program exit the register {name} is not a known value ({})", p.name());
                refuse(Why::ReturnValue, m)
            }
            _ => Err(Stop::Unsure),
        }
    }

    /// `bpf_set_retval` gives an error or 0 where a hook returns an int (`check_helper_call`).
    pub(super) fn set_retval(&self, value: &Reg) -> Step<()> {
        let lsm = self.prog.prog_type == P::Lsm
            && self.prog.attach.attach_type == A::LsmCgroup
            && ERRNO_HOOKS.contains(&self.prog.attach.name().unwrap_or_default());
        if !lsm && self.prog.prog_type != P::CgroupDevice {
            return Ok(());
        }
        match value {
            Reg::Scalar(s, _) if s.s32max < -4095 || s.s32min > 0 => {
                let m = format!(
                    "At bpf_set_retval the register R1 has smin={} smax={} should have been in [-4095, 0]",
                    s.s32min, s.s32max
                );
                refuse(Why::ReturnValue, m)
            }
            _ => Ok(()),
        }
    }

    fn return_range(&self) -> Option<(i64, i64)> {
        let attach = &self.prog.attach;
        let one = (0, 1);
        Some(match self.prog.prog_type {
            P::CgroupSockAddr => match attach.attach_type {
                A::CgroupUdp4Recvmsg | A::CgroupUdp6Recvmsg => (1, 1),
                A::CgroupInet4Getpeername | A::CgroupInet6Getpeername => (1, 1),
                A::CgroupInet4Getsockname | A::CgroupInet6Getsockname => (1, 1),
                A::CgroupInet4Bind | A::CgroupInet6Bind => (0, 3),
                A::CgroupInet4Connect | A::CgroupInet6Connect => one,
                A::CgroupUdp4Sendmsg | A::CgroupUdp6Sendmsg => one,
                other => match other.name() {
                    "cgroup_unix_recvmsg" | "cgroup_unix_getpeername" | "cgroup_unix_getsockname" => (1, 1),
                    "cgroup_unix_connect" | "cgroup_unix_sendmsg" => one,
                    _ => return None,
                },
            },
            P::CgroupSkb if attach.attach_type == A::CgroupInetEgress => (0, 3),
            P::CgroupSkb => one,
            P::CgroupSock | P::SockOps | P::CgroupDevice | P::CgroupSysctl | P::CgroupSockopt => one,
            P::SkLookup | P::Netfilter => one,
            P::Tracing => match attach.attach_type {
                A::TraceFentry | A::TraceFexit => (0, 0),
                A::TraceIter => one,
                _ => return None,
            },
            P::Lsm if attach.attach_type == A::LsmMac => match attach.name().unwrap_or_default() {
                "audit_rule_known" | "inode_xattr_skipcap" => one,
                hook if ERRNO_HOOKS.contains(&hook) => (-4095, 0),
                _ => return None,
            },
            P::Kprobe if attach.attach_type.name().ends_with("session") => one,
            _ => return None,
        })
    }
}
