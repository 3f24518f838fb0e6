//! Reading and writing memory that may not be there (`kernel/trace/bpf_trace.c`, `mm/maccess.c`).
//!
//! A destination is filled whole in any case: with zeros if the read fails.

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::mem::Memory;
use bpf_vm_shim::object::{Arch, KernelProfile};

use super::desc::{Arg, Call, HelperDesc};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::state::TASK_SIZE;

const READ: &[Arg] = &[Arg::MemOut, Arg::SizeOrZero, Arg::Any];

pub(super) static TABLE: &[HelperDesc] = &[
    HelperDesc::gpl(4, "bpf_probe_read", READ, (4, 1), |k, c| read(k, c, Space::Either)),
    HelperDesc::gpl(45, "bpf_probe_read_str", READ, (4, 11), |k, c| read_str(k, c, Space::Either)),
    HelperDesc::gpl(112, "bpf_probe_read_user", READ, (5, 5), |k, c| read(k, c, Space::User)),
    HelperDesc::gpl(113, "bpf_probe_read_kernel", READ, (5, 5), |k, c| read(k, c, Space::Kernel)),
    HelperDesc::gpl(114, "bpf_probe_read_user_str", READ, (5, 5), |k, c| read_str(k, c, Space::User)),
    HelperDesc::gpl(115, "bpf_probe_read_kernel_str", READ, (5, 5), |k, c| read_str(k, c, Space::Kernel)),
    HelperDesc::gpl(36, "bpf_probe_write_user", &[Arg::Any, Arg::Mem, Arg::Size], (4, 8), probe_write_user),
    HelperDesc::plain(148, "bpf_copy_from_user", READ, (5, 10), copy_from_user),
    HelperDesc::gpl(
        191,
        "bpf_copy_from_user_task",
        &[Arg::MemOut, Arg::SizeOrZero, Arg::Any, Arg::KernelPtr, Arg::Any],
        (5, 18),
        copy_from_user_task,
    ),
];

/// Which address space a helper reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    User,
    Kernel,
    /// As the address says: user below `TASK_SIZE` (`bpf_probe_read`, where the two do not overlap).
    Either,
}

/// A way to read memory: what is there, or the error of a read of `len` bytes that is not possible.
pub(crate) struct Prober<'a> {
    kernel: &'a Kernel,
    mem: &'a mut Memory,
    /// The task whose user memory is read.
    pid: u32,
    user: bool,
}

impl<'a> Prober<'a> {
    fn new(kernel: &'a Kernel, mem: &'a mut Memory, space: Space, addr: u64) -> Self {
        let user = match space {
            Space::User => true,
            Space::Kernel => false,
            // Packets have small addresses here, and only here.
            Space::Either => addr < TASK_SIZE && mem.region(addr).is_none(),
        };
        Self { kernel, mem, pid: kernel.state.current().pid, user }
    }

    /// The error of an address at which nothing may be read, even no bytes.
    fn refuses(&self, addr: u64) -> Option<Errno> {
        if self.user {
            (addr > TASK_SIZE).then_some(Errno::EFAULT)
        } else if self.mem.region(addr).is_some() {
            None
        } else {
            kernel_address_refused(&self.kernel.profile, addr)
        }
    }

    fn read(&mut self, addr: u64, out: &mut [u8]) -> bool {
        if self.user {
            let user = self.kernel.state.tasks.user(self.pid);
            addr <= TASK_SIZE && user.is_some_and(|u| u.read(addr, out).is_ok())
        } else {
            self.mem.probe_read(addr, out).is_ok()
        }
    }
}

/// `copy_from_kernel_nofault_allowed`: x86 refuses user and non-canonical addresses and the vsyscall page, with
/// `-ERANGE` since 5.8 and `-EFAULT` before.
fn kernel_address_refused(profile: &KernelProfile, addr: u64) -> Option<Errno> {
    const PAGE: u64 = 4096;
    const VSYSCALL: u64 = 0xffff_ffff_ff60_0000;
    let refused = addr < TASK_SIZE + PAGE
        || (addr.cast_signed() << 16 >> 16).cast_unsigned() != addr
        || addr & !(PAGE - 1) == VSYSCALL;
    match profile.arch {
        Arch::X86_64 if refused && profile.version >= KernelProfile::kernel_version(5, 8, 0) => {
            Some(Errno::ERANGE)
        }
        Arch::X86_64 if refused => Some(Errno::EFAULT),
        _ => None,
    }
}

