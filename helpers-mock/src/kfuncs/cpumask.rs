//! CPU masks (`kernel/bpf/cpumask.c`).
//!
//! A `struct bpf_cpumask` is the bits of 8192 CPUs, which programs may read, and a count of references.

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{FaultKind, Trap};
use bpf_vm_shim::mem::{AccessProblem, Alloc, Area, BadAccess, Perm, RegionKind};

use super::KfuncDesc;
use crate::errno::Errno;
use crate::helpers::{Arg, Call, HelperFn};
use crate::kernel::Kernel;
use crate::run::HeldKind;

const fn row(name: &'static str, args: &'static [Arg], func: HelperFn) -> KfuncDesc {
    KfuncDesc { name, args, since: (6, 3), func }
}

const NONE: &[Arg] = &[];
const ONE: &[Arg] = &[Arg::Any];
const TWO: &[Arg] = &[Arg::Any, Arg::Any];
const THREE: &[Arg] = &[Arg::Any, Arg::Any, Arg::Any];

pub(super) static TABLE: &[KfuncDesc] = &[
    row("bpf_cpumask_create", NONE, create),
    row("bpf_cpumask_acquire", ONE, acquire),
    row("bpf_cpumask_release", ONE, release),
    row("bpf_cpumask_first", ONE, |k, c| first(k, c, |m| m)),
    row("bpf_cpumask_first_zero", ONE, |k, c| first(k, c, |m| !m)),
    row("bpf_cpumask_first_and", TWO, first_and),
    row("bpf_cpumask_any_distribute", ONE, |k, c| first(k, c, |m| m)),
    row("bpf_cpumask_any_and_distribute", TWO, first_and),
    row("bpf_cpumask_any", ONE, |k, c| first(k, c, |m| m)),
    row("bpf_cpumask_any_and", TWO, first_and),
    row("bpf_cpumask_set_cpu", TWO, |k, c| change(k, c, Some(true))),
    row("bpf_cpumask_clear_cpu", TWO, |k, c| change(k, c, Some(false))),
    row("bpf_cpumask_test_cpu", TWO, |k, c| change(k, c, None)),
    row("bpf_cpumask_test_and_set_cpu", TWO, |k, c| change(k, c, Some(true))),
    row("bpf_cpumask_test_and_clear_cpu", TWO, |k, c| change(k, c, Some(false))),
    row("bpf_cpumask_setall", ONE, |k, c| combine(k, c, |_, _| u64::MAX, 0)),
    row("bpf_cpumask_clear", ONE, |k, c| combine(k, c, |_, _| 0, 0)),
    row("bpf_cpumask_copy", TWO, |k, c| combine(k, c, |a, _| a, 1)),
    row("bpf_cpumask_and", THREE, |k, c| combine(k, c, |a, b| a & b, 2)),
    row("bpf_cpumask_or", THREE, |k, c| combine(k, c, |a, b| a | b, 2)),
    row("bpf_cpumask_xor", THREE, |k, c| combine(k, c, |a, b| a ^ b, 2)),
    row("bpf_cpumask_equal", TWO, |k, c| all(k, c, |a, b| a == b)),
    row("bpf_cpumask_intersects", TWO, intersects),
    row("bpf_cpumask_subset", TWO, |k, c| all(k, c, |a, b| a & !b == 0)),
    row("bpf_cpumask_empty", ONE, |k, c| weighs(k, c, |n, _| (n == 0).into())),
    row("bpf_cpumask_full", ONE, |k, c| weighs(k, c, |n, cpus| (n == cpus).into())),
    row("bpf_cpumask_weight", ONE, |k, c| weighs(k, c, |n, _| n.into())),
    row("bpf_cpumask_populate", &[Arg::Any, Arg::Mem, Arg::SizeOrZero], populate),
];

/// Bytes of a mask.
const BITS: u32 = 1024;
/// Where the count of references is.
const USAGE: u64 = BITS as u64;

