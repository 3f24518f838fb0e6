//! Instructions as bytes.

/// `exit`.
pub(crate) const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];
/// Second slot of a wide load.
pub(crate) const WIDE: [u8; 8] = [0; 8];

/// `r0 = imm`.
pub(crate) const fn mov(imm: u8) -> [u8; 8] {
    [0xb7, 0, 0, 0, imm, 0, 0, 0]
}

/// First slot of `r1 = imm ll`.
pub(crate) fn ld_imm64(imm: i32) -> [u8; 8] {
    let b = imm.to_le_bytes();
    [0x18, 1, 0, 0, b[0], b[1], b[2], b[3]]
}

/// `call imm` of a local function.
pub(crate) fn call(imm: i32) -> [u8; 8] {
    let b = imm.to_le_bytes();
    [0x85, 0x10, 0, 0, b[0], b[1], b[2], b[3]]
}

/// `r1 = *(u32 *)(r1 + off)`.
pub(crate) fn load32(off: i16) -> [u8; 8] {
    let b = off.to_le_bytes();
    [0x61, 0x11, b[0], b[1], 0, 0, 0, 0]
}
