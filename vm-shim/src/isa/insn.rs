//! One 64-bit instruction slot, as it stands in an object file.

/// One 64-bit instruction slot (RFC 9669, section 3).
///
/// A wide instruction (`ld_imm64`) takes two consecutive slots; the second holds the upper half of the
/// immediate and has opcode 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Insn {
    /// Operation code: class, source or size, and operation.
    pub opcode: u8,
    /// Destination register, 0 to 15 (only 0 to 10 are valid).
    pub dst: u8,
    /// Source register, 0 to 15, or a pseudo number for calls and `ld_imm64`.
    pub src: u8,
    /// Signed offset: a jump distance in slots or a displacement in bytes.
    pub off: i16,
    /// Signed immediate operand.
    pub imm: i32,
}

impl Insn {
    /// Size of one slot in bytes.
    pub const SIZE: usize = 8;

    /// Decodes one little-endian slot.
    #[must_use]
    pub const fn from_bytes(b: [u8; 8]) -> Self {
        Self {
            opcode: b[0],
            dst: b[1] & 0x0f,
            src: b[1] >> 4,
            off: i16::from_le_bytes([b[2], b[3]]),
            imm: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        }
    }

    /// Encodes the slot in little-endian order.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        let off = self.off.to_le_bytes();
        let imm = self.imm.to_le_bytes();
        [self.opcode, (self.dst & 0x0f) | (self.src << 4), off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
    }

    /// Decodes a whole little-endian code section; `None` if its length is no multiple of eight.
    #[must_use]
    pub fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let (slots, rest) = bytes.as_chunks::<8>();
        rest.is_empty().then(|| slots.iter().map(|s| Self::from_bytes(*s)).collect())
    }

    /// The instruction class: the low three bits of the opcode.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.opcode & 0x07
    }

    /// Whether this is the first slot of `ld_imm64`.
    #[must_use]
    pub const fn is_ld_imm64(self) -> bool {
        self.opcode == 0x18
    }

    /// Whether this calls a helper by number.
    #[must_use]
    pub const fn is_helper_call(self) -> bool {
        self.opcode == 0x85 && self.src == pseudo::CALL_HELPER
    }

    /// Whether this calls a function of the same program.
    #[must_use]
    pub const fn is_local_call(self) -> bool {
        self.opcode == 0x85 && self.src == pseudo::CALL_LOCAL
    }

    /// Whether this calls a kernel function.
    #[must_use]
    pub const fn is_kfunc_call(self) -> bool {
        self.opcode == 0x85 && self.src == pseudo::CALL_KFUNC
    }
}

/// Instruction classes (RFC 9669, section 3.1).
pub mod class {
    /// Non-standard loads: `ld_imm64` and legacy packet access.
    pub const LD: u8 = 0;
    /// Loads into a register.
    pub const LDX: u8 = 1;
    /// Stores of an immediate.
    pub const ST: u8 = 2;
    /// Stores of a register, and atomic operations.
    pub const STX: u8 = 3;
    /// 32-bit arithmetic.
    pub const ALU: u8 = 4;
    /// Jumps on 64-bit comparisons, calls and exit.
    pub const JMP: u8 = 5;
    /// Jumps on 32-bit comparisons.
    pub const JMP32: u8 = 6;
    /// 64-bit arithmetic.
    pub const ALU64: u8 = 7;
}

/// Values of the source field that give `ld_imm64` and `call` another meaning (`include/uapi/linux/bpf.h`).
pub mod pseudo {
    /// `ld_imm64`: a plain constant.
    pub const IMM64: u8 = 0;
    /// `ld_imm64`: the map with this file descriptor.
    pub const MAP_FD: u8 = 1;
    /// `ld_imm64`: an address inside the first value of the map with this file descriptor.
    pub const MAP_VALUE: u8 = 2;
    /// `ld_imm64`: the address of the kernel symbol with this BTF id.
    pub const BTF_ID: u8 = 3;
    /// `ld_imm64`: the address of a function of the same program, relative to the next instruction.
    pub const FUNC: u8 = 4;
    /// `ld_imm64`: the map at this index of the caller's table.
    pub const MAP_IDX: u8 = 5;
    /// `ld_imm64`: an address inside the first value of the map at this index of the caller's table.
    pub const MAP_IDX_VALUE: u8 = 6;

    /// `call`: a helper by number.
    pub const CALL_HELPER: u8 = 0;
    /// `call`: a function of the same program, relative to the next instruction.
    pub const CALL_LOCAL: u8 = 1;
    /// `call`: a kernel function by BTF id.
    pub const CALL_KFUNC: u8 = 2;
}
