//! Other inputs for programs that must be refused: the kernel refuses what some input makes go wrong, so one is looked
//! for among a fixed set. A fault that is found is real; none found says nothing.

use std::sync::Arc;

use bpf_helpers_mock::helpers::Override;
use bpf_helpers_mock::state::Rng;
use bpf_vm_shim::exec::Outcome;
use bpf_vm_shim::fault::FaultKind;
use bpf_vm_shim::object::{MapType, ProgType};

use crate::bpf::{Bpf, Input, RunReport};

/// Helpers and kernel functions that may give a null pointer at any call.
static MAY_BE_NULL: &[&str] = &[
    "bpf_map_lookup_elem",
    "bpf_map_lookup_percpu_elem",
    "bpf_ringbuf_reserve",
    "bpf_task_storage_get",
    "bpf_cgrp_storage_get",
    "bpf_dynptr_data",
    "bpf_per_cpu_ptr",
    "bpf_dynptr_slice",
    "bpf_dynptr_slice_rdwr",
    "bpf_obj_new_impl",
    "bpf_obj_new",
    "bpf_percpu_obj_new_impl",
    "bpf_percpu_obj_new",
    "bpf_refcount_acquire_impl",
    "bpf_task_acquire",
    "bpf_task_from_pid",
    "bpf_task_from_vpid",
    "bpf_cgroup_acquire",
    "bpf_cgroup_from_id",
    "bpf_cgroup_ancestor",
    "bpf_cpumask_create",
    "bpf_cpumask_acquire",
    "bpf_list_pop_front",
    "bpf_list_pop_back",
    "bpf_list_front",
    "bpf_list_back",
    "bpf_rbtree_remove",
    "bpf_rbtree_first",
    "bpf_rbtree_left",
    "bpf_rbtree_right",
    "bpf_rbtree_root",
    "bpf_sk_lookup_tcp",
    "bpf_skc_lookup_tcp",
];

/// How many instructions one attempt may execute.
const BUDGET: u64 = 1_000_000;

/// What differs from the default input.
#[derive(Clone, Copy)]
enum Variant {
    /// Every byte of packet, context and map values is this.
    Fill(u8),
    /// Random bytes by this seed.
    Random(u64),
    /// What may be null is.
    Null,
    /// What may be null is, from the n-th such call on the same name.
    NullNth(u64),
}

static VARIANTS: &[Variant] = &[
    Variant::Null,
    Variant::Fill(0xff),
    Variant::Fill(0x7f),
    Variant::Fill(0x80),
    Variant::Fill(1),
    Variant::NullNth(2),
    Variant::Random(1),
    Variant::Random(2),
    Variant::Random(3),
    Variant::Random(4),
];

/// Looks for an input on which the program faults; gives the run and what the input was.
pub(super) fn find_fault(bpf: &mut Bpf, program: &str) -> Option<(RunReport, String)> {
    let prog_type = bpf.program_type(program);
    VARIANTS.iter().find_map(|variant| {
        let mut machine = bpf.fork();
        machine.machine().limits.insns = BUDGET;
        let input = prepare(&mut machine, prog_type, *variant);
        let report = machine.run(program, input).ok()?;
        let found = match &report.outcome {
            // That says more about the budget than about the program.
            Outcome::Fault(fault) => !matches!(fault.kind, FaultKind::Budget { .. }),
            _ => false,
        };
        found.then(|| (report, describe(*variant)))
    })
}

fn describe(variant: Variant) -> String {
    match variant {
        Variant::Fill(b) => format!("packet and map values filled with {b:#04x}"),
        Variant::Random(seed) => format!("random packet, map values and numbers, seed {seed}"),
        Variant::Null => "every call that may give a null pointer does".to_owned(),
        Variant::NullNth(n) => format!("call {n} of what may give a null pointer does"),
    }
}

fn prepare(bpf: &mut Bpf, prog_type: ProgType, variant: Variant) -> Input {
    let mut rng = match variant {
        Variant::Random(seed) => Rng::seeded(seed),
        _ => Rng::seeded(0),
    };
    let mut bytes = |len: usize| -> Vec<u8> {
        match variant {
            Variant::Fill(b) => vec![b; len],
            Variant::Random(_) => (0..len).map(|_| rng.next_u32() as u8).collect(),
            _ => vec![0; len],
        }
    };
    match variant {
        Variant::Null | Variant::NullNth(_) => {
            for name in MAY_BE_NULL {
                let from = if let Variant::NullNth(n) = variant { n } else { 1 };
                let calls = std::sync::atomic::AtomicU64::new(0);
                let answer = move |_: &mut _, _: &mut bpf_vm_shim::env::Cx<'_>, _: [u64; 5]| {
                    let count = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                    (count >= from).then_some(0)
                };
                bpf.override_helper(name, Override::With(Arc::new(answer)));
            }
            return Input::default_for_type();
        }
        Variant::Fill(_) | Variant::Random(_) => {}
    }
    let machine = bpf.machine();
    if let Variant::Random(seed) = variant {
        machine.kernel.state.rng = Rng::seeded(seed);
    }
    // Locks, trees and the like are not the host's to overwrite.
    let plain = machine.kernel.maps.iter().filter(|(_, m)| m.fields.is_empty());
    let maps: Vec<_> = plain.map(|(id, m)| (id, Arc::clone(&m.def))).collect();
    for (id, def) in maps {
        let filled = matches!(def.map_type, MapType::Array | MapType::Hash | MapType::LruHash);
        if !filled || def.is_readonly() || def.value_size > 1 << 16 {
            continue;
        }
        let value = bytes(def.value_size as usize);
        // What the map refuses (frozen, too large) stays as it is.
        let _ = machine.map_update(id, &vec![0; def.key_size as usize], &value, 0);
    }
    match prog_type {
        ProgType::Syscall => Input::ctx(bytes(256)),
        _ => Input::packet(bytes(64)),
    }
}
