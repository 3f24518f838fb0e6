//! arm64.

use std::arch::{asm, global_asm};

use super::super::body::Mailbox;
pub(in super::super) use super::point::{enter, point_address};
use super::{POINT_STRIDE, POINTS, Registers, STACK_WORDS};

/// Whether actors work on this architecture.
pub(in super::super) const SUPPORTED: bool = true;
/// The arguments' places in `struct pt_regs`: X0 to X7.
pub(super) const ARGS: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
/// The return value's place: X0, so a probe on a return sees no first argument.
pub(super) const RET: usize = 0;
/// How many words of `struct pt_regs` a point can be entered with: all but X30, with which it returns.
pub(super) const USED: usize = 30;
/// Where the stack pointer is in `struct pt_regs`.
pub(crate) const SP: u16 = 31 * 8;
/// Bytes at the top of the stack at a point's entry that are not the test's to choose.
pub(crate) const STACK_TOP: u64 = 0;

// The points. The kernel simulates a branch at a uprobe (`arm_probe_decode_insn()` in
// arch/arm64/kernel/probes/decode-insn.c), so that it needs no single step; a NOP it steps over before 6.13. They are
// hidden: no other object has to find them.
global_asm!(
    ".pushsection .text.bpf_harness_points, \"ax\", %progbits",
    ".balign 64",
    ".globl bpf_harness_points",
    ".hidden bpf_harness_points",
    ".type bpf_harness_points, %function",
    "bpf_harness_points:",
    ".rept {points}",
    "b . + 4",
    "ret",
    ".balign {stride}",
    ".endr",
    ".size bpf_harness_points, . - bpf_harness_points",
    ".popsection",
    points = const POINTS,
    stride = const POINT_STRIDE,
);

// bpf_harness_enter(registers, point): loads X0 to X29, calls the point, and restores what a caller needs. The stack at
// the call: the words for arguments that have no register, then saved registers. X30 holds the point until the call, as
// every other register has its value already.
global_asm!(
    ".pushsection .text.bpf_harness_enter, \"ax\", %progbits",
    ".balign 4",
    ".globl bpf_harness_enter",
    ".hidden bpf_harness_enter",
    ".type bpf_harness_enter, %function",
    "bpf_harness_enter:",
    "stp x29, x30, [sp, #-96]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "stp x23, x24, [sp, #48]",
    "stp x25, x26, [sp, #64]",
    "stp x27, x28, [sp, #80]",
    "sub sp, sp, #{stack_bytes}",
    "mov x30, x1",
    "add x2, x0, #{stack_at}",
    "mov x3, sp",
    "mov x4, #{stack_words}",
    "2:",
    "ldr x5, [x2], #8",
    "str x5, [x3], #8",
    "subs x4, x4, #1",
    "b.ne 2b",
    "ldp x28, x29, [x0, #224]",
    "ldp x26, x27, [x0, #208]",
    "ldp x24, x25, [x0, #192]",
    "ldp x22, x23, [x0, #176]",
    "ldp x20, x21, [x0, #160]",
    "ldp x18, x19, [x0, #144]",
    "ldp x16, x17, [x0, #128]",
    "ldp x14, x15, [x0, #112]",
    "ldp x12, x13, [x0, #96]",
    "ldp x10, x11, [x0, #80]",
    "ldp x8, x9, [x0, #64]",
    "ldp x6, x7, [x0, #48]",
    "ldp x4, x5, [x0, #32]",
    "ldp x2, x3, [x0, #16]",
    "ldp x0, x1, [x0]",
    "blr x30",
    "add sp, sp, #{stack_bytes}",
    "ldp x27, x28, [sp, #80]",
    "ldp x25, x26, [sp, #64]",
    "ldp x23, x24, [sp, #48]",
    "ldp x21, x22, [sp, #32]",
    "ldp x19, x20, [sp, #16]",
    "ldp x29, x30, [sp], #96",
    "ret",
    ".size bpf_harness_enter, . - bpf_harness_enter",
    ".popsection",
    stack_bytes = const STACK_WORDS * 8,
    stack_words = const STACK_WORDS,
    stack_at = const std::mem::offset_of!(Registers, stack),
);

/// A system call, without libc: neither `errno` nor any other storage of the thread is touched. Gives what the kernel
/// gives, errors as negative numbers.
///
/// # Safety
/// As the system call itself.
pub(in super::super) unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let mut ret = a;
    // SAFETY: the kernel changes X0 and what the call is documented to write.
    unsafe {
        asm!(
            "svc #0",
            inlateout("x0") ret,
            in("x8") number, in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    ret.cast_signed()
}

/// `clone3()`: the new task calls `body(mailbox)` on the stack that `args` names. Gives its thread id, or the negative
/// error.
///
/// # Safety
/// `args` is a `struct clone_args` of `size` bytes whose stack is valid and used by nobody else, as is the mailbox, both for
/// as long as the new task lives.
pub(in super::super) unsafe fn clone3(
    args: usize,
    size: usize,
    body: extern "C" fn(*const Mailbox) -> !,
    mailbox: usize,
) -> isize {
    let number = libc::SYS_clone3.cast_unsigned() as usize;
    let mut ret = args;
    // SAFETY: in the old task this is a system call like others. The new task has the same registers and an empty,
    // aligned stack, on which it calls `body`, which never returns.
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x9",
            "blr x10",
            "brk #1",
            "2:",
            inlateout("x0") ret,
            in("x8") number, in("x1") size, in("x9") mailbox, in("x10") body,
        );
    }
    ret.cast_signed()
}
