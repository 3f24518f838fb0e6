//! Functions of the module that the kernel's selftests bring along (`bpf_testmod`): those that do nothing but look at
//! their arguments. They exist so that programs written against that module run; no kernel has them otherwise.

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::mem::{Alloc, Area, Perm, RegionKind};

use super::{KfuncDesc, iter};
use crate::errno::Errno;
use crate::helpers::{Arg, Call, HelperFn};
use crate::kernel::Kernel;

const fn row(name: &'static str, args: &'static [Arg], func: HelperFn) -> KfuncDesc {
    KfuncDesc { name, args, since: (0, 0), func }
}

const NONE: &[Arg] = &[];
const OBJECT: &[Arg] = &[Arg::KernelPtr];
const MEM: &[Arg] = &[Arg::Mem, Arg::SizeOrZero];

pub(super) static TABLE: &[KfuncDesc] = &[
    row("bpf_iter_testmod_seq_new", &[Arg::FixedOut(SEQ as u32)], seq_new),
    row("bpf_iter_testmod_seq_next", NONE, seq_next),
    row("bpf_iter_testmod_seq_destroy", NONE, |k, c| iter::end(k, c, SEQ)),
    row("bpf_iter_testmod_seq_value", NONE, seq_value),
    row("bpf_kfunc_common_test", NONE, zero),
    row("bpf_kfunc_dynptr_test", &[Arg::Dynptr], zero),
    row("bpf_kfunc_nested_acquire_nonzero_offset_test", OBJECT, zero),
    row("bpf_kfunc_nested_acquire_zero_offset_test", OBJECT, zero),
    row("bpf_kfunc_nested_release_test", NONE, zero),
    row("bpf_kfunc_trusted_vma_test", OBJECT, zero),
    row("bpf_kfunc_trusted_task_test", OBJECT, zero),
    row("bpf_kfunc_trusted_num_test", OBJECT, zero),
    row("bpf_kfunc_rcu_task_test", OBJECT, zero),
    row("bpf_kfunc_ret_rcu_test", NONE, zero),
    row("bpf_kfunc_ret_rcu_test_nostruct", NONE, zero),
    row("bpf_kfunc_get_default_trusted_ptr_test", NONE, default_trusted),
    row("bpf_kfunc_put_default_trusted_ptr_test", NONE, zero),
    row("bpf_kfunc_call_test1", NONE, |_, c| {
        let [_, a, b, x, d] = c.args;
        Ok(Flow::Return(
            u64::from(a as u32).wrapping_add(b).wrapping_add(u64::from(x as u32)).wrapping_add(d),
        ))
    }),
    row("bpf_kfunc_call_test2", NONE, |_, c| sum32(c.args[1], c.args[2])),
    row("bpf_kfunc_call_test3", NONE, |_, c| Ok(Flow::Return(c.args[0]))),
    row("bpf_kfunc_call_test4", NONE, test4),
    row("bpf_kfunc_call_test5", NONE, zero),
    row("bpf_kfunc_call_test_pass_ctx", &[Arg::Ctx], zero),
    row("bpf_kfunc_call_test_pass1", NONE, zero),
    row("bpf_kfunc_call_test_pass2", NONE, zero),
    row("bpf_kfunc_call_test_mem_len_pass1", MEM, zero),
    row("bpf_kfunc_call_test_mem_len_fail1", NONE, zero),
    row("bpf_kfunc_call_test_mem_len_fail2", NONE, zero),
    row("bpf_kfunc_call_test_ref", NONE, zero),
    row("bpf_kfunc_call_test_destructive", NONE, zero),
    row("bpf_kfunc_call_test_sleepable", NONE, zero),
    row("bpf_kfunc_call_test_static_unused_arg", NONE, |_, c| Ok(Flow::Return(u64::from(c.args[0] as u32)))),
    row("bpf_kfunc_st_ops_inc10", &[Arg::Any], inc10),
    row("bpf_kfunc_implicit_arg", NONE, implicit_arg),
    row("bpf_kfunc_implicit_arg_legacy", NONE, |_, c| sum32(c.args[0], c.args[1])),
    row("bpf_kfunc_implicit_arg_legacy_impl", NONE, |_, c| sum32(c.args[0], c.args[1])),
];

