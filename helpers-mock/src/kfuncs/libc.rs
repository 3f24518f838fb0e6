//! Library functions that compilers emit calls of. The kernel has none of them for programs, so an object that calls one
//! does not load there; here they do what the C library's do.

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::Trap;

use super::KfuncDesc;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;

const THREE: &[Arg] = &[Arg::Any, Arg::Any, Arg::Any];

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc { name: "memset", args: THREE, since: (0, 0), func: memset },
    KfuncDesc { name: "memcpy", args: THREE, since: (0, 0), func: memmove },
    KfuncDesc { name: "memmove", args: THREE, since: (0, 0), func: memmove },
    KfuncDesc { name: "memcmp", args: THREE, since: (0, 0), func: memcmp },
];

/// Bytes handled at once.
const CHUNK: u64 = 1 << 16;

/// The parts of a range: offset and length.
fn chunks(len: u64) -> impl DoubleEndedIterator<Item = (u64, u64)> {
    (0..len.div_ceil(CHUNK)).map(move |i| (i * CHUNK, CHUNK.min(len - i * CHUNK)))
}

fn read(call: &mut Call<'_, '_>, arg: usize, addr: u64, len: u64) -> Result<Vec<u8>, Trap> {
    let mut bytes = vec![0; len as usize];
    call.get(arg, addr, &mut bytes)?;
    Ok(bytes)
}

fn memset(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [dst, byte, len, ..] = call.args;
    for (at, n) in chunks(len) {
        call.put(0, dst.wrapping_add(at), &vec![byte as u8; n as usize])?;
    }
    Ok(Flow::Return(dst))
}

fn memmove(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [dst, src, len, ..] = call.args;
    let mut copy = |(at, n)| {
        let bytes = read(call, 1, src.wrapping_add(at), n)?;
        call.put(0, dst.wrapping_add(at), &bytes)
    };
    // Overlapping ranges are copied from the end that is not overwritten first.
    if dst > src {
        chunks(len).rev().try_for_each(&mut copy)?
    } else {
        chunks(len).try_for_each(&mut copy)?
    }
    Ok(Flow::Return(dst))
}

fn memcmp(_: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [one, two, len, ..] = call.args;
    for (at, n) in chunks(len) {
        let a = read(call, 0, one.wrapping_add(at), n)?;
        let b = read(call, 1, two.wrapping_add(at), n)?;
        if let Some((x, y)) = a.iter().zip(&b).find(|(x, y)| x != y) {
            return Ok(Flow::Return((i64::from(*x) - i64::from(*y)) as u64));
        }
    }
    Ok(Flow::Return(0))
}
