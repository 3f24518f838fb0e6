//! What the checker knows of kernel functions: their flags and the kinds of their arguments
//! (`BTF_ID_FLAGS` and the argument suffixes in `kernel/bpf/helpers.c`, `cpumask.c`, `crypto.c`, `fs/bpf_fs_kfuncs.c`,
//! `net/core/filter.c`, `net/netfilter/nf_conntrack_bpf.c`). What is not here is not followed.

/// Flags of a kernel function (`KF_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) const NONE: Self = Self(0);
    /// `KF_ACQUIRE`.
    pub(super) const ACQUIRE: Self = Self(1);
    /// `KF_RELEASE`: of its first object.
    pub(super) const RELEASE: Self = Self(2);
    /// `KF_RET_NULL`.
    pub(super) const NULL: Self = Self(4);
    /// `KF_RCU`: objects may be protected by a read-side critical section only.
    pub(super) const RCU: Self = Self(8);
    /// `KF_SLEEPABLE`.
    pub(super) const SLEEPS: Self = Self(16);
    /// `KF_RCU_PROTECTED`: to be called in a read-side critical section.
    pub(super) const PROTECTED: Self = Self(32);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Not looked at.
    Any,
    Scalar,
    /// A kernel object of the prototype's type, trusted (or protected, by the function's flags).
    Object,
    /// As before, in newer kernels only.
    NewObject,
    /// An object that the program owns.
    Owned,
    /// As before, in per-CPU memory.
    OwnedPercpu,
    Dynptr,
    DynptrOut,
    /// Memory; the next argument is its size.
    Mem,
    /// Memory or null; the next argument is its size, a constant.
    MemOrNull,
    Size,
    Const,
    /// Memory of the pointed-to type, not null.
    Plain,
    /// A constant string.
    Str,
    /// An object inside a map value, at a constant offset.
    InMapValue,
    /// A map.
    Map,
    /// An iterator of the kind with this name that has begun.
    Iterator(&'static str),
    /// A dynptr or null.
    DynptrOrNull,
}

/// A kernel function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kfunc {
    pub(super) name: &'static str,
    pub(super) flags: Flags,
    pub(super) args: &'static [Kind],
}

const fn row(name: &'static str, flags: Flags, args: &'static [Kind]) -> Kfunc {
    Kfunc { name, flags, args }
}

const NEW: Flags = Flags::ACQUIRE.and(Flags::NULL);
const TAKE: Flags = NEW.and(Flags::RCU);

use Kind::{
    Any, Const, Dynptr, DynptrOrNull, DynptrOut, InMapValue, Iterator, Map, Mem, MemOrNull, NewObject,
    Object, Owned, OwnedPercpu, Plain, Scalar, Size, Str,
};

