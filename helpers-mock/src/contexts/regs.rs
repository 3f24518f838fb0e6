//! `struct pt_regs` of each architecture (`arch/x86/include/asm/ptrace.h`, `arch/arm64/include/asm/ptrace.h`).

use bpf_vm_shim::object::Arch;

/// Registers as a trap or a call leaves them, by their role.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PtRegs {
    /// Arguments in the order of the calling convention: up to 6 (x86-64) or 8 (arm64).
    pub args: Vec<u64>,
    /// The arguments are a system call's, which on x86-64 has the fourth in R10 and not in RCX.
    pub syscall_args: bool,
    /// The return value; on arm64 it is the register of the first argument.
    pub ret: Option<u64>,
    /// The instruction pointer.
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer.
    pub fp: u64,
    /// The link register (arm64).
    pub lr: u64,
    /// The number of the system call: `orig_ax`, or `x8` and `syscallno`.
    pub syscall: Option<u64>,
    /// In user mode.
    pub user: bool,
}

/// Positions in `struct pt_regs` of x86-64, in words.
mod x86 {
    pub(super) const ARGS: [usize; 6] = [14, 13, 12, 11, 9, 8];
    pub(super) const R10: usize = 7;
    pub(super) const BP: usize = 4;
    pub(super) const AX: usize = 10;
    pub(super) const ORIG_AX: usize = 15;
    pub(super) const IP: usize = 16;
    pub(super) const CS: usize = 17;
    pub(super) const FLAGS: usize = 18;
    pub(super) const SP: usize = 19;
    pub(super) const SS: usize = 20;
    pub(super) const WORDS: usize = 21;
}

/// Positions in `struct pt_regs` of arm64, in words; the first 34 are `struct user_pt_regs`.
mod arm64 {
    pub(super) const FP: usize = 29;
    pub(super) const LR: usize = 30;
    pub(super) const SP: usize = 31;
    pub(super) const PC: usize = 32;
    pub(super) const PSTATE: usize = 33;
    pub(super) const ORIG_X0: usize = 34;
    pub(super) const SYSCALLNO: usize = 35;
    pub(super) const WORDS: usize = 42;
}

/// `sizeof(struct pt_regs)`.
#[must_use]
pub const fn pt_regs_size(arch: Arch) -> u32 {
    match arch {
        Arch::Arm64 => arm64::WORDS as u32 * 8,
        _ => x86::WORDS as u32 * 8,
    }
}

/// `sizeof(bpf_user_pt_regs_t)`: what programs of type perf event see.
pub(super) const fn user_regs_size(arch: Arch) -> u32 {
    match arch {
        Arch::Arm64 => arm64::ORIG_X0 as u32 * 8,
        _ => x86::WORDS as u32 * 8,
    }
}

/// How many arguments are in registers.
pub(super) const fn register_args(arch: Arch) -> usize {
    match arch {
        Arch::Arm64 => 8,
        _ => 6,
    }
}

/// Where the return value is in `struct pt_regs`.
pub(crate) const fn return_register(arch: Arch) -> u64 {
    match arch {
        Arch::Arm64 => 0,
        _ => x86::AX as u64 * 8,
    }
}

impl PtRegs {
    /// The bytes of `struct pt_regs`. Arguments that no register has are left out.
    #[must_use]
    pub fn encode(&self, arch: Arch) -> Vec<u8> {
        let words = match arch {
            Arch::Arm64 => self.arm64().to_vec(),
            _ => self.x86_64().to_vec(),
        };
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn x86_64(&self) -> [u64; x86::WORDS] {
        let mut w = [0; x86::WORDS];
        for (i, (slot, arg)) in x86::ARGS.into_iter().zip(&self.args).enumerate() {
            w[if i == 3 && self.syscall_args { x86::R10 } else { slot }] = *arg;
        }
        w[x86::AX] = self.ret.unwrap_or_default();
        // -1 says that the trap was no system call.
        w[x86::ORIG_AX] = self.syscall.unwrap_or(u64::MAX);
        w[x86::IP] = self.ip;
        w[x86::SP] = self.sp;
        w[x86::BP] = self.fp;
        w[x86::CS] = if self.user { 0x33 } else { 0x10 };
        w[x86::SS] = if self.user { 0x2b } else { 0x18 };
        w[x86::FLAGS] = 0x246;
        w
    }

    fn arm64(&self) -> [u64; arm64::WORDS] {
        let mut w = [0; arm64::WORDS];
        for (slot, arg) in w.iter_mut().zip(self.args.iter().take(8)) {
            *slot = *arg;
        }
        w[arm64::ORIG_X0] = w[0];
        w[0] = self.ret.unwrap_or(w[0]);
        w[arm64::FP] = self.fp;
        w[arm64::LR] = self.lr;
        w[arm64::SP] = self.sp;
        w[arm64::PC] = self.ip;
        w[arm64::PSTATE] = if self.user { 0 } else { 0x5 };
        w[arm64::SYSCALLNO] = self.syscall.unwrap_or(u64::from(u32::MAX));
        if let Some(nr) = self.syscall {
            w[8] = nr;
        }
        w
    }
}

#[cfg(test)]
mod tests {
    use bpf_vm_shim::object::Arch;

    use super::{PtRegs, pt_regs_size};

    fn word(bytes: &[u8], offset: usize) -> u64 {
        u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
    }

    #[test]
    fn registers_are_where_the_macros_look() {
        let regs = PtRegs { args: (1..=8).collect(), ip: 0x1234, sp: 0x99, ..PtRegs::default() };
        // (architecture, offsets of PT_REGS_PARM1.. , of PT_REGS_IP, of PT_REGS_SP)
        let table: [(_, &[usize], usize, usize); 2] = [
            (Arch::X86_64, &[112, 104, 96, 88, 72, 64], 128, 152),
            (Arch::Arm64, &[0, 8, 16, 24, 32, 40, 48, 56], 256, 248),
        ];
        for (arch, parms, ip, sp) in table {
            let bytes = regs.encode(arch);
            assert_eq!(bytes.len(), pt_regs_size(arch) as usize);
            for (i, offset) in parms.iter().enumerate() {
                assert_eq!(word(&bytes, *offset), i as u64 + 1, "{arch:?} argument {i}");
            }
            assert_eq!((word(&bytes, ip), word(&bytes, sp)), (0x1234, 0x99), "{arch:?}");
        }
    }

    #[test]
    fn a_system_call_has_its_fourth_argument_elsewhere() {
        let regs =
            PtRegs { args: vec![1, 2, 3, 4], syscall_args: true, syscall: Some(257), ..PtRegs::default() };
        let bytes = regs.encode(Arch::X86_64);
        assert_eq!((word(&bytes, 56), word(&bytes, 88), word(&bytes, 120)), (4, 0, 257));
        let bytes = regs.encode(Arch::Arm64);
        assert_eq!(
            (word(&bytes, 24), word(&bytes, 64), word(&bytes, 272), word(&bytes, 280)),
            (4, 257, 1, 257)
        );
    }
}
