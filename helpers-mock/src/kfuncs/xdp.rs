//! Metadata that network cards give to XDP programs (`net/core/xdp.c`): a packet of a test came through none.

use bpf_vm_shim::env::{CallResult, Flow};

use super::KfuncDesc;
use crate::errno::Errno;
use crate::helpers::{Arg, Call};
use crate::kernel::Kernel;

pub(super) static TABLE: &[KfuncDesc] = &[
    KfuncDesc {
        name: "bpf_xdp_metadata_rx_timestamp",
        args: &[Arg::Ctx, Arg::FixedOut(8)],
        since: (6, 3),
        func: none,
    },
    KfuncDesc {
        name: "bpf_xdp_metadata_rx_hash",
        args: &[Arg::Ctx, Arg::FixedOut(4), Arg::FixedOut(4)],
        since: (6, 3),
        func: none,
    },
    KfuncDesc {
        name: "bpf_xdp_metadata_rx_vlan_tag",
        args: &[Arg::Ctx, Arg::FixedOut(2), Arg::FixedOut(2)],
        since: (6, 8),
        func: none,
    },
];

/// Drivers without it: `-EOPNOTSUPP`.
fn none(_: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(Errno::EOPNOTSUPP.ret()))
}
