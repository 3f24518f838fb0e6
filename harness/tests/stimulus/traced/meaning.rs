//! What numbers mean that differ between runs, and which members of structures are compared.

use Meaning::{Address, Number, Pid, Port, Some_};

/// What a number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// Itself.
    Number,
    /// A task: the actor, its child.
    Pid,
    /// A descriptor: which of those that there were.
    Fd,
    /// A port in the host's order: which of those that the kernel has chosen.
    Port,
    /// As it is in packets.
    NetPort,
    /// An address or a time: none, or some.
    Some_,
    /// `struct sockaddr`.
    Address,
    /// Bytes that are no text.
    Bytes,
}

impl Meaning {
    /// By the type's name and the value's.
    pub(super) fn of(ty: &str, name: &str) -> Self {
        match name {
            "pid" | "upid" | "child_pid" | "parent_pid" | "prev_pid" | "next_pid" | "old_pid" => Pid,
            "fd" | "fds" => Self::Fd,
            "sport" | "dport" => Port,
            "address" | "ip" | "addr" | "now" | "expires" | "softexpires" | "newsp" => Some_,
            _ if ty.contains("pid_t") => Pid,
            _ => Number,
        }
    }

    /// What a function or system call returns.
    pub(super) fn of_result(function: &str) -> Self {
        match function {
            "openat" | "do_sys_openat2" | "do_sys_open" | "socket" | "__sys_socket" | "accept4"
            | "__sys_accept4" => Self::Fd,
            "clone" | "wait4" | "kernel_wait4" | "do_wait" | "kernel_clone" => Pid,
            "mmap" => Some_,
            _ => Number,
        }
    }
}

/// Members that are compared where an argument or result points at a structure.
pub(super) const STRUCTS: &[(&str, &[(&str, Meaning)])] = &[
    ("file", &[("f_path.dentry.d_name.name", Number), ("f_flags", Number), ("f_inode.i_size", Number)]),
    ("path", &[("dentry.d_name.name", Number)]),
    ("dentry", &[("d_name.name", Number)]),
    ("filename", &[("name", Number)]),
    ("open_how", &[("flags", Number), ("mode", Number), ("resolve", Number)]),
    (
        "open_flags",
        &[
            ("open_flag", Number),
            ("mode", Number),
            ("acc_mode", Number),
            ("intent", Number),
            ("lookup_flags", Number),
        ],
    ),
    ("task_struct", &[("pid", Pid), ("tgid", Pid), ("comm", Number)]),
    ("pid", &[("numbers.nr", Pid)]),
    ("kernel_clone_args", &[("flags", Number), ("exit_signal", Number)]),
    ("linux_binprm", &[("filename", Number), ("interp", Number), ("argc", Number), ("envc", Number)]),
    ("kernel_siginfo", &[("si_signo", Number), ("si_errno", Number), ("si_code", Number)]),
    ("wait_opts", &[("wo_type", Number), ("wo_flags", Number)]),
    ("socket", &[("type", Number), ("state", Number), ("sk.__sk_common.skc_family", Number)]),
    (
        "sock",
        &[
            ("__sk_common.skc_family", Number),
            ("__sk_common.skc_state", Number),
            ("__sk_common.skc_num", Port),
            ("__sk_common.skc_dport", Meaning::NetPort),
            ("__sk_common.skc_rcv_saddr", Number),
            ("__sk_common.skc_daddr", Number),
            ("__sk_common.skc_v6_rcv_saddr", Meaning::Bytes),
            ("__sk_common.skc_v6_daddr", Meaning::Bytes),
            ("sk_protocol", Number),
            ("sk_type", Number),
        ],
    ),
    (
        "msghdr",
        &[("msg_name", Address), ("msg_namelen", Number), ("msg_flags", Number), ("msg_iter.count", Number)],
    ),
    ("sk_buff", &[("len", Number)]),
    ("vm_area_struct", &[("vm_start", Some_), ("vm_flags", Number)]),
    ("proto_accept_arg", &[("flags", Number), ("err", Number), ("kern", Number)]),
    ("hrtimer_sleeper", &[("task.pid", Pid)]),
];