fn bad(call: &mut Call<'_, '_>, arg: usize, addr: u64, why: &str) -> Trap {
    let access = BadAccess { kind: bpf_vm_shim::mem::AccessKind::Read, addr, size: 8 };
    let problem = call.cx.mem.explain(access);
    let problem = Some(problem).filter(|p| matches!(p, AccessProblem::Freed(_) | AccessProblem::Null));
    let (callee, arg) = (call.name.to_owned(), arg as u8 + 1);
    FaultKind::Argument { callee, arg, why: why.to_owned(), problem }.into()
}

/// The words of the mask behind an argument, as many as the CPUs need; bits of CPUs that are not there are clear.
fn mask(kernel: &Kernel, call: &mut Call<'_, '_>, arg: usize) -> Result<Vec<u64>, Trap> {
    let addr = call.args.get(arg).copied().unwrap_or_default();
    let mut bytes = vec![0; words(kernel) * 8];
    if call.cx.mem.probe_read(addr, &mut bytes).is_err() {
        return Err(bad(call, arg, addr, "is not a CPU mask"));
    }
    let mut words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|w| u64::from_le_bytes(*w)).collect();
    trim(kernel, &mut words);
    Ok(words)
}

fn words(kernel: &Kernel) -> usize {
    (kernel.profile.cpus.clamp(1, BITS * 8) as usize).div_ceil(64)
}

/// Clears the bits of CPUs that are not there.
fn trim(kernel: &Kernel, words: &mut [u64]) {
    let spare = kernel.profile.cpus.clamp(1, BITS * 8) % 64;
    if let Some(last) = words.last_mut().filter(|_| spare > 0) {
        *last &= (1 << spare) - 1;
    }
}

/// Writes a mask, which must be a live one.
fn store(kernel: &Kernel, call: &mut Call<'_, '_>, arg: usize, mut words: Vec<u64>) -> Result<(), Trap> {
    let addr = call.args.get(arg).copied().unwrap_or_default();
    let live = call.cx.mem.region(addr).is_some_and(|r| r.addr() == addr && !r.freed());
    if !live {
        return Err(bad(call, arg, addr, "is not a struct bpf_cpumask"));
    }
    trim(kernel, &mut words);
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    call.cx.mem.poke(addr, &bytes).map_err(|_| bad(call, arg, addr, "is not a struct bpf_cpumask"))
}

fn hold(kernel: &mut Kernel, call: &Call<'_, '_>, addr: u64) {
    if let Some(run) = kernel.run_mut() {
        run.hold(call.cx, HeldKind::Reference, addr, "struct bpf_cpumask", call.name);
    }
}

/// Adds to the count of references; gives the new one.
fn count(call: &mut Call<'_, '_>, addr: u64, by: i32) -> Result<u32, Trap> {
    let mut usage = [0; 4];
    if call.cx.mem.probe_read(addr.wrapping_add(USAGE), &mut usage).is_err() {
        return Err(bad(call, 0, addr, "is not a struct bpf_cpumask"));
    }
    let usage = u32::from_le_bytes(usage).wrapping_add_signed(by);
    let _ = call.cx.mem.poke(addr.wrapping_add(USAGE), &usage.to_le_bytes());
    Ok(usage)
}

/// `bpf_cpumask_create`: an empty mask with one reference; null without memory.
fn create(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let alloc =
        Alloc::new(Area::Heap, RegionKind::Kernel, BITS + 8, "struct bpf_cpumask").perm(Perm::ReadOnly);
    let Ok(addr) = call.cx.mem.alloc(alloc) else { return Ok(Flow::Return(0)) };
    count(call, addr, 1)?;
    hold(kernel, call, addr);
    Ok(Flow::Return(addr))
}

/// `bpf_cpumask_acquire`.
fn acquire(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = call.args[0];
    count(call, addr, 1)?;
    hold(kernel, call, addr);
    Ok(Flow::Return(addr))
}

/// `bpf_cpumask_release`: the last reference frees the mask.
fn release(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = call.args[0];
    if kernel.run_mut().and_then(|run| run.release(HeldKind::Reference, addr)).is_none() {
        return Err(bad(call, 0, addr, "is not a mask whose reference is held"));
    }
    if count(call, addr, -1)? == 0 {
        let _ = call.cx.mem.free(addr);
    }
    Ok(Flow::Return(0))
}