/// `bpf_probe_read`, `bpf_probe_read_user`, `bpf_probe_read_kernel` (dst, size, address): 0 or an error and zeros.
fn read(kernel: &mut Kernel, call: &mut Call<'_, '_>, space: Space) -> CallResult {
    let [dst, size, src, ..] = call.args;
    let mut buf = vec![0; size as u32 as usize];
    let mut prober = Prober::new(kernel, call.cx.mem, space, src);
    let result = match prober.refuses(src) {
        Some(errno) => errno.ret(),
        None if buf.is_empty() || prober.read(src, &mut buf) => 0,
        None => Errno::EFAULT.ret(),
    };
    if result != 0 {
        buf.fill(0);
    }
    call.put(0, dst, &buf)?;
    Ok(Flow::Return(result))
}

/// `bpf_probe_read_str` and its siblings: the length with its NUL, the string cut to the buffer and always ended; or an
/// error and a zeroed buffer. Bytes behind the string keep what they were, but for those that copying user memory word
/// by word clears (`strncpy_from_user`).
fn read_str(kernel: &mut Kernel, call: &mut Call<'_, '_>, space: Space) -> CallResult {
    let [dst, size, src, ..] = call.args;
    let size = size as u32 as usize;
    if size == 0 {
        return Ok(Flow::Return(0));
    }
    let mut buf = vec![0; size];
    if call.cx.mem.peek(dst, &mut buf).is_err() {
        buf.fill(0);
    }
    let mut prober = Prober::new(kernel, call.cx.mem, space, src);
    let result = match prober.refuses(src) {
        Some(errno) => Err(errno),
        None => string(&mut prober, src, &mut buf),
    };
    let ret = match result {
        Ok(len) => len as u64,
        Err(errno) => {
            buf.fill(0);
            errno.ret()
        }
    };
    call.put(0, dst, &buf)?;
    Ok(Flow::Return(ret))
}

fn string(prober: &mut Prober<'_>, src: u64, buf: &mut [u8]) -> Result<usize, Errno> {
    let mut len = 0;
    while len < buf.len() {
        // Word by word where a word is there and fits, byte by byte otherwise.
        let at = src.wrapping_add(len as u64);
        let mut word = [0; 8];
        let n = if buf.len() - len >= 8 && prober.read(at, &mut word) { 8 } else { 1 };
        if n == 1 && !prober.read(at, &mut word[..1]) {
            return Err(Errno::EFAULT);
        }
        let nul = word[..n].iter().position(|b| *b == 0);
        let keep = nul.map_or(n, |p| p + 1);
        buf[len..len + keep].copy_from_slice(&word[..keep]);
        if nul.is_some() {
            if prober.user {
                buf[len + keep..len + n].fill(0);
            }
            return Ok(len + keep);
        }
        len += n;
    }
    let last = buf.len() - 1;
    buf[last] = 0;
    Ok(buf.len())
}

/// `bpf_copy_from_user(dst, size, user_ptr)`: as `bpf_probe_read_user`, but may wait for pages.
fn copy_from_user(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    read(kernel, call, Space::User)
}

/// `bpf_copy_from_user_task(dst, size, user_ptr, task, flags)`: `-EINVAL` for any flag, with the buffer untouched.
fn copy_from_user_task(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [dst, size, src, task, flags] = call.args;
    if flags != 0 {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    if size as u32 == 0 {
        return Ok(Flow::Return(0));
    }
    let mut buf = vec![0; size as u32 as usize];
    let tasks = &kernel.state.tasks;
    let user = tasks.by_object(task).and_then(|t| tasks.user(t.pid));
    let result = match user.map(|u| u.read(src, &mut buf)) {
        Some(Ok(())) => 0,
        _ => {
            buf.fill(0);
            Errno::EFAULT.ret()
        }
    };
    call.put(0, dst, &buf)?;
    Ok(Flow::Return(result))
}

/// `bpf_probe_write_user(user_ptr, src, size)`: `-EPERM` in a kernel thread, `-EFAULT` where nothing is mapped.
fn probe_write_user(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [dst, src, size, ..] = call.args;
    let mut buf = vec![0; size as u32 as usize];
    call.get(1, src, &mut buf)?;
    if kernel.state.current().kthread {
        return Ok(Flow::Return(Errno::EPERM.ret()));
    }
    let stored = kernel.state.current_user_mut().is_some_and(|u| u.store(dst, &buf).is_ok());
    Ok(Flow::Return(if stored { 0 } else { Errno::EFAULT.ret() }))
}
