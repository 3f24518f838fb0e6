//! Registers as argument specifications name them, and where `struct pt_regs` has them.

use bpf_vm_shim::object::Arch;

/// A register, or a part of one, of a USDT argument.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Register {
    /// As it is written, without `%`: `edi`, `w0`.
    pub name: &'static str,
    /// The member of the kernel's `struct pt_regs` that holds it: `di`, `regs[0]`.
    pub field: &'static str,
    /// That member's place in `struct pt_regs`, in bytes.
    pub offset: u16,
    /// Bytes of it that the name means.
    pub size: u8,
    /// Bits below the part that the name means: 8 for `ah` and its like.
    pub shift: u8,
}

impl Register {
    /// Looks a name up, with or without `%`.
    #[must_use]
    pub fn find(arch: Arch, name: &str) -> Option<Self> {
        let name = name.strip_prefix('%').unwrap_or(name);
        match arch {
            Arch::X86_64 => x86_64(name),
            Arch::Arm64 => arm64(name),
            _ => None,
        }
    }

    /// Whether it is the program counter.
    #[must_use]
    pub fn is_pc(&self) -> bool {
        matches!(self.field, "ip" | "pc")
    }

    /// The value of this part of the register, not extended.
    #[must_use]
    pub fn part(&self, whole: u64) -> u64 {
        let part = whole >> self.shift;
        if self.size >= 8 { part } else { part & ((1 << (u32::from(self.size) * 8)) - 1) }
    }

    /// All names of an architecture.
    pub fn all(arch: Arch) -> impl Iterator<Item = Self> {
        let x86 = X86_64
            .iter()
            .filter(move |_| arch == Arch::X86_64)
            .flat_map(|row| row.names.iter().filter_map(|(name, ..)| x86_64(name)));
        let arm = ARM64
            .iter()
            .filter(move |_| arch == Arch::Arm64)
            .flat_map(|(x, w, ..)| [*x, *w].into_iter().filter_map(arm64));
        x86.chain(arm)
    }
}

/// A register of x86-64: member of `pt_regs`, its place in words, and each name with bytes and shift.
struct Row {
    field: &'static str,
    word: u16,
    names: &'static [(&'static str, u8, u8)],
}

macro_rules! row {
    ($field:literal, $word:literal, $($name:literal $size:literal $shift:literal),*) => {
        Row { field: $field, word: $word, names: &[$(($name, $size, $shift)),*] }
    };
}

static X86_64: &[Row] = &[
    row!("r15", 0, "r15" 8 0, "r15d" 4 0, "r15w" 2 0, "r15b" 1 0),
    row!("r14", 1, "r14" 8 0, "r14d" 4 0, "r14w" 2 0, "r14b" 1 0),
    row!("r13", 2, "r13" 8 0, "r13d" 4 0, "r13w" 2 0, "r13b" 1 0),
    row!("r12", 3, "r12" 8 0, "r12d" 4 0, "r12w" 2 0, "r12b" 1 0),
    row!("bp", 4, "rbp" 8 0, "ebp" 4 0, "bp" 2 0, "bpl" 1 0),
    row!("bx", 5, "rbx" 8 0, "ebx" 4 0, "bx" 2 0, "bl" 1 0, "bh" 1 8),
    row!("r11", 6, "r11" 8 0, "r11d" 4 0, "r11w" 2 0, "r11b" 1 0),
    row!("r10", 7, "r10" 8 0, "r10d" 4 0, "r10w" 2 0, "r10b" 1 0),
    row!("r9", 8, "r9" 8 0, "r9d" 4 0, "r9w" 2 0, "r9b" 1 0),
    row!("r8", 9, "r8" 8 0, "r8d" 4 0, "r8w" 2 0, "r8b" 1 0),
    row!("ax", 10, "rax" 8 0, "eax" 4 0, "ax" 2 0, "al" 1 0, "ah" 1 8),
    row!("cx", 11, "rcx" 8 0, "ecx" 4 0, "cx" 2 0, "cl" 1 0, "ch" 1 8),
    row!("dx", 12, "rdx" 8 0, "edx" 4 0, "dx" 2 0, "dl" 1 0, "dh" 1 8),
    row!("si", 13, "rsi" 8 0, "esi" 4 0, "si" 2 0, "sil" 1 0),
    row!("di", 14, "rdi" 8 0, "edi" 4 0, "di" 2 0, "dil" 1 0),
    row!("ip", 16, "rip" 8 0),
    row!("sp", 19, "rsp" 8 0, "esp" 4 0, "sp" 2 0, "spl" 1 0),
];

fn x86_64(name: &str) -> Option<Register> {
    X86_64.iter().find_map(|row| {
        let (name, size, shift) = *row.names.iter().find(|(n, ..)| *n == name)?;
        Some(Register { name, field: row.field, offset: row.word * 8, size, shift })
    })
}

/// Registers of arm64: the names of the whole and of its lower half, member of `pt_regs`, its place in words.
macro_rules! arm64_rows {
    ($($n:literal)*) => {
        &[
            $((concat!("x", $n), concat!("w", $n), concat!("regs[", $n, "]"), $n),)*
            ("sp", "wsp", "sp", 31),
            ("fp", "wfp", "regs[29]", 29),
            ("lr", "wlr", "regs[30]", 30),
            ("pc", "wpc", "pc", 32),
        ]
    };
}

static ARM64: &[(&str, &str, &str, u16)] =
    arm64_rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30);

fn arm64(name: &str) -> Option<Register> {
    ARM64.iter().find_map(|(x, w, field, word)| {
        let (name, size) = match name {
            n if n == *x => (*x, 8),
            n if n == *w => (*w, 4),
            _ => return None,
        };
        Some(Register { name, field, offset: word * 8, size, shift: 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::Register;
    use bpf_vm_shim::object::Arch;

    #[test]
    fn names_lead_to_their_place() {
        // (architecture, name, member, offset, size, shift)
        for (arch, name, field, offset, size, shift) in [
            (Arch::X86_64, "rdi", "di", 112, 8, 0),
            (Arch::X86_64, "%edi", "di", 112, 4, 0),
            (Arch::X86_64, "dil", "di", 112, 1, 0),
            (Arch::X86_64, "ah", "ax", 80, 1, 8),
            (Arch::X86_64, "r8w", "r8", 72, 2, 0),
            (Arch::X86_64, "rsp", "sp", 152, 8, 0),
            (Arch::Arm64, "x0", "regs[0]", 0, 8, 0),
            (Arch::Arm64, "w30", "regs[30]", 240, 4, 0),
            (Arch::Arm64, "sp", "sp", 248, 8, 0),
        ] {
            let r = Register::find(arch, name).unwrap();
            assert_eq!((r.field, r.offset, r.size, r.shift), (field, offset, size, shift), "{name}");
        }
        for (arch, name) in
            [(Arch::X86_64, "xmm0"), (Arch::X86_64, "x0"), (Arch::Arm64, "x31"), (Arch::Arm64, "v0")]
        {
            assert_eq!(Register::find(arch, name), None, "{name}");
        }
    }

    #[test]
    fn a_part_is_cut_out() {
        let ah = Register::find(Arch::X86_64, "ah").unwrap();
        assert_eq!(ah.part(0x1234_5678), 0x56);
        let rdi = Register::find(Arch::X86_64, "rdi").unwrap();
        assert_eq!(rdi.part(u64::MAX), u64::MAX);
    }
}
