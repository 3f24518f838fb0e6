//! What is known about a helper, as data.

use bpf_vm_shim::env::{CallResult, Cx, Resume};
use bpf_vm_shim::fault::{FaultKind, Trap};
use bpf_vm_shim::mem::{AccessKind, BadAccess};

use crate::kernel::Kernel;

/// A helper's number (`enum bpf_func_id`).
pub type HelperId = u32;

/// What answers a call.
pub type HelperFn = fn(&mut Kernel, &mut Call<'_, '_>) -> CallResult;

/// What goes on with a call after a callback.
pub type ResumeFn = fn(&mut Kernel, &mut Cx<'_>, Resume, u64) -> CallResult;

/// A call as a helper sees it; its arguments have been checked against the row.
#[derive(Debug)]
pub struct Call<'a, 'b> {
    /// Memory, code and place.
    pub cx: &'a mut Cx<'b>,
    /// R1 to R5.
    pub args: [u64; 5],
    /// The helper's name, for faults.
    pub name: &'static str,
}

impl Call<'_, '_> {
    /// Bytes that the program may read; sizes are 32 bits wide.
    ///
    /// # Errors
    /// The fault of an argument whose memory is not what it should be.
    pub fn bytes(&mut self, addr: u64, len: u64) -> Result<Vec<u8>, Trap> {
        let mut out = vec![0; u64::from(len as u32).min(MAX_BYTES) as usize];
        match self.cx.mem.read(addr, &mut out) {
            Ok(()) => Ok(out),
            Err(_) if out.is_empty() => Ok(out),
            Err(bad) => Err(self.bad(addr, bad)),
        }
    }

    /// A NUL-terminated string that the program may read, without its end.
    ///
    /// # Errors
    /// As for [`Call::bytes`].
    pub fn string(&mut self, addr: u64) -> Result<Vec<u8>, Trap> {
        let mut out = Vec::new();
        while out.len() < 4096 {
            match self.cx.mem.load(addr.wrapping_add(out.len() as u64), 1) {
                Ok(0) => break,
                Ok(c) => out.push(c as u8),
                Err(bad) => return Err(self.bad(addr, bad)),
            }
        }
        Ok(out)
    }

    /// Writes to the program's memory.
    ///
    /// # Errors
    /// As for [`Call::bytes`].
    pub fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), Trap> {
        if data.is_empty() {
            return Ok(());
        }
        self.cx.mem.write(addr, data).map_err(|bad| self.bad(addr, bad))
    }

    /// The fault for memory behind an argument.
    fn bad(&mut self, addr: u64, bad: BadAccess) -> Trap {
        let problem = self.cx.mem.explain(bad);
        let arg = self.args.iter().position(|a| *a == addr).map_or(0, |i| i as u8 + 1);
        let why = format!("is not memory of {} bytes that can be accessed", bad.size);
        FaultKind::Argument { callee: self.name.to_owned(), arg, why, problem: Some(problem) }.into()
    }
}

/// No call needs more bytes at once than this; a larger size cannot be backed by guest memory that a program may touch.
const MAX_BYTES: u64 = 16 << 20;

/// The kind of an argument (`enum bpf_arg_type`): checked before the helper runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Arg {
    /// Any value.
    Any,
    /// The program's context, unchanged.
    Ctx,
    /// A map (`ARG_CONST_MAP_PTR`).
    Map,
    /// Initialised memory of the map's key size; the map is argument 1.
    MapKey,
    /// Initialised memory of the map's value size.
    MapValue,
    /// Writable memory of the map's value size.
    MapValueOut,
    /// Readable memory; the next argument is its size.
    Mem,
    /// Readable memory or null; the next argument is its size.
    MemOrNull,
    /// Writable memory, need not be initialised; the next argument is its size.
    MemOut,
    /// Writable memory or null; the next argument is its size.
    MemOutOrNull,
    /// Readable memory of this many bytes.
    Fixed(u32),
    /// Writable memory of this many bytes.
    FixedOut(u32),
    /// A size above zero (`ARG_CONST_SIZE`).
    Size,
    /// A size, zero allowed (`ARG_CONST_SIZE_OR_ZERO`).
    SizeOrZero,
    /// A function of the program.
    Func,
    /// A NUL-terminated string in readable memory (`ARG_PTR_TO_CONST_STR`).
    Str,
    /// A kernel object: any address that can be probed (`ARG_PTR_TO_BTF_ID`).
    KernelPtr,
    /// As [`Arg::KernelPtr`], or null.
    KernelPtrOrNull,
    /// A struct inside a map value (spin lock, timer, kptr), readable and writable by the program.
    InMapValue,
    /// A dynptr on the stack (`struct bpf_dynptr`, 16 bytes), initialised.
    Dynptr,
    /// Stack space for a dynptr.
    DynptrOut,
}

