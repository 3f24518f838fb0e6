//! Exceptions (`kernel/bpf/helpers.c`).

use bpf_vm_shim::env::{CallResult, Flow};

use super::KfuncDesc;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;

pub(super) static TABLE: &[KfuncDesc] =
    &[KfuncDesc { name: "bpf_throw", args: &[Arg::Any], since: (6, 7), func: throw }];

/// `bpf_throw`: ends the program, which must hold nothing.
fn throw(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    if let Some(run) = kernel.run() {
        run.check_exit()?;
    }
    Ok(Flow::Throw(call.args[0]))
}
