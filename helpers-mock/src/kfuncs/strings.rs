//! Strings (`bpf_strcmp` and its family in `kernel/bpf/helpers.c`): read byte by byte without faulting. A string that
//! cannot be read gives `-EFAULT`, one longer than 64 KiB `-E2BIG`, a user address `-ERANGE`.

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::mem::Memory;

use super::KfuncDesc;
use crate::errno::Errno;
use crate::helpers::{Arg, Call, HelperFn};
use crate::state::TASK_SIZE;

/// `XATTR_SIZE_MAX`.
const MAX: u64 = 65536;

const fn row(name: &'static str, args: &'static [Arg], func: HelperFn) -> KfuncDesc {
    KfuncDesc { name, args, since: (6, 17), func }
}

const ONE: &[Arg] = &[Arg::Any];
const TWO: &[Arg] = &[Arg::Any, Arg::Any];
const THREE: &[Arg] = &[Arg::Any, Arg::Any, Arg::Any];

pub(super) static TABLE: &[KfuncDesc] = &[
    row("bpf_strcmp", TWO, |_, c| give(compare(c, false, MAX))),
    row("bpf_strcasecmp", TWO, |_, c| give(compare(c, true, MAX))),
    row("bpf_strncasecmp", THREE, |_, c| give(compare(c, true, c.args[2]))),
    row("bpf_strchr", TWO, |_, c| give(find(c, MAX, c.args[1] as u8))),
    row("bpf_strnchr", THREE, |_, c| give(find(c, c.args[1], c.args[2] as u8))),
    row("bpf_strchrnul", TWO, |_, c| give(chrnul(c))),
    row("bpf_strrchr", TWO, |_, c| give(rfind(c))),
    row("bpf_strlen", ONE, |_, c| give(length(c, MAX))),
    row("bpf_strnlen", TWO, |_, c| give(length(c, c.args[1]))),
    row("bpf_strspn", TWO, |_, c| give(span(c, true))),
    row("bpf_strcspn", TWO, |_, c| give(span(c, false))),
    row("bpf_strstr", TWO, |_, c| give(within(c, MAX, false))),
    row("bpf_strnstr", THREE, |_, c| give(within(c, c.args[2], false))),
    row("bpf_strcasestr", TWO, |_, c| give(within(c, MAX, true))),
    row("bpf_strncasestr", THREE, |_, c| give(within(c, c.args[2], true))),
];

type Answer = Result<i64, Errno>;

fn give(answer: Answer) -> CallResult {
    Ok(Flow::Return(answer.map_or_else(|e| e.ret(), |v| v as u64)))
}

/// A string of the kernel.
struct Text<'a> {
    mem: &'a mut Memory,
    addr: u64,
}

impl Text<'_> {
    fn at(&mut self, i: u64) -> Result<u8, Errno> {
        let mut byte = [0];
        match self.mem.probe_read(self.addr.wrapping_add(i), &mut byte) {
            Ok(()) => Ok(byte[0]),
            Err(_) => Err(Errno::EFAULT),
        }
    }
}

/// The string at an argument. Low addresses of packets are the kernel's as well.
fn text<'a>(call: &'a mut Call<'_, '_>, arg: usize) -> Result<Text<'a>, Errno> {
    let addr = call.args.get(arg).copied().unwrap_or_default();
    if addr < TASK_SIZE && call.cx.mem.region(addr).is_none() {
        return Err(Errno::ERANGE);
    }
    Ok(Text { mem: call.cx.mem, addr })
}

fn byte(call: &mut Call<'_, '_>, arg: usize, i: u64) -> Result<u8, Errno> {
    let addr = call.args.get(arg).copied().unwrap_or_default();
    Text { mem: call.cx.mem, addr }.at(i)
}

fn fold(c: u8, ignore_case: bool) -> u8 {
    if ignore_case { c.to_ascii_lowercase() } else { c }
}

