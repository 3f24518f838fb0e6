//! Paths of files (`bpf_d_path` in `kernel/trace/bpf_trace.c`, `fs/bpf_fs_kfuncs.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{Unsupported, UnsupportedKind};

use super::desc::{Arg, Call, HelperDesc};
use crate::errno::Errno;
use crate::kernel::Kernel;

pub(super) static TABLE: &[HelperDesc] =
    &[HelperDesc::plain(147, "bpf_d_path", &[Arg::KernelPtr, Arg::MemOut, Arg::SizeOrZero], (5, 10), d_path)];

/// `bpf_d_path`: 0 for no room at all.
fn d_path(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    if call.args[2] as u32 == 0 {
        return Ok(Flow::Return(0));
    }
    path(kernel, call)
}

/// Writes the path of a `struct path`, with its end: its length, or `-ENAMETOOLONG`.
pub(crate) fn path(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [path, buffer, size, ..] = call.args;
    let Some(text) = kernel.state.files.path_at(path) else {
        let what = format!("{} of an object that is no file of a test", call.name);
        return Err(Unsupported::new(UnsupportedKind::Feature, what).into());
    };
    let bytes = [text.as_bytes(), &[0]].concat();
    if bytes.len() as u64 > u64::from(size as u32) {
        return Ok(Flow::Return(Errno::ENAMETOOLONG.ret()));
    }
    call.write(buffer, &bytes)?;
    Ok(Flow::Return(bytes.len() as u64))
}
