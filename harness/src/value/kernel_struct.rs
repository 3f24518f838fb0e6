//! Structures that belong to the kernel wherever they stand in a map value (`btf_parse_fields` in `kernel/bpf/btf.c`).

use bpf_vm_shim::btf::{Btf, Type, TypeId};

/// Names of the structures whose bytes mean something to the kernel only.
static OPAQUE: &[&str] = &[
    "bpf_spin_lock",
    "bpf_res_spin_lock",
    "bpf_timer",
    "bpf_wq",
    "bpf_list_head",
    "bpf_list_node",
    "bpf_rb_root",
    "bpf_rb_node",
    "bpf_refcount",
    "bpf_task_work",
];

/// Type tags of pointers that the kernel owns.
static KPTR: &[&str] = &["kptr", "kptr_untrusted", "percpu_kptr", "kptr_ref", "uptr"];

/// Whether a structure of this name is the kernel's.
pub(super) fn is_opaque(name: &str) -> bool {
    OPAQUE.contains(&name)
}

/// Whether a pointer's target carries a kptr tag.
pub(super) fn is_kptr(btf: &Btf, target: TypeId) -> bool {
    let mut at = target;
    for _ in 0..32 {
        match btf.get(at) {
            Ok(Type::TypeTag { tag, .. }) if KPTR.contains(&tag) => return true,
            Ok(ty) => match ty.modified() {
                Some(next) if !matches!(ty, Type::Typedef { .. }) => at = next,
                _ => return false,
            },
            Err(_) => return false,
        }
    }
    false
}
