//! x86-64.

use std::arch::{asm, global_asm};

use super::super::body::Mailbox;
pub(in super::super) use super::point::{enter, point_address};
use super::{POINT_STRIDE, POINTS, Registers, STACK_WORDS};

/// Whether actors work on this architecture.
pub(in super::super) const SUPPORTED: bool = true;
/// The arguments' places in `struct pt_regs`: RDI, RSI, RDX, RCX, R8, R9.
pub(super) const ARGS: [usize; 6] = [14, 13, 12, 11, 9, 8];
/// The return value's place: RAX.
pub(super) const RET: usize = 10;
/// How many words of `struct pt_regs` a point can be entered with.
pub(super) const USED: usize = 15;
/// Where the stack pointer is in `struct pt_regs`.
pub(crate) const SP: u16 = 19 * 8;
/// Bytes at the top of the stack at a point's entry that are not the test's to choose: where the event's task returns to.
pub(crate) const STACK_TOP: u64 = 8;

// The points. The kernel emulates a NOP at a uprobe (`branch_setup_xol_ops()` in arch/x86/kernel/uprobes.c), so that it
// needs no single step. They are hidden: no other object has to find them.
global_asm!(
    ".pushsection .text.bpf_harness_points, \"ax\", @progbits",
    ".balign 64",
    ".globl bpf_harness_points",
    ".hidden bpf_harness_points",
    ".type bpf_harness_points, @function",
    "bpf_harness_points:",
    ".rept {points}",
    "nop",
    "ret",
    ".balign {stride}",
    ".endr",
    ".size bpf_harness_points, . - bpf_harness_points",
    ".popsection",
    points = const POINTS,
    stride = const POINT_STRIDE,
);

// bpf_harness_enter(registers, point): loads all registers but RSP, calls the point, and restores those that a caller
// needs. The stack at the call: the words that follow the return address, padding, the point, saved registers.
global_asm!(
    ".pushsection .text.bpf_harness_enter, \"ax\", @progbits",
    ".globl bpf_harness_enter",
    ".hidden bpf_harness_enter",
    ".type bpf_harness_enter, @function",
    "bpf_harness_enter:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rdi",
    "push rsi",
    "push rsi",
    "sub rsp, {stack_bytes}",
    "mov r11, rdi",
    "lea rsi, [r11 + {stack_at}]",
    "mov rdi, rsp",
    "mov ecx, {stack_words}",
    "cld",
    "rep movsq",
    "mov r15, [r11]",
    "mov r14, [r11 + 8]",
    "mov r13, [r11 + 16]",
    "mov r12, [r11 + 24]",
    "mov rbp, [r11 + 32]",
    "mov rbx, [r11 + 40]",
    "mov r10, [r11 + 56]",
    "mov r9, [r11 + 64]",
    "mov r8, [r11 + 72]",
    "mov rax, [r11 + 80]",
    "mov rcx, [r11 + 88]",
    "mov rdx, [r11 + 96]",
    "mov rsi, [r11 + 104]",
    "mov rdi, [r11 + 112]",
    "mov r11, [r11 + 48]",
    "call [rsp + {stack_bytes}]",
    "add rsp, {stack_bytes}",
    "pop rsi",
    "pop rsi",
    "pop rdi",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
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
    let mut ret = number;
    // SAFETY: the kernel changes RAX, RCX and R11 and what the call is documented to write.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ret,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
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
    let mut ret = libc::SYS_clone3.cast_unsigned() as usize;
    // SAFETY: in the old task this is a system call like others. The new task has the same registers and an empty,
    // aligned stack, on which it calls `body`, which never returns.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "ud2",
            "2:",
            inlateout("rax") ret,
            in("rdi") args, in("rsi") size, in("r8") mailbox, in("r9") body,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    ret.cast_signed()
}
