//! What is known of single hooks: the types of arguments that may be null or that calls want trusted, hooks that take no
//! programs (`bpf_lsm_disabled_hooks`, `raw_tp_null_args`, `bpf_lsm_*` with `__nullable` arguments), and what the
//! contexts of iterators hold.

use bpf_vm_shim::object::{AttachType, ProgType};

use super::mem::Access;
use super::state::{Ptr, Reg, Target, Trust};
use super::walk::{Found, Walk};
use super::why::Why;

/// Hook, argument, structure, whether it may be null.
const ARGUMENTS: &[(&str, i64, &str, bool)] = &[
    ("mmap_file", 0, "file", true),
    ("file_open", 0, "file", false),
    ("task_newtask", 0, "task_struct", false),
    ("cgroup_mkdir", 0, "cgroup", false),
    ("sched_pi_setprio", 0, "task_struct", false),
    ("sched_pi_setprio", 1, "task_struct", true),
    ("bpf_testmod_test_raw_tp_null_tp", 0, "sk_buff", true),
    ("bpf_testmod_test_nullable_bare_tp", 0, "bpf_testmod_test_read_ctx", true),
];

/// Security hooks that programs cannot be attached to.
const DISABLED: &[&str] = &[
    "vm_enough_memory",
    "inode_need_killpriv",
    "inode_getsecurity",
    "inode_listsecurity",
    "inode_copy_up_xattr",
    "getselfattr",
    "getprocattr",
    "setprocattr",
    "key_getsecurity",
    "audit_rule_match",
    "xfrm_decode_session",
    "ismaclabel",
];

/// `btf_allowlist_d_path`.
const PATH_FUNCTIONS: &[&str] = &[
    "security_file_permission",
    "security_inode_getattr",
    "security_file_open",
    "security_path_truncate",
    "security_bprm_check",
    "security_bprm_committed_creds",
    "security_bprm_committing_creds",
    "vfs_truncate",
    "vfs_fallocate",
    "dentry_open",
    "vfs_getattr",
    "filp_close",
];

/// Bytes of a buffer whose size an iterator's program does not know.
const BUFFER: u64 = 1 << 28;

impl Walk<'_> {
    /// What a program is refused for because of where it attaches.
    pub(super) fn hook(&self) -> Option<Found> {
        let (attach, t) = (self.prog.attach, self.prog.prog_type);
        let name = attach.name().unwrap_or_default();
        if t == ProgType::Lsm && DISABLED.contains(&name) {
            return Some((0, Why::NotAllowed, format!("bpf_lsm_{name} points to disabled hook")));
        }
        let sleepable_point = matches!(name, "" | "sys_enter" | "sys_exit");
        if t == ProgType::Tracing
            && attach.attach_type == AttachType::TraceRawTp
            && attach.sleepable
            && !sleepable_point
        {
            let m = format!("Sleepable program cannot attach to non-faultable tracepoint {name}");
            return Some((0, Why::NotAllowed, m));
        }
        None
    }

    /// `bpf_d_path` is for a few functions only, apart from security hooks and iterators (`bpf_d_path_allowed`).
    pub(super) fn may_take_paths(&self) -> bool {
        let attach = self.prog.attach;
        let function = matches!(attach.attach_type, AttachType::TraceFentry | AttachType::TraceFexit);
        let name = attach.name().unwrap_or_default();
        !function || name.is_empty() || PATH_FUNCTIONS.contains(&name)
    }

    /// An argument of the hook, if its type is known here.
    pub(super) fn hook_argument(&mut self, off: i64, a: Access) -> Option<Reg> {
        if a.size != 8 || a.write {
            return None;
        }
        let attach = self.prog.attach;
        let name = attach.name()?;
        let id = self.new_id();
        if attach.attach_type == AttachType::TraceIter {
            // The key and the value of a map's element; at the end there is none.
            let writable = off == 24;
            let buffer = Ptr { or_null: true, id, ..Ptr::to(Target::Mem { size: BUFFER, writable }) };
            return (name == "bpf_map_elem" && matches!(off, 16 | 24)).then_some(Reg::Ptr(buffer));
        }
        let typed = matches!(attach.attach_type, AttachType::TraceRawTp | AttachType::LsmMac);
        let row = ARGUMENTS.iter().find(|r| typed && r.0 == name && r.1 * 8 == off)?;
        let target = Target::Obj { ty: self.ty(row.2), trust: Trust::Trusted };
        Some(Reg::Ptr(Ptr { or_null: row.3, id, ..Ptr::to(target) }))
    }
}
