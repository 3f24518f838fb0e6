//! The iterator over set bits (`bpf_iter_bits_new` and its relatives in `kernel/bpf/helpers.c`).
//!
//! `struct bpf_iter_bits` on the stack: the bits or, if there is more than one word, the address of a copy of them
//! (8 bytes), how many bits there are (4), the current one (4).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::mem::{Alloc, Area, Perm, RegionKind};

use super::{KfuncDesc, iter};
use crate::errno::Errno;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;

const SIZE: u32 = 16;
/// `BITS_ITER_NR_WORDS_MAX`.
const MAX_WORDS: u32 = 511;

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc {
        name: "bpf_iter_bits_new",
        args: &[Arg::FixedOut(SIZE), Arg::Any, Arg::Any],
        since: (6, 11),
        func: new,
    },
    KfuncDesc { name: "bpf_iter_bits_next", args: &[Arg::Any], since: (6, 11), func: next },
    KfuncDesc { name: "bpf_iter_bits_destroy", args: &[Arg::Any], since: (6, 11), func: destroy },
];

/// The iterator's fields: bits or their address, their number, the current one.
fn state(call: &mut Call<'_, '_>) -> (u64, u32, i32) {
    let mut bytes = [0; SIZE as usize];
    let _ = call.cx.mem.peek(call.args[0], &mut bytes);
    let all = u128::from_le_bytes(bytes);
    (all as u64, (all >> 64) as u32, (all >> 96) as u32 as i32)
}

fn set_state(call: &mut Call<'_, '_>, bits: u64, count: u32, bit: i32) {
    let all = u128::from(bits) | u128::from(count) << 64 | u128::from(bit as u32) << 96;
    let _ = call.cx.mem.write(call.args[0], &all.to_le_bytes());
}

/// `bpf_iter_bits_new`: `-EINVAL` for no words, `-E2BIG` for too many, `-EFAULT` if they cannot be read; the iterator is
/// then empty.
fn new(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, from, words, ..] = call.args;
    let words = words as u32;
    set_state(call, 0, 0, -1);
    iter::begin(kernel, call, "bits");
    if words == 0 || from == 0 {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    if words > MAX_WORDS {
        return Ok(Flow::Return(Errno::E2BIG.ret()));
    }
    let mut bytes = vec![0; words as usize * 8];
    if call.cx.mem.probe_read(from, &mut bytes).is_err() {
        return Ok(Flow::Return(Errno::EFAULT.ret()));
    }
    let bits = match <[u8; 8]>::try_from(bytes.as_slice()) {
        Ok(word) => u64::from_le_bytes(word),
        Err(_) => {
            let alloc = Alloc::new(Area::Heap, RegionKind::Other, words * 8, "iterator 'bits'");
            let Ok(copy) = call.cx.mem.alloc(alloc.perm(Perm::None)) else {
                return Ok(Flow::Return(Errno::ENOMEM.ret()));
            };
            let _ = call.cx.mem.poke(copy, &bytes);
            copy
        }
    };
    set_state(call, bits, words * 64, -1);
    Ok(Flow::Return(0))
}

/// `bpf_iter_bits_next`: the address of the next set bit's number, inside the iterator, or null at the end.
fn next(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    const BIT_AT: u64 = 12;
    iter::require(kernel, call)?;
    let (bits, count, bit) = state(call);
    if count == 0 || bit >= count as i32 {
        return Ok(Flow::Return(0));
    }
    let mut bytes = bits.to_le_bytes().to_vec();
    if count > 64 {
        bytes = vec![0; count as usize / 8];
        let _ = call.cx.mem.peek(bits, &mut bytes);
    }
    let set = |at: &u32| bytes.get(*at as usize / 8).is_some_and(|b| b >> (at % 8) & 1 == 1);
    match ((bit + 1) as u32..count).find(set) {
        Some(found) => {
            set_state(call, bits, count, found as i32);
            Ok(Flow::Return(call.args[0] + BIT_AT))
        }
        None => {
            set_state(call, bits, count, count as i32);
            Ok(Flow::Return(0))
        }
    }
}

/// `bpf_iter_bits_destroy`.
fn destroy(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    iter::require(kernel, call)?;
    let (bits, count, _) = state(call);
    if count > 64 {
        let _ = call.cx.mem.free(bits);
    }
    iter::end(kernel, call, SIZE.into())
}