/// Both strings must be the kernel's.
fn both(call: &mut Call<'_, '_>) -> Result<(), Errno> {
    text(call, 0)?;
    text(call, 1).map(|_| ())
}

fn compare(call: &mut Call<'_, '_>, ignore_case: bool, len: u64) -> Answer {
    both(call)?;
    for i in 0..len.min(MAX) {
        let a = fold(byte(call, 0, i)?, ignore_case).cast_signed();
        let b = fold(byte(call, 1, i)?, ignore_case).cast_signed();
        if a != b {
            return Ok(if a < b { -1 } else { 1 });
        }
        if a == 0 {
            return Ok(0);
        }
    }
    if len >= MAX { Err(Errno::E2BIG) } else { Ok(0) }
}

fn find(call: &mut Call<'_, '_>, len: u64, c: u8) -> Answer {
    let mut s = text(call, 0)?;
    for i in 0..len.min(MAX) {
        match s.at(i)? {
            b if b == c => return Ok(i as i64),
            0 => return Err(Errno::ENOENT),
            _ => {}
        }
    }
    Err(if len >= MAX { Errno::E2BIG } else { Errno::ENOENT })
}

fn chrnul(call: &mut Call<'_, '_>) -> Answer {
    let c = call.args[1] as u8;
    let mut s = text(call, 0)?;
    for i in 0..MAX {
        let b = s.at(i)?;
        if b == 0 || b == c {
            return Ok(i as i64);
        }
    }
    Err(Errno::E2BIG)
}

/// The character is an `int` here: none compares equal to one outside of a `char`.
fn rfind(call: &mut Call<'_, '_>) -> Answer {
    let c = call.args[1] as i32;
    let mut s = text(call, 0)?;
    let mut last = Err(Errno::ENOENT);
    for i in 0..MAX {
        let b = s.at(i)?;
        if i32::from(b.cast_signed()) == c {
            last = Ok(i as i64);
        }
        if b == 0 {
            return last;
        }
    }
    Err(Errno::E2BIG)
}

fn length(call: &mut Call<'_, '_>, len: u64) -> Answer {
    let mut s = text(call, 0)?;
    for i in 0..len.min(MAX) {
        if s.at(i)? == 0 {
            return Ok(i as i64);
        }
    }
    if len >= MAX { Err(Errno::E2BIG) } else { Ok(len as i64) }
}

/// How long the string's start is that has only (`inside`) or none of the set's characters.
fn span(call: &mut Call<'_, '_>, inside: bool) -> Answer {
    both(call)?;
    for i in 0..MAX {
        let c = byte(call, 0, i)?;
        if c == 0 {
            return Ok(i as i64);
        }
        let mut j = 0;
        let member = loop {
            if j == MAX {
                return Err(Errno::E2BIG);
            }
            match byte(call, 1, j)? {
                0 => break false,
                s if s == c => break true,
                _ => j += 1,
            }
        };
        if member != inside {
            return Ok(i as i64);
        }
    }
    Err(Errno::E2BIG)
}

/// Where the second string begins in the first `len` characters of the first.
fn within(call: &mut Call<'_, '_>, len: u64, ignore_case: bool) -> Answer {
    both(call)?;
    for i in 0..MAX {
        let mut j = 0;
        while i + j <= len && j < MAX {
            let wanted = byte(call, 1, j)?;
            if wanted == 0 {
                return Ok(i as i64);
            }
            if i + j == len {
                break;
            }
            let c = byte(call, 0, i + j)?;
            if c == 0 {
                return Err(Errno::ENOENT);
            }
            if fold(c, ignore_case) != fold(wanted, ignore_case) {
                break;
            }
            j += 1;
        }
        if j == MAX {
            return Err(Errno::E2BIG);
        }
        if i + j == len {
            return Err(Errno::ENOENT);
        }
    }
    Err(Errno::E2BIG)
}
