//! The opcode table: the one place that knows which encodings exist.
//!
//! Decoding, validation and disassembly are derived from [`TABLE`]. Source: RFC 9669, appendix "Opcode Table";
//! `may_goto`, load-acquire and store-release from `kernel/bpf/core.c` and `include/uapi/linux/bpf.h`.

use super::insn::Insn;

/// Which field, besides the opcode, tells this encoding from others of the same opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// The opcode alone.
    Any,
    /// The offset has this value.
    Off(i16),
    /// The immediate has this value.
    Imm(i32),
    /// The source register field has this value.
    Src(u8),
}

/// Which fields an encoding uses; every other field is reserved and must be zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "each name lists the fields")]
pub enum Uses {
    None,
    Dst,
    DstSrc,
    DstImm,
    DstSrcImm,
    DstSrcOff,
    DstImmOff,
    DstPseudoImm,
    SrcImm,
    Off,
    Imm,
    OffImm,
}

impl Uses {
    /// The destination field is a register.
    #[must_use]
    pub const fn dst(self) -> bool {
        matches!(
            self,
            Self::Dst
                | Self::DstSrc
                | Self::DstImm
                | Self::DstSrcImm
                | Self::DstSrcOff
                | Self::DstImmOff
                | Self::DstPseudoImm
        )
    }

    /// The source field is a register.
    #[must_use]
    pub const fn src(self) -> bool {
        matches!(self, Self::DstSrc | Self::DstSrcImm | Self::DstSrcOff | Self::SrcImm)
    }

    /// The offset field is an operand.
    #[must_use]
    pub const fn off(self) -> bool {
        matches!(self, Self::DstSrcOff | Self::DstImmOff | Self::Off | Self::OffImm)
    }

    /// The immediate field is an operand.
    #[must_use]
    pub const fn imm(self) -> bool {
        matches!(
            self,
            Self::DstImm
                | Self::DstSrcImm
                | Self::DstImmOff
                | Self::DstPseudoImm
                | Self::SrcImm
                | Self::Imm
                | Self::OffImm
        )
    }
}

/// Operand width of arithmetic and of comparisons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 32 bits: the lower half, zero-extended.
    W32,
    /// 64 bits.
    W64,
}

/// How an operation is written (llvm-objdump's notation) and which operands it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "each name is the shape itself")]
pub enum Form {
    Alu(Width),
    Neg(Width),
    Movsx(Width),
    End,
    Jump(Width),
    Goto,
    Call,
    Callx,
    Cast,
    Gotox,
    Exit,
    LdImm64,
    LdAbs,
    LdInd,
    Load,
    StoreImm,
    StoreReg,
    Lock,
    Fetch,
    Xchg,
    Cmpxchg,
    LoadAcquire,
    StoreRelease,
}

