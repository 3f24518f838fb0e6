//! Kernel functions: one table by name, one file per family, as for helpers.

pub(crate) mod arena;
mod bits;
mod cast;
mod cpumask;
mod dynptr;
mod exception;
mod file;
mod iter;
mod iter_css;
mod iter_task;
mod key;
mod libc;
mod list;
mod maps;
mod object;
mod rbtree;
mod res_lock;
mod section;
mod stream;
mod strings;
mod task;
mod task_work;
mod testmod;
pub(crate) mod timer;
mod wq;
mod xdp;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bpf_vm_shim::env::{CallResult, Cx, Flow, Resume};
use bpf_vm_shim::fault::{Unsupported, UnsupportedKind};

use crate::helpers::{self, Arg, HelperFn};
use crate::kernel::Kernel;

pub(crate) use object::base_of;

/// One kernel function (or library function that compilers emit calls of).
#[derive(Clone, Copy, Debug)]
pub struct KfuncDesc {
    /// Its name.
    pub name: &'static str,
    /// The kinds of its arguments.
    pub args: &'static [Arg],
    /// The kernel version that introduced it.
    pub since: (u8, u8),
    /// What it does.
    pub func: HelperFn,
}

/// Kernel functions in the middle of their work have numbers from here on; helpers have smaller ones.
pub(crate) const RESUME_BASE: u32 = 1 << 16;
pub(crate) const RBTREE_ADD: u32 = RESUME_BASE;

/// Goes on with a kernel function whose callback has returned.
pub(crate) fn resume(kernel: &mut Kernel, cx: &mut Cx<'_>, resume: Resume, ret: u64) -> CallResult {
    match resume.id {
        RBTREE_ADD => rbtree::added(kernel, cx, resume, ret),
        _ => Ok(Flow::Return(ret)),
    }
}

/// The tables of all families.
#[rustfmt::skip] // One line each, so that additions do not collide.
static FAMILIES: &[&[KfuncDesc]] = &[
    arena::TABLE,
    bits::TABLE,
    cast::TABLE,
    cpumask::TABLE,
    dynptr::TABLE,
    exception::TABLE,
    file::TABLE,
    iter::TABLE,
    iter_css::TABLE,
    iter_task::TABLE,
    key::TABLE,
    libc::TABLE,
    list::TABLE,
    maps::TABLE,
    object::TABLE,
    rbtree::TABLE,
    res_lock::TABLE,
    section::TABLE,
    stream::TABLE,
    strings::TABLE,
    task::TABLE,
    task_work::TABLE,
    testmod::TABLE,
    timer::TABLE,
    wq::TABLE,
    xdp::TABLE,
];

/// Rows by name.
static BY_NAME: LazyLock<BTreeMap<&'static str, &'static KfuncDesc>> =
    LazyLock::new(|| all().map(|row| (row.name, row)).collect());

/// Every simulated kernel function.
pub fn all() -> impl Iterator<Item = &'static KfuncDesc> {
    FAMILIES.iter().copied().flatten()
}

/// A simulated kernel function by its name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static KfuncDesc> {
    BY_NAME.get(name).copied()
}

/// Answers a call of a kernel function by its index in the object's table.
pub(crate) fn dispatch(kernel: &mut Kernel, cx: &mut Cx<'_>, index: u32, args: [u64; 5]) -> CallResult {
    let decl = kernel.run().and_then(|r| r.prog.object.kfuncs.get(index as usize));
    let name = decl.map_or_else(|| format!("#{index}"), |k| k.name.clone());
    if kernel.overrides.active() {
        return helpers::overridden(kernel, cx, &name.clone(), args, |k, cx, args| run(k, cx, &name, args));
    }
    run(kernel, cx, &name, args)
}

fn run(kernel: &mut Kernel, cx: &mut Cx<'_>, name: &str, args: [u64; 5]) -> CallResult {
    let Some(desc) = by_name(name) else {
        return Err(Unsupported::new(UnsupportedKind::Kfunc, name).into());
    };
    helpers::checked(kernel, cx, desc.name, desc.args, args, desc.func)
}
