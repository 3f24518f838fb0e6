//! How large a context is (`include/uapi/linux/bpf.h`).

use bpf_vm_shim::object::{Arch, ProgType};

use super::regs::{pt_regs_size, user_regs_size};

/// The kernel's `MAX_BPF_FUNC_ARGS`.
pub(super) const MAX_FUNC_ARGS: usize = 12;

/// The size of a program type's context in bytes, as of Linux 7.2. Types whose context depends on the event (tracepoints,
/// typed arguments, system call programs) have one that is large enough for most.
#[must_use]
pub const fn context_size(prog_type: ProgType, arch: Arch) -> u32 {
    match prog_type {
        ProgType::Kprobe => pt_regs_size(arch),
        ProgType::PerfEvent => user_regs_size(arch) + 16,
        // PERF_MAX_TRACE_SIZE.
        ProgType::Tracepoint => 8192,
        ProgType::Tracing
        | ProgType::Lsm
        | ProgType::StructOps
        | ProgType::RawTracepoint
        | ProgType::RawTracepointWritable => MAX_FUNC_ARGS as u32 * 8,
        ProgType::Syscall => 4096,
        ProgType::Xdp => 24,
        ProgType::CgroupSock => 80,
        ProgType::CgroupSockAddr | ProgType::SkLookup => 72,
        ProgType::SockOps => 224,
        ProgType::SkMsg => 80,
        ProgType::CgroupDevice => 12,
        ProgType::CgroupSysctl => 8,
        ProgType::CgroupSockopt => 40,
        ProgType::SkReuseport => 56,
        ProgType::LircMode2 => 4,
        // struct bpf_nf_ctx: pointers to the hook's state and the packet.
        ProgType::Netfilter => 16,
        // struct __sk_buff.
        _ => 192,
    }
}
