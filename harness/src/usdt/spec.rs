//! Where a USDT probe's argument is: size, sign, and a constant, a register or a place in memory.

use std::fmt;

use super::register::Register;

/// One argument of a probe, as the note in the binary specifies it (`-4@%edi`, `8@-16(%rbp)`, `8@$5`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct ArgSpec {
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// It is signed: narrower values are extended by their sign.
    pub signed: bool,
    /// Where it is.
    pub kind: ArgKind,
}

/// Where an argument is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ArgKind {
    /// Nowhere: it is always this.
    Const(i64),
    /// In a register.
    Register(Register),
    /// In memory, at `base + index * scale + disp + address of symbol`.
    Memory {
        /// The register that is added as it is. The program counter counts nothing where there is a symbol
        /// (`sym(%rip)` is the symbol's address).
        base: Option<Register>,
        /// The register that is scaled.
        index: Option<Register>,
        /// 1, 2, 4 or 8.
        scale: u8,
        /// Bytes to be added.
        disp: i64,
        /// A symbol of the binary.
        symbol: Option<String>,
    },
}

/// What reading an argument needs to know of the traced process.
pub trait Surroundings {
    /// A register, by its place in `struct pt_regs`.
    fn register(&self, offset: u16) -> u64;
    /// Reads user memory; `false` if it cannot be read.
    fn memory(&self, addr: u64, out: &mut [u8]) -> bool;
    /// The address of a symbol of the binary, in this process.
    fn symbol(&self, name: &str) -> Option<u64>;
}

impl ArgSpec {
    pub(super) fn new(size: u8, signed: bool, kind: ArgKind) -> Self {
        Self { size, signed, kind }
    }

    /// The address of an argument in memory; `None` if it is elsewhere or its symbol is not known.
    #[must_use]
    pub fn address(&self, from: &impl Surroundings) -> Option<u64> {
        let ArgKind::Memory { base, index, scale, disp, symbol } = &self.kind else { return None };
        let mut addr = disp.cast_unsigned();
        if let Some(symbol) = symbol {
            addr = addr.wrapping_add(from.symbol(symbol)?);
        }
        if let Some(base) = base.filter(|b| !(b.is_pc() && symbol.is_some())) {
            addr = addr.wrapping_add(base.part(from.register(base.offset)));
        }
        if let Some(index) = index {
            let scaled = index.part(from.register(index.offset)).wrapping_mul(u64::from(*scale));
            addr = addr.wrapping_add(scaled);
        }
        Some(addr)
    }

    /// The argument's value as `bpf_usdt_readarg` gives it: extended to 64 bits by its sign.
    #[must_use]
    pub fn read(&self, from: &impl Surroundings) -> Option<u64> {
        let raw = match &self.kind {
            ArgKind::Const(value) => value.cast_unsigned(),
            ArgKind::Register(r) => from.register(r.offset) >> r.shift,
            ArgKind::Memory { .. } => {
                let mut bytes = [0; 8];
                let part = bytes.get_mut(..usize::from(self.size))?;
                if !from.memory(self.address(from)?, part) {
                    return None;
                }
                u64::from_le_bytes(bytes)
            }
        };
        Some(self.extend(raw))
    }

    /// A value cut to the argument's size and extended to 64 bits.
    #[must_use]
    pub fn extend(&self, raw: u64) -> u64 {
        let unused = 64 - 8 * u32::from(self.size.clamp(1, 8));
        if self.signed {
            ((raw << unused).cast_signed() >> unused).cast_unsigned()
        } else {
            raw << unused >> unused
        }
    }

    /// The argument's type in C.
    #[must_use]
    pub fn c_type(&self) -> &'static str {
        match (self.size, self.signed) {
            (1, true) => "int8_t",
            (1, false) => "uint8_t",
            (2, true) => "int16_t",
            (2, false) => "uint16_t",
            (4, true) => "int32_t",
            (4, false) => "uint32_t",
            (_, true) => "int64_t",
            (_, false) => "uint64_t",
        }
    }
}

/// As the compiler writes it for the assembler of the register's architecture; x86-64 if there is no register.
impl fmt::Display for ArgSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}@", if self.signed { "-" } else { "" }, self.size)?;
        match &self.kind {
            ArgKind::Const(value) => write!(f, "${value}"),
            ArgKind::Register(r) => write!(f, "{}{}", sigil(r), r.name),
            ArgKind::Memory { base, index, scale, disp, symbol } => {
                let arm = base.as_ref().is_some_and(|r| sigil(r).is_empty());
                if arm {
                    write!(f, "[{}", base.as_ref().map_or("", |r| r.name))?;
                    return match index {
                        Some(i) if *scale > 1 => write!(f, ", {}, lsl {}]", i.name, scale.trailing_zeros()),
                        Some(i) => write!(f, ", {}]", i.name),
                        None if *disp != 0 => write!(f, ", {disp}]"),
                        None => write!(f, "]"),
                    };
                }
                match (symbol, disp) {
                    (Some(s), 0) => f.write_str(s)?,
                    (Some(s), d) => write!(f, "{s}{d:+}")?,
                    (None, 0) if base.is_some() || index.is_some() => {}
                    (None, d) => write!(f, "{d}")?,
                }
                let Some(index) = index else {
                    return base.as_ref().map_or(Ok(()), |b| write!(f, "(%{})", b.name));
                };
                write!(f, "({}", base.as_ref().map_or_else(String::new, |b| format!("%{}", b.name)))?;
                write!(f, ",%{},{scale})", index.name)
            }
        }
    }
}

/// What stands before a register's name; nothing on arm64.
fn sigil(r: &Register) -> &'static str {
    let arm = r.field.starts_with("regs[") || r.offset >= 31 * 8;
    if arm { "" } else { "%" }
}
