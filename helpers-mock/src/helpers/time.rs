//! The clock (`kernel/bpf/helpers.c`).

use bpf_vm_shim::env::{CallResult, Flow};

use super::desc::{Call, HelperDesc};
use crate::kernel::Kernel;

pub(super) static TABLE: &[HelperDesc] = &[
    HelperDesc::plain(5, "bpf_ktime_get_ns", &[], (4, 1), ktime_get_ns),
    HelperDesc::plain(118, "bpf_jiffies64", &[], (5, 6), jiffies64),
    HelperDesc::plain(125, "bpf_ktime_get_boot_ns", &[], (5, 8), ktime_get_boot_ns),
    HelperDesc::plain(160, "bpf_ktime_get_coarse_ns", &[], (5, 11), ktime_get_coarse_ns),
    HelperDesc::plain(208, "bpf_ktime_get_tai_ns", &[], (6, 1), ktime_get_tai_ns),
];

/// `bpf_ktime_get_ns`: monotonic nanoseconds, not counting suspended time (`ktime_get_mono_fast_ns`).
fn ktime_get_ns(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(kernel.state.clock.read()))
}

/// `bpf_ktime_get_boot_ns`: as above, counting suspended time (`ktime_get_boot_fast_ns`).
fn ktime_get_boot_ns(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    let clock = &mut kernel.state.clock;
    let now = clock.read();
    Ok(Flow::Return(clock.to_boot(now)))
}

/// `bpf_ktime_get_coarse_ns`: monotonic time of the last tick (`ktime_get_coarse_ns`).
fn ktime_get_coarse_ns(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    let clock = &mut kernel.state.clock;
    let now = clock.read();
    Ok(Flow::Return(clock.to_coarse(now, kernel.profile.hz)))
}

/// `bpf_ktime_get_tai_ns`: International atomic time (`ktime_get_tai_fast_ns`).
fn ktime_get_tai_ns(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    let clock = &mut kernel.state.clock;
    let now = clock.read();
    Ok(Flow::Return(clock.to_tai(now)))
}

/// `bpf_jiffies64`: ticks, counted from `INITIAL_JIFFIES` (`get_jiffies_64`).
fn jiffies64(kernel: &mut Kernel, _: &mut Call<'_, '_>) -> CallResult {
    let clock = &mut kernel.state.clock;
    let now = clock.read();
    Ok(Flow::Return(clock.to_jiffies(now, kernel.profile.hz)))
}