/// Size of `struct bpf_iter_testmod_seq`: a number and how often it still comes.
const SEQ: u64 = 16;

/// Nothing happens; what returns a pointer returns null.
fn zero(_: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(0))
}

/// A sum of `int`s.
fn sum32(a: u64, b: u64) -> CallResult {
    Ok(Flow::Return(u64::from((a as u32).wrapping_add(b as u32))))
}

fn test4(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [a, b, c, d, _] = call.args;
    let (a, b, c) = (i64::from(a as i8), i64::from(b as i16), i64::from(c as i32));
    let first = [a, b, c].iter().position(|v| *v >= 0);
    let sum = a.wrapping_add(b).wrapping_add(c).wrapping_add(d.cast_signed());
    Ok(Flow::Return(first.map_or(sum.cast_unsigned(), |i| i as u64 + 1)))
}

/// `args->a += 10`, the first member of `struct st_ops_args`.
fn inc10(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let at = call.args[0];
    let mut word = [0; 8];
    if call.cx.mem.peek(at, &mut word).is_err() {
        return Err(super::task::argument(call, 0, "is no struct st_ops_args"));
    }
    let new = u64::from_le_bytes(word).wrapping_add(10);
    let _ = call.cx.mem.poke(at, &new.to_le_bytes());
    Ok(Flow::Return(u64::from(new as u32)))
}

/// The program's own data come as a hidden argument, so they are always there.
fn implicit_arg(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let a = call.args[0] as i32;
    Ok(Flow::Return(if a > 0 { u64::from(a as u32) } else { Errno::EINVAL.ret() }))
}

/// A `struct prog_test_member`, of two numbers.
fn default_trusted(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, 8, "struct prog_test_member");
    Ok(Flow::Return(call.cx.mem.alloc(alloc.perm(Perm::ProbeOnly)).unwrap_or(0)))
}

/// `bpf_iter_testmod_seq_new(it, value, cnt)`: `-EINVAL` for a negative count.
fn seq_new(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [at, value, count, ..] = call.args;
    let count = count as u32;
    let valid = count.cast_signed() >= 0;
    let _ = call.cx.mem.store(at, 8, if valid { value } else { 0 });
    let _ = call.cx.mem.store(at + 8, 8, count.into());
    iter::begin(kernel, call, "testmod_seq");
    Ok(Flow::Return(if valid { 0 } else { Errno::EINVAL.ret() }))
}

fn seq(call: &mut Call<'_, '_>, at: u64) -> (u64, i32) {
    let mut bytes = [0; SEQ as usize];
    let _ = call.cx.mem.peek(at, &mut bytes);
    let [value, count] = [0, 8].map(|i| bytes[i..i + 8].iter().rev().fold(0, |v, b| v << 8 | u64::from(*b)));
    (value, count as i32)
}

/// The address of the number, as often as asked for.
fn seq_next(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    iter::require(kernel, call)?;
    let at = call.args[0];
    let (_, count) = seq(call, at);
    if count <= 0 {
        return Ok(Flow::Return(0));
    }
    let _ = call.cx.mem.poke(at + 8, &(count - 1).to_le_bytes());
    Ok(Flow::Return(at))
}

/// `bpf_iter_testmod_seq_value(val, it)`.
fn seq_value(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [val, at, ..] = call.args;
    let (value, count) = seq(call, at);
    let sum = i64::from(val as i32).cast_unsigned().wrapping_add(value);
    Ok(Flow::Return(if count < 0 { 0 } else { sum }))
}
