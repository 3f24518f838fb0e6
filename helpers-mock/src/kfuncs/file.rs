//! Files as counted kernel objects, and attributes (`fs/bpf_fs_kfuncs.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::mem::Alloc;
use bpf_vm_shim::mem::{Area, Perm, RegionKind};

use super::KfuncDesc;
use super::task::{argument, give};
use crate::dynptr;
use crate::errno::Errno;
use crate::helpers::{Arg, Call, path};
use crate::kernel::Kernel;
use crate::objects;
use crate::run::HeldKind;

const OBJECT: &[Arg] = &[Arg::KernelPtr];

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc { name: "bpf_get_task_exe_file", args: OBJECT, since: (6, 12), func: task_exe_file },
    KfuncDesc { name: "bpf_put_file", args: OBJECT, since: (6, 12), func: put_file },
    KfuncDesc {
        name: "bpf_path_d_path",
        args: &[Arg::KernelPtr, Arg::MemOut, Arg::SizeOrZero],
        since: (6, 12),
        func: path_d_path,
    },
    KfuncDesc {
        name: "bpf_cgroup_read_xattr",
        args: &[Arg::KernelPtr, Arg::Str, Arg::Dynptr],
        since: (6, 17),
        func: cgroup_read_xattr,
    },
];

/// Size of a file where no types say it.
const OPAQUE: u32 = 512;

/// `bpf_get_task_exe_file`: the file that a task runs; null for kernel threads.
fn task_exe_file(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let Some(task) = kernel.state.tasks.by_object(call.args[0]).cloned() else {
        return Err(argument(call, 0, "is no task"));
    };
    if task.kthread {
        return Ok(Flow::Return(0));
    }
    // The threads of a group run the same file.
    let addr = match kernel.state.files.exe.get(&task.tgid) {
        Some(addr) => *addr,
        None => {
            let addr = match kernel.types().cloned() {
                Some(btf) => match btf.find(bpf_vm_shim::btf::Kind::Struct, "file") {
                    Some(id) => objects::alloc_type(call.cx.mem, &btf, id)?,
                    None => opaque(call),
                },
                None => opaque(call),
            };
            kernel.state.files.exe.insert(task.tgid, addr);
            addr
        }
    };
    give(kernel, call, addr, "struct file")
}

fn opaque(call: &mut Call<'_, '_>) -> u64 {
    let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, OPAQUE, "struct file").perm(Perm::ProbeOnly);
    call.cx.mem.alloc(alloc).unwrap_or(0)
}

/// `bpf_put_file`: gives a reference back that the program must hold.
fn put_file(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let addr = call.args[0];
    match kernel.run_mut().map(|r| r.release(HeldKind::Reference, addr)) {
        Some(None) => Err(argument(call, 0, "is not a reference that the program holds")),
        _ => Ok(Flow::Return(0)),
    }
}

/// `bpf_path_d_path`: `-EINVAL` for no room at all.
fn path_d_path(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    if call.args[2] as u32 == 0 {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    path(kernel, call)
}

/// `bpf_cgroup_read_xattr`: `-EPERM` for attributes that are not the user's, `-EINVAL` without room; control groups have
/// no attributes here, `-ENODATA`.
fn cgroup_read_xattr(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, name, value, ..] = call.args;
    let name = call.string(name)?;
    let room = dynptr::get(kernel, call.cx, call.name, 3, value)?;
    let errno = match name.starts_with(b"user.") {
        false => Errno::EPERM,
        true if room.data == 0 || room.rdonly => Errno::EINVAL,
        true => Errno::ENODATA,
    };
    Ok(Flow::Return(errno.ret()))
}
