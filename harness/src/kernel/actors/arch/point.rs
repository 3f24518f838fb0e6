//! The points and the way into one, of an architecture that has them: the two symbols that its assembly defines.

use super::{POINT_STRIDE, Registers};

#[allow(improper_ctypes, reason = "both sides are of this crate; `Registers` is `repr(C)`")]
unsafe extern "C" {
    static bpf_harness_points: u8;
    fn bpf_harness_enter(registers: *const Registers, point: usize);
}

/// Where a point is.
pub(in super::super) fn point_address(index: usize) -> usize {
    std::ptr::addr_of!(bpf_harness_points) as usize + index * POINT_STRIDE
}

/// Calls a point with these registers.
///
/// # Safety
/// `registers` is valid, and `point` is the address of a point.
pub(in super::super) unsafe fn enter(registers: *const Registers, point: usize) {
    // SAFETY: as the caller says; the code keeps the calling convention, and a point touches no memory but the return
    // address that it is called with.
    unsafe { bpf_harness_enter(registers, point) }
}