/// An operation after decoding: what to do, with width and operand kind resolved.
///
/// A trailing `K` is an immediate operand, a trailing `X` a register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "each variant is described by its row in TABLE")]
pub enum Op {
    Add64K,
    Add64X,
    Sub64K,
    Sub64X,
    Mul64K,
    Mul64X,
    Div64K,
    Div64X,
    Or64K,
    Or64X,
    And64K,
    And64X,
    Lsh64K,
    Lsh64X,
    Rsh64K,
    Rsh64X,
    Mod64K,
    Mod64X,
    Xor64K,
    Xor64X,
    Mov64K,
    Mov64X,
    Arsh64K,
    Arsh64X,
    Sdiv64K,
    Sdiv64X,
    Smod64K,
    Smod64X,
    Neg64,
    Movsx8To64,
    Movsx16To64,
    Movsx32To64,
    Add32K,
    Add32X,
    Sub32K,
    Sub32X,
    Mul32K,
    Mul32X,
    Div32K,
    Div32X,
    Or32K,
    Or32X,
    And32K,
    And32X,
    Lsh32K,
    Lsh32X,
    Rsh32K,
    Rsh32X,
    Mod32K,
    Mod32X,
    Xor32K,
    Xor32X,
    Mov32K,
    Mov32X,
    Arsh32K,
    Arsh32X,
    Sdiv32K,
    Sdiv32X,
    Smod32K,
    Smod32X,
    Neg32,
    Movsx8To32,
    Movsx16To32,
    Le16,
    Be16,
    Bswap16,
    Le32,
    Be32,
    Bswap32,
    Le64,
    Be64,
    Bswap64,
    Jeq64K,
    Jeq64X,
    Jgt64K,
    Jgt64X,
    Jge64K,
    Jge64X,
    Jset64K,
    Jset64X,
    Jne64K,
    Jne64X,
    Jsgt64K,
    Jsgt64X,
    Jsge64K,
    Jsge64X,
    Jlt64K,
    Jlt64X,
    Jle64K,
    Jle64X,
    Jslt64K,
    Jslt64X,
    Jsle64K,
    Jsle64X,
    Jeq32K,
    Jeq32X,
    Jgt32K,
    Jgt32X,
    Jge32K,
    Jge32X,
    Jset32K,
    Jset32X,
    Jne32K,
    Jne32X,
    Jsgt32K,
    Jsgt32X,
    Jsge32K,
    Jsge32X,
    Jlt32K,
    Jlt32X,
    Jle32K,
    Jle32X,
    Jslt32K,
    Jslt32X,
    Jsle32K,
    Jsle32X,
    Ja,
    AddrSpaceCast,
    Gotox,
    Ja32,
    MayGoto,
    CallHelper,
    CallLocal,
    CallKfunc,
    Callx,
    Exit,
    LdImm64,
    LdAbsB,
    LdAbsH,
    LdAbsW,
    LdIndB,
    LdIndH,
    LdIndW,
    LdxB,
    LdxH,
    LdxW,
    LdxDw,
    LdxsB,
    LdxsH,
    LdxsW,
    StB,
    StH,
    StW,
    StDw,
    StxB,
    StxH,
    StxW,
    StxDw,
    AtomicAdd32,
    FetchAdd32,
    AtomicOr32,
    FetchOr32,
    AtomicAnd32,
    FetchAnd32,
    AtomicXor32,
    FetchXor32,
    Xchg32,
    Cmpxchg32,
    AtomicAdd64,
    FetchAdd64,
    AtomicOr64,
    FetchOr64,
    AtomicAnd64,
    FetchAnd64,
    AtomicXor64,
    FetchXor64,
    Xchg64,
    Cmpxchg64,
    LoadAcquire8,
    StoreRelease8,
    LoadAcquire16,
    StoreRelease16,
    LoadAcquire32,
    StoreRelease32,
    LoadAcquire64,
    StoreRelease64,
    /// No encoding: an engine's marker for an instruction that must not run (poisoned, or invalid and unreachable).
    Trap,
    /// No encoding: an engine's marker for an access through a pointer into an arena.
    Arena,
}

/// One encoding.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The operation.
    pub op: Op,
    /// The opcode byte.
    pub opcode: u8,
    /// What selects this row among those of the same opcode.
    pub key: Key,
    /// Which fields are operands.
    pub uses: Uses,
    /// Its notation.
    pub form: Form,
    /// The operator, type or mnemonic in that notation.
    pub token: &'static str,
}

const fn row(opcode: u8, key: Key, op: Op, uses: Uses, form: Form, token: &'static str) -> Row {
    Row { op, opcode, key, uses, form, token }
}

use Form::{
    Alu, Call, Cmpxchg, End, Exit, Fetch, Goto, Jump, LdAbs, LdInd, Load, LoadAcquire, Lock, Movsx, Neg,
    StoreImm, StoreReg, StoreRelease, Xchg,
};
use Key::{Any, Imm, Off, Src};
use Width::{W32, W64};

