//! Printing values of kernel types (`kernel/trace/bpf_trace.c`).

use bpf_vm_shim::btf::TypeId;
use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{Trap, Unsupported, UnsupportedKind};

use super::desc::{Arg, Call, HelperDesc};
use super::print::{put_bytes, seq_append};
use crate::errno::Errno;
use crate::format::{Style, show};
use crate::kernel::Kernel;

pub(super) static TABLE: &[HelperDesc] = &[
    HelperDesc {
        id: 149,
        name: "bpf_snprintf_btf",
        args: &[Arg::MemOut, Arg::Size, Arg::Mem, Arg::Size, Arg::Any],
        since: (5, 10),
        gpl_only: false,
        func: snprintf_btf,
        resume: None,
    },
    HelperDesc {
        id: 150,
        name: "bpf_seq_printf_btf",
        args: &[Arg::KernelPtr, Arg::Mem, Arg::SizeOrZero, Arg::Any],
        since: (5, 10),
        gpl_only: true,
        func: seq_printf_btf,
        resume: None,
    },
];

/// Most bytes of one value.
const MAX_VALUE: u64 = 1 << 20;

/// The text of what a `struct btf_ptr` points to (`bpf_btf_printf_prepare`): the inner error is the kernel's.
fn text(
    kernel: &Kernel,
    call: &mut Call<'_, '_>,
    ptr: u64,
    size: u64,
    flags: u64,
) -> Result<Result<String, Errno>, Trap> {
    /// Size of `struct btf_ptr`.
    const BTF_PTR: u64 = 16;
    let (Some(style), BTF_PTR) = (Style::from_flags(flags), u64::from(size as u32)) else {
        return Ok(Err(Errno::EINVAL));
    };
    let bytes = call.bytes(ptr, BTF_PTR)?;
    let number = |at: usize, n: usize| {
        bytes.get(at..at + n).unwrap_or_default().iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))
    };
    let (addr, id) = (number(0, 8), number(8, 4) as u32);
    if id as i32 <= 0 {
        return Ok(Err(Errno::EINVAL));
    }
    let Some(btf) = kernel.types() else {
        return Err(Unsupported::new(UnsupportedKind::Feature, "printing types without BTF").into());
    };
    let id = TypeId(id);
    if btf.get(id).is_err() {
        return Ok(Err(Errno::ENOENT));
    }
    let len = btf.size_of(id).unwrap_or(0).min(MAX_VALUE);
    let mut data = vec![0; len as usize];
    if call.cx.mem.probe_read(addr, &mut data).is_err() {
        return Ok(Err(Errno::EFAULT));
    }
    Ok(Ok(show(btf, id, &data, style)))
}

/// `bpf_snprintf_btf`: returns the length the text would have had, without its NUL.
fn snprintf_btf(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [out, size, ptr, ptr_size, flags] = call.args;
    let text = text(kernel, call, ptr, ptr_size, flags)?;
    let ret = match &text {
        Ok(text) => text.len() as u64,
        Err(e) => e.ret(),
    };
    put_bytes(call, out, size, text.map(String::into_bytes))?;
    Ok(Flow::Return(ret))
}

/// `bpf_seq_printf_btf`: what does not fit is dropped without an error.
fn seq_printf_btf(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [seq, ptr, size, flags, _] = call.args;
    match text(kernel, call, ptr, size, flags)? {
        Ok(text) => {
            seq_append(kernel, seq, text.as_bytes());
            Ok(Flow::Return(0))
        }
        Err(e) => Ok(Flow::Return(e.ret())),
    }
}
