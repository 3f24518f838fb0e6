//! Helpers: one table, one file per family.
//!
//! A family's file has a `TABLE` of [`HelperDesc`] rows and the functions they name. Everything else (argument checks,
//! the command line's support lists, the documentation) is derived from the rows. To add a helper, add a row.

mod args;
mod checksum;
mod desc;
mod dynptr;
mod identity;
#[cfg(test)]
mod identity_tests;
mod kptr;
mod lock;
mod loops;
mod map_struct;
mod maps;
#[cfg(test)]
mod output_tests;
mod overrides;
mod packet;
mod path;
mod perf;
mod print;
mod print_btf;
mod probe;
#[cfg(test)]
mod probe_tests;
mod redirect;
mod ringbuf;
mod seams;
mod skb_bytes;
mod skb_change;
mod skb_meta;
mod sockets;
mod stack;
mod storage;
mod strings;
mod time;
pub(crate) mod timer;
mod tracing;
mod typed;
mod xdp;

use std::sync::LazyLock;

use bpf_vm_shim::env::{CallResult, Cx, Flow, Resume};
use bpf_vm_shim::fault::{Trap, Unsupported, UnsupportedKind};

use crate::kernel::Kernel;
use crate::kfuncs;
use crate::maps::MapId;

pub(crate) use args::{map_arg, require};
pub use desc::{Arg, Call, HelperDesc, HelperFn, HelperId, ResumeFn, known, name_of};
pub(crate) use lock::{fault as lock_fault, require_lock};
pub(crate) use loops::MAX_LOOPS;
pub(crate) use overrides::call as overridden;
pub use overrides::{CallRecord, Override, OverrideFn, Overrides};
pub(crate) use packet::never_has_packets;
pub(crate) use path::path;
pub(crate) use print::{formatted, varargs};
pub(crate) use seams::{may_write_packet, packet, packet_bytes};
pub(crate) use skb_bytes::legacy_packet_load;
pub(crate) use typed::typed_loads;

/// The tables of all families.
#[rustfmt::skip] // One line each, so that additions do not collide.
static FAMILIES: &[&[HelperDesc]] = &[
    checksum::TABLE,
    dynptr::TABLE,
    identity::TABLE,
    kptr::TABLE,
    lock::TABLE,
    loops::TABLE,
    maps::TABLE,
    path::TABLE,
    perf::TABLE,
    print::TABLE,
    print_btf::TABLE,
    probe::TABLE,
    redirect::TABLE,
    ringbuf::TABLE,
    skb_bytes::TABLE,
    skb_change::TABLE,
    skb_meta::TABLE,
    sockets::TABLE,
    stack::TABLE,
    storage::TABLE,
    strings::TABLE,
    time::TABLE,
    timer::TABLE,
    tracing::TABLE,
    typed::TABLE,
    xdp::TABLE,
];

/// Rows by helper number.
static BY_ID: LazyLock<Vec<Option<&'static HelperDesc>>> = LazyLock::new(|| {
    let mut rows = Vec::new();
    for row in FAMILIES.iter().copied().flatten() {
        let at = row.id as usize;
        if rows.len() <= at {
            rows.resize(at + 1, None);
        }
        rows[at] = Some(row);
    }
    rows
});

/// Every simulated helper, by number.
pub fn all() -> impl Iterator<Item = &'static HelperDesc> {
    BY_ID.iter().flatten().copied()
}

/// A simulated helper by its number.
#[must_use]
pub fn by_id(id: u32) -> Option<&'static HelperDesc> {
    BY_ID.get(id as usize).copied().flatten()
}

/// Answers a call of a helper: an override if a test has put one, else the table's function after its argument checks.
pub(crate) fn dispatch(kernel: &mut Kernel, cx: &mut Cx<'_>, id: u32, args: [u64; 5]) -> CallResult {
    let row = by_id(id);
    if kernel.overrides.active() {
        let name = row.map_or_else(|| desc::name_of(id), |r| r.name.to_owned());
        return overridden(kernel, cx, &name, args, |kernel, cx, args| run(kernel, cx, row, id, args));
    }
    run(kernel, cx, row, id, args)
}

fn run(
    kernel: &mut Kernel,
    cx: &mut Cx<'_>,
    row: Option<&'static HelperDesc>,
    id: u32,
    args: [u64; 5],
) -> CallResult {
    let Some(desc) = row else {
        return Err(Unsupported::new(UnsupportedKind::Helper, desc::name_of(id)).into());
    };
    checked(kernel, cx, desc.name, desc.args, args, desc.func)
}

/// Checks the arguments, then calls.
pub(crate) fn checked(
    kernel: &mut Kernel,
    cx: &mut Cx<'_>,
    name: &'static str,
    kinds: &[Arg],
    args: [u64; 5],
    func: HelperFn,
) -> CallResult {
    lock::check_call(kernel, name)?;
    args::check(kernel, cx, name, kinds, &args)?;
    func(kernel, &mut Call { cx, args, name })
}

/// Goes on with a helper whose callback has returned. `resume.id` is the helper's number.
pub(crate) fn resume(kernel: &mut Kernel, cx: &mut Cx<'_>, resume: Resume, ret: u64) -> CallResult {
    if resume.id >= kfuncs::RESUME_BASE {
        return kfuncs::resume(kernel, cx, resume, ret);
    }
    match by_id(resume.id).and_then(|d| d.resume) {
        Some(f) => f(kernel, cx, resume, ret),
        None => Ok(Flow::Return(ret)),
    }
}

/// A load through a typed kernel pointer: reads 0 where nothing is mapped. `None`: this program has no such pointers.
pub(crate) fn load_typed(
    kernel: &mut Kernel,
    cx: &mut Cx<'_>,
    addr: u64,
    size: u8,
) -> Result<Option<u64>, Trap> {
    let own = kernel.run().and_then(|r| r.prog.object.btf.as_ref());
    if let Some(btf) = kernel.profile.btf.as_ref().or(own)
        && let Some(value) = crate::maps::load_object(&kernel.maps, btf, addr, size)
    {
        return Ok(Some(value));
    }
    if let Some(id) = MapId::from_addr(addr & !0x3ff).filter(|id| kernel.maps.get(*id).is_some()) {
        let name = kernel.maps.get(id).map_or("", |m| m.def.name.as_str());
        let what = format!("reading struct bpf_map of map '{name}'");
        return Err(Unsupported::new(UnsupportedKind::Feature, what).into());
    }
    Ok(typed::load(kernel, cx, addr, size))
}