static TABLE: &[Kfunc] = &[
    // Objects of the program.
    row("bpf_obj_new", NEW, &[Const]),
    row("bpf_obj_new_impl", NEW, &[Const, Any]),
    row("bpf_percpu_obj_new", NEW, &[Const]),
    row("bpf_percpu_obj_new_impl", NEW, &[Const, Any]),
    row("bpf_obj_drop", Flags::RELEASE, &[Owned]),
    row("bpf_obj_drop_impl", Flags::RELEASE, &[Owned, Any]),
    row("bpf_percpu_obj_drop", Flags::RELEASE, &[OwnedPercpu]),
    row("bpf_percpu_obj_drop_impl", Flags::RELEASE, &[OwnedPercpu, Any]),
    // Tasks and control groups.
    row("bpf_task_acquire", TAKE, &[Object]),
    row("bpf_task_release", Flags::RELEASE, &[Object]),
    row("bpf_task_from_pid", NEW, &[Scalar]),
    row("bpf_task_from_vpid", NEW, &[Scalar]),
    row("bpf_task_get_cgroup1", TAKE, &[Object, Scalar]),
    row("bpf_task_under_cgroup", Flags::RCU, &[Object, Object]),
    row("bpf_cgroup_acquire", TAKE, &[Object]),
    row("bpf_cgroup_release", Flags::RELEASE, &[Object]),
    row("bpf_cgroup_ancestor", TAKE, &[Object, Scalar]),
    row("bpf_cgroup_from_id", NEW, &[Scalar]),
    row("bpf_cgroup_read_xattr", Flags::RCU, &[Object, Any, Dynptr]),
    // Files, paths, keys.
    row("bpf_get_task_exe_file", NEW, &[Object]),
    row("bpf_put_file", Flags::RELEASE, &[Object]),
    row("bpf_path_d_path", Flags::NONE, &[Object, Mem, Size]),
    row("bpf_lookup_user_key", NEW.and(Flags::SLEEPS), &[Scalar, Scalar]),
    row("bpf_lookup_system_key", NEW, &[Scalar]),
    row("bpf_key_put", Flags::RELEASE, &[Object]),
    row("bpf_crypto_ctx_create", NEW.and(Flags::SLEEPS), &[Plain, Scalar, Any]),
    row("bpf_crypto_ctx_acquire", TAKE, &[Object]),
    row("bpf_crypto_ctx_release", Flags::RELEASE, &[Object]),
    // Connections.
    row("bpf_skb_ct_lookup", NEW, &[Any, Plain, Scalar, Plain, Scalar]),
    row("bpf_xdp_ct_lookup", NEW, &[Any, Plain, Scalar, Plain, Scalar]),
    row("bpf_skb_ct_alloc", NEW, &[Any, Plain, Scalar, Plain, Scalar]),
    row("bpf_xdp_ct_alloc", NEW, &[Any, Plain, Scalar, Plain, Scalar]),
    row("bpf_ct_release", Flags::RELEASE, &[Object]),
    // CPU masks.
    row("bpf_cpumask_create", NEW, &[]),
    row("bpf_cpumask_acquire", Flags::ACQUIRE, &[Object]),
    row("bpf_cpumask_release", Flags::RELEASE, &[Object]),
    // Memory areas behind dynptrs.
    row("bpf_dynptr_from_skb", Flags::NONE, &[Any, Scalar, DynptrOut]),
    row("bpf_dynptr_from_skb_meta", Flags::NONE, &[Any, Scalar, DynptrOut]),
    row("bpf_dynptr_from_xdp", Flags::NONE, &[Any, Scalar, DynptrOut]),
    row("bpf_dynptr_from_file", Flags::NONE, &[Object, Scalar, DynptrOut]),
    row("bpf_dynptr_file_discard", Flags::RELEASE, &[Dynptr]),
    row("bpf_dynptr_slice", Flags::NULL, &[Dynptr, Scalar, MemOrNull, Const]),
    row("bpf_dynptr_slice_rdwr", Flags::NULL, &[Dynptr, Scalar, MemOrNull, Const]),
    row("bpf_dynptr_adjust", Flags::NONE, &[Dynptr, Scalar, Scalar]),
    row("bpf_dynptr_is_null", Flags::NONE, &[Dynptr]),
    row("bpf_dynptr_is_rdonly", Flags::NONE, &[Dynptr]),
    row("bpf_dynptr_size", Flags::NONE, &[Dynptr]),
    row("bpf_dynptr_clone", Flags::NONE, &[Dynptr, DynptrOut]),
    row("bpf_dynptr_copy", Flags::NONE, &[Dynptr, Scalar, Dynptr, Scalar, Scalar]),
    row("bpf_dynptr_memset", Flags::NONE, &[Dynptr, Scalar, Scalar, Scalar]),
    // Contexts.
    row("bpf_rcu_read_lock", Flags::NONE, &[]),
    row("bpf_rcu_read_unlock", Flags::NONE, &[]),
    row("bpf_preempt_disable", Flags::NONE, &[]),
    row("bpf_preempt_enable", Flags::NONE, &[]),
    row("bpf_local_irq_save", Flags::NONE, &[Any]),
    row("bpf_local_irq_restore", Flags::NONE, &[Any]),
    row("bpf_throw", Flags::NONE, &[Scalar]),
    // Others.
    row("bpf_wq_init", Flags::NONE, &[InMapValue, Map, Scalar]),
    row("bpf_task_work_schedule_resume", Flags::NONE, &[Object, InMapValue, Map, Any]),
    row("bpf_task_work_schedule_signal", Flags::NONE, &[Object, InMapValue, Map, Any]),
    row("bpf_task_work_schedule_resume_impl", Flags::NONE, &[Object, InMapValue, Map, Any, Any]),
    row("bpf_task_work_schedule_signal_impl", Flags::NONE, &[Object, InMapValue, Map, Any, Any]),
    row("bpf_wq_start", Flags::NONE, &[InMapValue, Scalar]),
    row("bpf_iter_testmod_seq_value", Flags::NONE, &[Scalar, Iterator("testmod_seq")]),
    row("bpf_kfunc_dynptr_test", Flags::NONE, &[Dynptr, DynptrOrNull]),
    row("bpf_rdonly_cast", Flags::NONE, &[Any, Any]),
    row("bpf_copy_from_user_str", Flags::SLEEPS, &[Mem, Size, Any, Scalar]),
    row("bpf_copy_from_user_task_str", Flags::SLEEPS, &[Mem, Size, Any, Object, Scalar]),
    row("bpf_stream_vprintk", Flags::NONE, &[Scalar, Str, Mem, Size]),
    row("bpf_stream_vprintk_impl", Flags::NONE, &[Scalar, Str, Mem, Size, Any]),
    row("bpf_wakeup_sources_read_lock", Flags::ACQUIRE, &[]),
    row("bpf_wakeup_sources_read_unlock", Flags::RELEASE, &[Object]),
    row("bpf_wakeup_sources_get_head", Flags::NONE, &[]),
    // The kernel's test module.
    row("bpf_kfunc_call_test_acquire", NEW, &[Plain]),
    row("bpf_kfunc_call_test_release", Flags::RELEASE, &[Object]),
    row("bpf_kfunc_call_test_mem_len_pass1", Flags::NONE, &[Mem, Size]),
    row("bpf_kfunc_trusted_vma_test", Flags::NONE, &[Object]),
    row("bpf_kfunc_trusted_task_test", Flags::NONE, &[Object]),
    row("bpf_kfunc_trusted_num_test", Flags::NONE, &[Plain]),
    row("bpf_kfunc_rcu_task_test", Flags::RCU, &[Object]),
    row("bpf_kfunc_ret_rcu_test", Flags::NULL.and(Flags::PROTECTED), &[]),
    row("bpf_kfunc_call_test_sleepable", Flags::SLEEPS, &[]),
    row("bpf_kfunc_call_test_ref", Flags::RCU, &[NewObject]),
];

/// A kernel function by its name.
pub(super) fn by_name(name: &str) -> Option<&'static Kfunc> {
    TABLE.iter().find(|k| k.name == name)
}

/// Functions that sleep, whatever else they do.
pub(super) fn sleeps(name: &str) -> bool {
    by_name(name).is_some_and(|k| k.flags.has(Flags::SLEEPS))
        || matches!(
            name,
            "bpf_copy_from_user_dynptr"
                | "bpf_copy_from_user_str_dynptr"
                | "bpf_copy_from_user_task_dynptr"
                | "bpf_copy_from_user_task_str_dynptr"
                | "bpf_verify_pkcs7_signature"
        )
}

/// Kinds of open-coded iterators: name, slots, and whether they live in a read-side critical section.
pub(super) static ITERATORS: &[(&str, u8, bool)] = &[
    ("num", 1, false),
    ("bits", 2, false),
    ("task_vma", 1, false),
    ("task", 3, true),
    ("css", 3, true),
    ("css_task", 1, false),
    ("testmod_seq", 2, false),
    ("kmem_cache", 1, false),
    ("dmabuf", 1, false),
];