/// Every encoding, in the order of [`Op`].
#[rustfmt::skip]
pub static TABLE: &[Row] = &[
    row(0x07, Off(0), Op::Add64K, Uses::DstImm, Alu(W64), "+="),
    row(0x0f, Off(0), Op::Add64X, Uses::DstSrc, Alu(W64), "+="),
    row(0x17, Off(0), Op::Sub64K, Uses::DstImm, Alu(W64), "-="),
    row(0x1f, Off(0), Op::Sub64X, Uses::DstSrc, Alu(W64), "-="),
    row(0x27, Off(0), Op::Mul64K, Uses::DstImm, Alu(W64), "*="),
    row(0x2f, Off(0), Op::Mul64X, Uses::DstSrc, Alu(W64), "*="),
    row(0x37, Off(0), Op::Div64K, Uses::DstImm, Alu(W64), "/="),
    row(0x3f, Off(0), Op::Div64X, Uses::DstSrc, Alu(W64), "/="),
    row(0x47, Off(0), Op::Or64K, Uses::DstImm, Alu(W64), "|="),
    row(0x4f, Off(0), Op::Or64X, Uses::DstSrc, Alu(W64), "|="),
    row(0x57, Off(0), Op::And64K, Uses::DstImm, Alu(W64), "&="),
    row(0x5f, Off(0), Op::And64X, Uses::DstSrc, Alu(W64), "&="),
    row(0x67, Off(0), Op::Lsh64K, Uses::DstImm, Alu(W64), "<<="),
    row(0x6f, Off(0), Op::Lsh64X, Uses::DstSrc, Alu(W64), "<<="),
    row(0x77, Off(0), Op::Rsh64K, Uses::DstImm, Alu(W64), ">>="),
    row(0x7f, Off(0), Op::Rsh64X, Uses::DstSrc, Alu(W64), ">>="),
    row(0x97, Off(0), Op::Mod64K, Uses::DstImm, Alu(W64), "%="),
    row(0x9f, Off(0), Op::Mod64X, Uses::DstSrc, Alu(W64), "%="),
    row(0xa7, Off(0), Op::Xor64K, Uses::DstImm, Alu(W64), "^="),
    row(0xaf, Off(0), Op::Xor64X, Uses::DstSrc, Alu(W64), "^="),
    row(0xb7, Off(0), Op::Mov64K, Uses::DstImm, Alu(W64), "="),
    row(0xbf, Off(0), Op::Mov64X, Uses::DstSrc, Alu(W64), "="),
    row(0xc7, Off(0), Op::Arsh64K, Uses::DstImm, Alu(W64), "s>>="),
    row(0xcf, Off(0), Op::Arsh64X, Uses::DstSrc, Alu(W64), "s>>="),
    row(0x37, Off(1), Op::Sdiv64K, Uses::DstImm, Alu(W64), "s/="),
    row(0x3f, Off(1), Op::Sdiv64X, Uses::DstSrc, Alu(W64), "s/="),
    row(0x97, Off(1), Op::Smod64K, Uses::DstImm, Alu(W64), "s%="),
    row(0x9f, Off(1), Op::Smod64X, Uses::DstSrc, Alu(W64), "s%="),
    row(0x87, Off(0), Op::Neg64, Uses::Dst, Neg(W64), "-"),
    row(0xbf, Off(8), Op::Movsx8To64, Uses::DstSrc, Movsx(W64), "(s8)"),
    row(0xbf, Off(16), Op::Movsx16To64, Uses::DstSrc, Movsx(W64), "(s16)"),
    row(0xbf, Off(32), Op::Movsx32To64, Uses::DstSrc, Movsx(W64), "(s32)"),
    row(0x04, Off(0), Op::Add32K, Uses::DstImm, Alu(W32), "+="),
    row(0x0c, Off(0), Op::Add32X, Uses::DstSrc, Alu(W32), "+="),
    row(0x14, Off(0), Op::Sub32K, Uses::DstImm, Alu(W32), "-="),
    row(0x1c, Off(0), Op::Sub32X, Uses::DstSrc, Alu(W32), "-="),
    row(0x24, Off(0), Op::Mul32K, Uses::DstImm, Alu(W32), "*="),
    row(0x2c, Off(0), Op::Mul32X, Uses::DstSrc, Alu(W32), "*="),
    row(0x34, Off(0), Op::Div32K, Uses::DstImm, Alu(W32), "/="),
    row(0x3c, Off(0), Op::Div32X, Uses::DstSrc, Alu(W32), "/="),
    row(0x44, Off(0), Op::Or32K, Uses::DstImm, Alu(W32), "|="),
    row(0x4c, Off(0), Op::Or32X, Uses::DstSrc, Alu(W32), "|="),
    row(0x54, Off(0), Op::And32K, Uses::DstImm, Alu(W32), "&="),
    row(0x5c, Off(0), Op::And32X, Uses::DstSrc, Alu(W32), "&="),
    row(0x64, Off(0), Op::Lsh32K, Uses::DstImm, Alu(W32), "<<="),
    row(0x6c, Off(0), Op::Lsh32X, Uses::DstSrc, Alu(W32), "<<="),
    row(0x74, Off(0), Op::Rsh32K, Uses::DstImm, Alu(W32), ">>="),
    row(0x7c, Off(0), Op::Rsh32X, Uses::DstSrc, Alu(W32), ">>="),
    row(0x94, Off(0), Op::Mod32K, Uses::DstImm, Alu(W32), "%="),
    row(0x9c, Off(0), Op::Mod32X, Uses::DstSrc, Alu(W32), "%="),
    row(0xa4, Off(0), Op::Xor32K, Uses::DstImm, Alu(W32), "^="),
    row(0xac, Off(0), Op::Xor32X, Uses::DstSrc, Alu(W32), "^="),
    row(0xb4, Off(0), Op::Mov32K, Uses::DstImm, Alu(W32), "="),
    row(0xbc, Off(0), Op::Mov32X, Uses::DstSrc, Alu(W32), "="),
    row(0xc4, Off(0), Op::Arsh32K, Uses::DstImm, Alu(W32), "s>>="),
    row(0xcc, Off(0), Op::Arsh32X, Uses::DstSrc, Alu(W32), "s>>="),
    row(0x34, Off(1), Op::Sdiv32K, Uses::DstImm, Alu(W32), "s/="),
    row(0x3c, Off(1), Op::Sdiv32X, Uses::DstSrc, Alu(W32), "s/="),
    row(0x94, Off(1), Op::Smod32K, Uses::DstImm, Alu(W32), "s%="),
    row(0x9c, Off(1), Op::Smod32X, Uses::DstSrc, Alu(W32), "s%="),
    row(0x84, Off(0), Op::Neg32, Uses::Dst, Neg(W32), "-"),
    row(0xbc, Off(8), Op::Movsx8To32, Uses::DstSrc, Movsx(W32), "(s8)"),
    row(0xbc, Off(16), Op::Movsx16To32, Uses::DstSrc, Movsx(W32), "(s16)"),
    row(0xd4, Imm(16), Op::Le16, Uses::Dst, End, "le16"),
    row(0xdc, Imm(16), Op::Be16, Uses::Dst, End, "be16"),
    row(0xd7, Imm(16), Op::Bswap16, Uses::Dst, End, "bswap16"),
    row(0xd4, Imm(32), Op::Le32, Uses::Dst, End, "le32"),
    row(0xdc, Imm(32), Op::Be32, Uses::Dst, End, "be32"),
    row(0xd7, Imm(32), Op::Bswap32, Uses::Dst, End, "bswap32"),
    row(0xd4, Imm(64), Op::Le64, Uses::Dst, End, "le64"),
    row(0xdc, Imm(64), Op::Be64, Uses::Dst, End, "be64"),
    row(0xd7, Imm(64), Op::Bswap64, Uses::Dst, End, "bswap64"),
    row(0x15, Any, Op::Jeq64K, Uses::DstImmOff, Jump(W64), "=="),
    row(0x1d, Any, Op::Jeq64X, Uses::DstSrcOff, Jump(W64), "=="),
    row(0x25, Any, Op::Jgt64K, Uses::DstImmOff, Jump(W64), ">"),
    row(0x2d, Any, Op::Jgt64X, Uses::DstSrcOff, Jump(W64), ">"),
    row(0x35, Any, Op::Jge64K, Uses::DstImmOff, Jump(W64), ">="),
    row(0x3d, Any, Op::Jge64X, Uses::DstSrcOff, Jump(W64), ">="),
    row(0x45, Any, Op::Jset64K, Uses::DstImmOff, Jump(W64), "&"),
    row(0x4d, Any, Op::Jset64X, Uses::DstSrcOff, Jump(W64), "&"),
    row(0x55, Any, Op::Jne64K, Uses::DstImmOff, Jump(W64), "!="),
    row(0x5d, Any, Op::Jne64X, Uses::DstSrcOff, Jump(W64), "!="),
    row(0x65, Any, Op::Jsgt64K, Uses::DstImmOff, Jump(W64), "s>"),
    row(0x6d, Any, Op::Jsgt64X, Uses::DstSrcOff, Jump(W64), "s>"),
    row(0x75, Any, Op::Jsge64K, Uses::DstImmOff, Jump(W64), "s>="),
    row(0x7d, Any, Op::Jsge64X, Uses::DstSrcOff, Jump(W64), "s>="),
    row(0xa5, Any, Op::Jlt64K, Uses::DstImmOff, Jump(W64), "<"),
    row(0xad, Any, Op::Jlt64X, Uses::DstSrcOff, Jump(W64), "<"),
    row(0xb5, Any, Op::Jle64K, Uses::DstImmOff, Jump(W64), "<="),
    row(0xbd, Any, Op::Jle64X, Uses::DstSrcOff, Jump(W64), "<="),
    row(0xc5, Any, Op::Jslt64K, Uses::DstImmOff, Jump(W64), "s<"),
    row(0xcd, Any, Op::Jslt64X, Uses::DstSrcOff, Jump(W64), "s<"),
    row(0xd5, Any, Op::Jsle64K, Uses::DstImmOff, Jump(W64), "s<="),
    row(0xdd, Any, Op::Jsle64X, Uses::DstSrcOff, Jump(W64), "s<="),
    row(0x16, Any, Op::Jeq32K, Uses::DstImmOff, Jump(W32), "=="),
    row(0x1e, Any, Op::Jeq32X, Uses::DstSrcOff, Jump(W32), "=="),
    row(0x26, Any, Op::Jgt32K, Uses::DstImmOff, Jump(W32), ">"),
    row(0x2e, Any, Op::Jgt32X, Uses::DstSrcOff, Jump(W32), ">"),
    row(0x36, Any, Op::Jge32K, Uses::DstImmOff, Jump(W32), ">="),
    row(0x3e, Any, Op::Jge32X, Uses::DstSrcOff, Jump(W32), ">="),
    row(0x46, Any, Op::Jset32K, Uses::DstImmOff, Jump(W32), "&"),
    row(0x4e, Any, Op::Jset32X, Uses::DstSrcOff, Jump(W32), "&"),
    row(0x56, Any, Op::Jne32K, Uses::DstImmOff, Jump(W32), "!="),
    row(0x5e, Any, Op::Jne32X, Uses::DstSrcOff, Jump(W32), "!="),
    row(0x66, Any, Op::Jsgt32K, Uses::DstImmOff, Jump(W32), "s>"),
    row(0x6e, Any, Op::Jsgt32X, Uses::DstSrcOff, Jump(W32), "s>"),
    row(0x76, Any, Op::Jsge32K, Uses::DstImmOff, Jump(W32), "s>="),
    row(0x7e, Any, Op::Jsge32X, Uses::DstSrcOff, Jump(W32), "s>="),
    row(0xa6, Any, Op::Jlt32K, Uses::DstImmOff, Jump(W32), "<"),
    row(0xae, Any, Op::Jlt32X, Uses::DstSrcOff, Jump(W32), "<"),
    row(0xb6, Any, Op::Jle32K, Uses::DstImmOff, Jump(W32), "<="),
    row(0xbe, Any, Op::Jle32X, Uses::DstSrcOff, Jump(W32), "<="),
    row(0xc6, Any, Op::Jslt32K, Uses::DstImmOff, Jump(W32), "s<"),
    row(0xce, Any, Op::Jslt32X, Uses::DstSrcOff, Jump(W32), "s<"),
    row(0xd6, Any, Op::Jsle32K, Uses::DstImmOff, Jump(W32), "s<="),
    row(0xde, Any, Op::Jsle32X, Uses::DstSrcOff, Jump(W32), "s<="),
    row(0x05, Any, Op::Ja, Uses::Off, Goto, "goto"),
    row(0xbf, Off(1), Op::AddrSpaceCast, Uses::DstSrcImm, Form::Cast, "addr_space_cast"),
    row(0x0d, Any, Op::Gotox, Uses::Dst, Form::Gotox, "gotox"),
    row(0x06, Any, Op::Ja32, Uses::Imm, Goto, "gotol"),
    row(0xe5, Src(0), Op::MayGoto, Uses::Off, Goto, "may_goto"),
    row(0x85, Src(0), Op::CallHelper, Uses::Imm, Call, "call"),
    row(0x85, Src(1), Op::CallLocal, Uses::Imm, Call, "call"),
    row(0x85, Src(2), Op::CallKfunc, Uses::OffImm, Call, "call"),
    row(0x8d, Any, Op::Callx, Uses::Dst, Form::Callx, "callx"),
    row(0x95, Any, Op::Exit, Uses::None, Exit, "exit"),
    row(0x18, Any, Op::LdImm64, Uses::DstPseudoImm, Form::LdImm64, "ll"),
    row(0x30, Any, Op::LdAbsB, Uses::Imm, LdAbs, "u8"),
    row(0x28, Any, Op::LdAbsH, Uses::Imm, LdAbs, "u16"),
    row(0x20, Any, Op::LdAbsW, Uses::Imm, LdAbs, "u32"),
    row(0x50, Any, Op::LdIndB, Uses::SrcImm, LdInd, "u8"),
    row(0x48, Any, Op::LdIndH, Uses::SrcImm, LdInd, "u16"),
    row(0x40, Any, Op::LdIndW, Uses::SrcImm, LdInd, "u32"),
    row(0x71, Any, Op::LdxB, Uses::DstSrcOff, Load, "u8"),
    row(0x69, Any, Op::LdxH, Uses::DstSrcOff, Load, "u16"),
    row(0x61, Any, Op::LdxW, Uses::DstSrcOff, Load, "u32"),
    row(0x79, Any, Op::LdxDw, Uses::DstSrcOff, Load, "u64"),
    row(0x91, Any, Op::LdxsB, Uses::DstSrcOff, Load, "s8"),
    row(0x89, Any, Op::LdxsH, Uses::DstSrcOff, Load, "s16"),
    row(0x81, Any, Op::LdxsW, Uses::DstSrcOff, Load, "s32"),
    row(0x72, Any, Op::StB, Uses::DstImmOff, StoreImm, "u8"),
    row(0x6a, Any, Op::StH, Uses::DstImmOff, StoreImm, "u16"),
    row(0x62, Any, Op::StW, Uses::DstImmOff, StoreImm, "u32"),
    row(0x7a, Any, Op::StDw, Uses::DstImmOff, StoreImm, "u64"),
    row(0x73, Any, Op::StxB, Uses::DstSrcOff, StoreReg, "u8"),
    row(0x6b, Any, Op::StxH, Uses::DstSrcOff, StoreReg, "u16"),
    row(0x63, Any, Op::StxW, Uses::DstSrcOff, StoreReg, "u32"),
    row(0x7b, Any, Op::StxDw, Uses::DstSrcOff, StoreReg, "u64"),
    row(0xc3, Imm(0x00), Op::AtomicAdd32, Uses::DstSrcOff, Lock, "+="),
    row(0xc3, Imm(0x01), Op::FetchAdd32, Uses::DstSrcOff, Fetch, "atomic_fetch_add"),
    row(0xc3, Imm(0x40), Op::AtomicOr32, Uses::DstSrcOff, Lock, "|="),
    row(0xc3, Imm(0x41), Op::FetchOr32, Uses::DstSrcOff, Fetch, "atomic_fetch_or"),
    row(0xc3, Imm(0x50), Op::AtomicAnd32, Uses::DstSrcOff, Lock, "&="),
    row(0xc3, Imm(0x51), Op::FetchAnd32, Uses::DstSrcOff, Fetch, "atomic_fetch_and"),
    row(0xc3, Imm(0xa0), Op::AtomicXor32, Uses::DstSrcOff, Lock, "^="),
    row(0xc3, Imm(0xa1), Op::FetchXor32, Uses::DstSrcOff, Fetch, "atomic_fetch_xor"),
    row(0xc3, Imm(0xe1), Op::Xchg32, Uses::DstSrcOff, Xchg, "xchg"),
    row(0xc3, Imm(0xf1), Op::Cmpxchg32, Uses::DstSrcOff, Cmpxchg, "cmpxchg"),
    row(0xdb, Imm(0x00), Op::AtomicAdd64, Uses::DstSrcOff, Lock, "+="),
    row(0xdb, Imm(0x01), Op::FetchAdd64, Uses::DstSrcOff, Fetch, "atomic_fetch_add"),
    row(0xdb, Imm(0x40), Op::AtomicOr64, Uses::DstSrcOff, Lock, "|="),
    row(0xdb, Imm(0x41), Op::FetchOr64, Uses::DstSrcOff, Fetch, "atomic_fetch_or"),
    row(0xdb, Imm(0x50), Op::AtomicAnd64, Uses::DstSrcOff, Lock, "&="),
    row(0xdb, Imm(0x51), Op::FetchAnd64, Uses::DstSrcOff, Fetch, "atomic_fetch_and"),
    row(0xdb, Imm(0xa0), Op::AtomicXor64, Uses::DstSrcOff, Lock, "^="),
    row(0xdb, Imm(0xa1), Op::FetchXor64, Uses::DstSrcOff, Fetch, "atomic_fetch_xor"),
    row(0xdb, Imm(0xe1), Op::Xchg64, Uses::DstSrcOff, Xchg, "xchg"),
    row(0xdb, Imm(0xf1), Op::Cmpxchg64, Uses::DstSrcOff, Cmpxchg, "cmpxchg"),
    row(0xd3, Imm(0x100), Op::LoadAcquire8, Uses::DstSrcOff, LoadAcquire, "u8"),
    row(0xd3, Imm(0x110), Op::StoreRelease8, Uses::DstSrcOff, StoreRelease, "u8"),
    row(0xcb, Imm(0x100), Op::LoadAcquire16, Uses::DstSrcOff, LoadAcquire, "u16"),
    row(0xcb, Imm(0x110), Op::StoreRelease16, Uses::DstSrcOff, StoreRelease, "u16"),
    row(0xc3, Imm(0x100), Op::LoadAcquire32, Uses::DstSrcOff, LoadAcquire, "u32"),
    row(0xc3, Imm(0x110), Op::StoreRelease32, Uses::DstSrcOff, StoreRelease, "u32"),
    row(0xdb, Imm(0x100), Op::LoadAcquire64, Uses::DstSrcOff, LoadAcquire, "u64"),
    row(0xdb, Imm(0x110), Op::StoreRelease64, Uses::DstSrcOff, StoreRelease, "u64"),
];

/// The row that an instruction slot matches, if any.
#[must_use]
pub fn lookup(insn: &Insn) -> Option<&'static Row> {
    TABLE.iter().filter(|r| r.opcode == insn.opcode).find(|r| match r.key {
        Any => true,
        Off(off) => insn.off == off,
        Imm(imm) => insn.imm == imm,
        Src(src) => insn.src == src,
    })
}

impl Op {
    /// This operation's row; `None` for [`Op::Trap`] and [`Op::Arena`], which have no encoding.
    #[must_use]
    pub fn row(self) -> Option<&'static Row> {
        TABLE.get(self as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_op() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.op as usize, i, "{:?}", row.op);
        }
    }

    #[test]
    fn no_encoding_matches_two_rows() {
        for (i, a) in TABLE.iter().enumerate() {
            for b in &TABLE[i + 1..] {
                assert!(a.opcode != b.opcode || (a.key != b.key && a.key != Any), "{a:?} and {b:?}");
            }
        }
    }
}
