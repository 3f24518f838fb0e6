//! Internet checksums (`net/core/filter.c`, `include/net/checksum.h`).

use bpf_vm_shim::env::{CallResult, Flow};

use super::desc::{Arg, Call, HelperDesc};
use super::packet::{done, fail, skb};
use crate::errno::Errno;
use crate::kernel::Kernel;

const fn row(
    id: u32,
    name: &'static str,
    args: &'static [Arg],
    since: (u8, u8),
    func: super::HelperFn,
) -> HelperDesc {
    HelperDesc { id, name, args, since, gpl_only: false, func, resume: None }
}

const REPLACE: &[Arg] = &[Arg::Ctx, Arg::Any, Arg::Any, Arg::Any, Arg::Any];

pub(super) static TABLE: &[HelperDesc] = &[
    row(10, "bpf_l3_csum_replace", REPLACE, (4, 1), l3_csum_replace),
    row(11, "bpf_l4_csum_replace", REPLACE, (4, 1), l4_csum_replace),
    row(
        28,
        "bpf_csum_diff",
        &[Arg::MemOrNull, Arg::SizeOrZero, Arg::MemOrNull, Arg::SizeOrZero, Arg::Any],
        (4, 6),
        csum_diff,
    ),
    row(40, "bpf_csum_update", &[Arg::Ctx, Arg::Any], (4, 9), csum_update),
];

/// Ones' complement sum of 32-bit words.
const fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(carry as u32)
}

/// `csum_fold`.
const fn fold(sum: u32) -> u16 {
    !from32to16(sum)
}

/// `csum_from32to16`.
const fn from32to16(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// `csum_partial`: the sum of little-endian words as the machine reads them, starting from a seed.
fn partial(bytes: &[u8], seed: u32) -> u32 {
    bytes.chunks(4).fold(seed, |sum, chunk| {
        let mut word = [0; 4];
        word.iter_mut().zip(chunk).for_each(|(w, b)| *w = *b);
        add(sum, u32::from_le_bytes(word))
    })
}

/// `bpf_csum_diff`. Since Linux 6.13 the result is folded to 16 bits and sizes may be anything; before, sizes had to be
/// multiples of four, together at most 512 bytes.
fn csum_diff(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    const MAX: u64 = 512;
    let [from, from_size, to, to_size, seed] = call.args;
    let new = kernel.profile.version >= 0x0006_0d00;
    let (from_size, to_size) = (u64::from(from_size as u32), u64::from(to_size as u32));
    if !new && (!(from_size | to_size).is_multiple_of(4) || from_size + to_size > MAX) {
        return fail(Errno::EINVAL);
    }
    let (from, to) = (call.bytes(from, from_size)?, call.bytes(to, to_size)?);
    let sum = match (from.is_empty(), to.is_empty()) {
        (false, _) if new => add(partial(&to, seed as u32), !partial(&from, 0)),
        (false, _) => {
            let inverted: Vec<u8> = from.iter().map(|b| !b).chain(to.iter().copied()).collect();
            partial(&inverted, seed as u32)
        }
        (true, _) => partial(&to, seed as u32),
    };
    Ok(Flow::Return(if new { from32to16(sum).into() } else { sum.into() }))
}

/// `bpf_csum_update`: packets here carry no checksum of the whole, as in a test run.
fn csum_update(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    skb(kernel, call)?;
    fail(Errno::ENOTSUPP)
}

/// The checksum after a change of what it covers, by the size of the change; `None` if the kernel refuses it.
fn replaced(sum: u16, from: u64, to: u64, size: u64, wide: bool) -> Option<u16> {
    let unfolded = !u32::from(sum);
    match size {
        0 if from == 0 => Some(fold(add(to as u32, unfolded))),
        // `csum_replace2` and the transport layer's `inet_proto_csum_replace2`, which widens.
        2 if !wide => {
            let tmp = add16(!sum, !(from as u16));
            Some(!add16(tmp, to as u16))
        }
        2 => Some(fold(add(add(unfolded, !u32::from(from as u16)), u32::from(to as u16)))),
        4 => Some(fold(add(add(unfolded, !(from as u32)), to as u32))),
        _ => None,
    }
}

/// `csum16_add`.
const fn add16(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(carry as u16)
}

const HDR_FIELD_MASK: u64 = 0xf;

/// `bpf_l3_csum_replace`.
fn l3_csum_replace(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    replace(kernel, call, HDR_FIELD_MASK, false)
}

/// `bpf_l4_csum_replace`.
fn l4_csum_replace(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    const PSEUDO_HDR: u64 = 0x10;
    const IPV6: u64 = 0x80;
    replace(kernel, call, HDR_FIELD_MASK | PSEUDO_HDR | MARK_MANGLED_0 | MARK_ENFORCE | IPV6, true)
}

/// A checksum of 0 says that there is none (UDP).
const MARK_MANGLED_0: u64 = 0x20;
const MARK_ENFORCE: u64 = 0x40;

fn replace(kernel: &mut Kernel, call: &mut Call<'_, '_>, known: u64, wide: bool) -> CallResult {
    let [_, offset, from, to, flags] = call.args;
    let offset = offset as u32;
    let packet = skb(kernel, call)?;
    let moved = packet.moved(call.cx.mem);
    if flags & !known != 0 {
        return fail(Errno::EINVAL);
    }
    if offset > 0xffff || !offset.is_multiple_of(2) {
        return fail(Errno::EFAULT);
    }
    let Some(sum) = packet.read(call.cx.mem, offset, 2) else { return fail(Errno::EFAULT) };
    let sum = sum.iter().rev().fold(0, |v, b| v << 8 | u16::from(*b));
    let mangled = wide && flags & MARK_MANGLED_0 != 0;
    if mangled && flags & MARK_ENFORCE == 0 && sum == 0 {
        return done(moved);
    }
    match replaced(sum, from, to, flags & HDR_FIELD_MASK, wide) {
        None => fail(Errno::EINVAL),
        Some(new) => {
            let new = if mangled && new == 0 { 0xffff } else { new };
            packet.write(call.cx.mem, offset, &new.to_le_bytes());
            done(moved)
        }
    }
}