/// The first CPU of a mask; the number of CPUs if there is none.
fn lowest(kernel: &Kernel, words: &[u64]) -> Flow {
    let at = words.iter().position(|w| *w != 0);
    let cpu = at.map(|i| i as u32 * 64 + words.get(i).map_or(0, |w| w.trailing_zeros()));
    Flow::Return(cpu.unwrap_or(kernel.profile.cpus).into())
}

fn first(kernel: &mut Kernel, call: &mut Call<'_, '_>, of: fn(u64) -> u64) -> CallResult {
    let mut words: Vec<u64> = mask(kernel, call, 0)?.into_iter().map(of).collect();
    trim(kernel, &mut words);
    Ok(lowest(kernel, &words))
}

/// Also for the `_distribute` forms, which the kernel leaves free to give any common CPU.
fn first_and(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let (a, b) = (mask(kernel, call, 0)?, mask(kernel, call, 1)?);
    let words: Vec<u64> = a.iter().zip(&b).map(|(a, b)| a & b).collect();
    Ok(lowest(kernel, &words))
}

/// Reads and sets one CPU's bit: argument 1 is the CPU, 2 the mask. A CPU that is not there is ignored.
fn change(kernel: &mut Kernel, call: &mut Call<'_, '_>, set: Option<bool>) -> CallResult {
    let cpu = call.args[0] as u32;
    let mut words = mask(kernel, call, 1)?;
    let Some(word) = words.get_mut(cpu as usize / 64).filter(|_| cpu < kernel.profile.cpus) else {
        return Ok(Flow::Return(0));
    };
    let bit = 1 << (cpu % 64);
    let old = *word & bit != 0;
    if let Some(set) = set {
        *word = if set { *word | bit } else { *word & !bit };
        store(kernel, call, 1, words)?;
    }
    Ok(Flow::Return(old.into()))
}

/// Combines masks into the first argument; gives whether the result has any CPU, which `bpf_cpumask_and` returns.
fn combine(
    kernel: &mut Kernel,
    call: &mut Call<'_, '_>,
    of: fn(u64, u64) -> u64,
    sources: usize,
) -> CallResult {
    let empty = vec![0; words(kernel)];
    let a = if sources > 0 { mask(kernel, call, 1)? } else { empty.clone() };
    let b = if sources > 1 { mask(kernel, call, 2)? } else { empty };
    let mut words: Vec<u64> = a.iter().zip(&b).map(|(a, b)| of(*a, *b)).collect();
    trim(kernel, &mut words);
    let any = words.iter().any(|w| *w != 0);
    store(kernel, call, 0, words)?;
    Ok(Flow::Return(any.into()))
}

fn all(kernel: &mut Kernel, call: &mut Call<'_, '_>, of: fn(u64, u64) -> bool) -> CallResult {
    let (a, b) = (mask(kernel, call, 0)?, mask(kernel, call, 1)?);
    Ok(Flow::Return(a.iter().zip(&b).all(|(a, b)| of(*a, *b)).into()))
}

fn intersects(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let (a, b) = (mask(kernel, call, 0)?, mask(kernel, call, 1)?);
    Ok(Flow::Return(a.iter().zip(&b).any(|(a, b)| a & b != 0).into()))
}

fn weighs(kernel: &mut Kernel, call: &mut Call<'_, '_>, of: fn(u32, u32) -> u64) -> CallResult {
    let weight = mask(kernel, call, 0)?.iter().map(|w| w.count_ones()).sum();
    Ok(Flow::Return(of(weight, kernel.profile.cpus)))
}

/// `bpf_cpumask_populate`: `-EACCES` if the memory has too few bits.
fn populate(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, src, len, ..] = call.args;
    let bytes = call.bytes(src, len)?;
    let count = words(kernel);
    if bytes.len() < count * 8 {
        return Ok(Flow::Return(Errno::EACCES.ret()));
    }
    let words = bytes.as_chunks::<8>().0.iter().take(count).map(|w| u64::from_le_bytes(*w)).collect();
    store(kernel, call, 0, words)?;
    Ok(Flow::Return(0))
}