/// One helper.
#[derive(Clone, Copy, Debug)]
pub struct HelperDesc {
    /// Its number.
    pub id: HelperId,
    /// Its name.
    pub name: &'static str,
    /// The kinds of its arguments.
    pub args: &'static [Arg],
    /// The kernel version that introduced it.
    pub since: (u8, u8),
    /// Only programs under a GPL-compatible licence may call it.
    pub gpl_only: bool,
    /// What it does.
    pub func: HelperFn,
    /// What goes on after a callback, for helpers that have one.
    pub resume: Option<ResumeFn>,
}

impl HelperDesc {
    /// A row without a licence condition and without callbacks.
    #[must_use]
    pub const fn plain(
        id: HelperId,
        name: &'static str,
        args: &'static [Arg],
        since: (u8, u8),
        func: HelperFn,
    ) -> Self {
        Self { id, name, args, since, gpl_only: false, func, resume: None }
    }

    /// A row for programs under a GPL-compatible licence, without callbacks.
    #[must_use]
    pub const fn gpl(
        id: HelperId,
        name: &'static str,
        args: &'static [Arg],
        since: (u8, u8),
        func: HelperFn,
    ) -> Self {
        Self { id, name, args, since, gpl_only: true, func, resume: None }
    }
}

impl Call<'_, '_> {
    /// Writes as the program to memory that argument `arg` (from 0) points to.
    ///
    /// # Errors
    /// The argument's fault, if the program may not write there.
    pub fn put(&mut self, arg: usize, addr: u64, data: &[u8]) -> Result<(), Trap> {
        let len = data.len() as u64;
        let why = format!("is not writable memory of {len} bytes");
        super::require(self.cx, self.name, arg, AccessKind::Write, addr, len, &why)?;
        // `require` has looked at every byte.
        let _ = self.cx.mem.write(addr, data);
        Ok(())
    }

    /// Reads as the program from memory that argument `arg` (from 0) points to.
    ///
    /// # Errors
    /// The argument's fault, if the program may not read there.
    pub fn get(&mut self, arg: usize, addr: u64, out: &mut [u8]) -> Result<(), Trap> {
        let len = out.len() as u64;
        let why = format!("is not readable memory of {len} bytes");
        super::require(self.cx, self.name, arg, AccessKind::Read, addr, len, &why)?;
        let _ = self.cx.mem.read(addr, out);
        Ok(())
    }
}

