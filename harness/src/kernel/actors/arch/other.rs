//! Architectures on which there are no actors yet: nothing here is ever called, since [`SUPPORTED`] says so.

use super::super::body::Mailbox;
use super::Registers;

/// Whether actors work on this architecture.
pub(in super::super) const SUPPORTED: bool = false;
pub(super) const ARGS: [usize; 6] = [0, 1, 2, 3, 4, 5];
pub(super) const RET: usize = 0;
pub(super) const USED: usize = 0;
/// Where the stack pointer is in `struct pt_regs`.
pub(crate) const SP: u16 = 0;
/// Bytes at the top of the stack at a point's entry that are not the test's to choose.
pub(crate) const STACK_TOP: u64 = 0;

const ENOSYS: isize = -38;

/// Nowhere.
pub(in super::super) fn point_address(_index: usize) -> usize {
    0
}

/// Does nothing.
///
/// # Safety
/// None needed.
pub(in super::super) unsafe fn enter(_registers: *const Registers, _point: usize) {}

/// No system call.
///
/// # Safety
/// None needed.
pub(in super::super) unsafe fn syscall(_number: usize, _args: [usize; 6]) -> isize {
    ENOSYS
}

/// No task.
///
/// # Safety
/// None needed.
pub(in super::super) unsafe fn clone3(
    _args: usize,
    _size: usize,
    _body: extern "C" fn(*const Mailbox) -> !,
    _mailbox: usize,
) -> isize {
    ENOSYS
}