/// The names of all helpers by number (`___BPF_FUNC_MAPPER` in `include/uapi/linux/bpf.h`), without `bpf_`.
static NAMES: &[&str] = &[
    "unspec",
    "map_lookup_elem",
    "map_update_elem",
    "map_delete_elem",
    "probe_read",
    "ktime_get_ns",
    "trace_printk",
    "get_prandom_u32",
    "get_smp_processor_id",
    "skb_store_bytes",
    "l3_csum_replace",
    "l4_csum_replace",
    "tail_call",
    "clone_redirect",
    "get_current_pid_tgid",
    "get_current_uid_gid",
    "get_current_comm",
    "get_cgroup_classid",
    "skb_vlan_push",
    "skb_vlan_pop",
    "skb_get_tunnel_key",
    "skb_set_tunnel_key",
    "perf_event_read",
    "redirect",
    "get_route_realm",
    "perf_event_output",
    "skb_load_bytes",
    "get_stackid",
    "csum_diff",
    "skb_get_tunnel_opt",
    "skb_set_tunnel_opt",
    "skb_change_proto",
    "skb_change_type",
    "skb_under_cgroup",
    "get_hash_recalc",
    "get_current_task",
    "probe_write_user",
    "current_task_under_cgroup",
    "skb_change_tail",
    "skb_pull_data",
    "csum_update",
    "set_hash_invalid",
    "get_numa_node_id",
    "skb_change_head",
    "xdp_adjust_head",
    "probe_read_str",
    "get_socket_cookie",
    "get_socket_uid",
    "set_hash",
    "setsockopt",
    "skb_adjust_room",
    "redirect_map",
    "sk_redirect_map",
    "sock_map_update",
    "xdp_adjust_meta",
    "perf_event_read_value",
    "perf_prog_read_value",
    "getsockopt",
    "override_return",
    "sock_ops_cb_flags_set",
    "msg_redirect_map",
    "msg_apply_bytes",
    "msg_cork_bytes",
    "msg_pull_data",
    "bind",
    "xdp_adjust_tail",
    "skb_get_xfrm_state",
    "get_stack",
    "skb_load_bytes_relative",
    "fib_lookup",
    "sock_hash_update",
    "msg_redirect_hash",
    "sk_redirect_hash",
    "lwt_push_encap",
    "lwt_seg6_store_bytes",
    "lwt_seg6_adjust_srh",
    "lwt_seg6_action",
    "rc_repeat",
    "rc_keydown",
    "skb_cgroup_id",
    "get_current_cgroup_id",
    "get_local_storage",
    "sk_select_reuseport",
    "skb_ancestor_cgroup_id",
    "sk_lookup_tcp",
    "sk_lookup_udp",
    "sk_release",
    "map_push_elem",
    "map_pop_elem",
    "map_peek_elem",
    "msg_push_data",
    "msg_pop_data",
    "rc_pointer_rel",
    "spin_lock",
    "spin_unlock",
    "sk_fullsock",
    "tcp_sock",
    "skb_ecn_set_ce",
    "get_listener_sock",
    "skc_lookup_tcp",
    "tcp_check_syncookie",
    "sysctl_get_name",
    "sysctl_get_current_value",
    "sysctl_get_new_value",
    "sysctl_set_new_value",
    "strtol",
    "strtoul",
    "sk_storage_get",
    "sk_storage_delete",
    "send_signal",
    "tcp_gen_syncookie",
    "skb_output",
    "probe_read_user",
    "probe_read_kernel",
    "probe_read_user_str",
    "probe_read_kernel_str",
    "tcp_send_ack",
    "send_signal_thread",
    "jiffies64",
    "read_branch_records",
    "get_ns_current_pid_tgid",
    "xdp_output",
    "get_netns_cookie",
    "get_current_ancestor_cgroup_id",
    "sk_assign",
    "ktime_get_boot_ns",
    "seq_printf",
    "seq_write",
    "sk_cgroup_id",
    "sk_ancestor_cgroup_id",
    "ringbuf_output",
    "ringbuf_reserve",
    "ringbuf_submit",
    "ringbuf_discard",
    "ringbuf_query",
    "csum_level",
    "skc_to_tcp6_sock",
    "skc_to_tcp_sock",
    "skc_to_tcp_timewait_sock",
    "skc_to_tcp_request_sock",
    "skc_to_udp6_sock",
    "get_task_stack",
    "load_hdr_opt",
    "store_hdr_opt",
    "reserve_hdr_opt",
    "inode_storage_get",
    "inode_storage_delete",
    "d_path",
    "copy_from_user",
    "snprintf_btf",
    "seq_printf_btf",
    "skb_cgroup_classid",
    "redirect_neigh",
    "per_cpu_ptr",
    "this_cpu_ptr",
    "redirect_peer",
    "task_storage_get",
    "task_storage_delete",
    "get_current_task_btf",
    "bprm_opts_set",
    "ktime_get_coarse_ns",
    "ima_inode_hash",
    "sock_from_file",
    "check_mtu",
    "for_each_map_elem",
    "snprintf",
    "sys_bpf",
    "btf_find_by_name_kind",
    "sys_close",
    "timer_init",
    "timer_set_callback",
    "timer_start",
    "timer_cancel",
    "get_func_ip",
    "get_attach_cookie",
    "task_pt_regs",
    "get_branch_snapshot",
    "trace_vprintk",
    "skc_to_unix_sock",
    "kallsyms_lookup_name",
    "find_vma",
    "loop",
    "strncmp",
    "get_func_arg",
    "get_func_ret",
    "get_func_arg_cnt",
    "get_retval",
    "set_retval",
    "xdp_get_buff_len",
    "xdp_load_bytes",
    "xdp_store_bytes",
    "copy_from_user_task",
    "skb_set_tstamp",
    "ima_file_hash",
    "kptr_xchg",
    "map_lookup_percpu_elem",
    "skc_to_mptcp_sock",
    "dynptr_from_mem",
    "ringbuf_reserve_dynptr",
    "ringbuf_submit_dynptr",
    "ringbuf_discard_dynptr",
    "dynptr_read",
    "dynptr_write",
    "dynptr_data",
    "tcp_raw_gen_syncookie_ipv4",
    "tcp_raw_gen_syncookie_ipv6",
    "tcp_raw_check_syncookie_ipv4",
    "tcp_raw_check_syncookie_ipv6",
    "ktime_get_tai_ns",
    "user_ringbuf_drain",
    "cgrp_storage_get",
    "cgrp_storage_delete",
];

/// A helper's full name, or its number if the kernel has none such.
#[must_use]
pub fn name_of(id: HelperId) -> String {
    match NAMES.get(id as usize) {
        Some(name) => format!("bpf_{name}"),
        None => format!("#{id}"),
    }
}

/// Every helper that the kernel has.
pub fn known() -> impl Iterator<Item = (HelperId, &'static str)> {
    NAMES.iter().enumerate().skip(1).map(|(i, n)| (i as HelperId, *n))
}
