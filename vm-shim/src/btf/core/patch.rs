//! Writing a relocated value into its instruction.

use super::{CoreError, CoreValue};
use crate::isa::{Insn, class};

/// What became of the instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// It holds the new value.
    Done,
    /// It cannot hold it and must fault when reached: the field changed in a way that no load or store can
    /// follow. The instruction was not touched.
    Poison(String),
}

const SOURCE_REGISTER: u8 = 0x08;
const SIZE_MASK: u8 = 0x18;
/// Size bits of an opcode and the bytes they stand for.
const SIZES: [(u8, u32); 4] = [(0x00, 4), (0x08, 2), (0x10, 1), (0x18, 8)];

impl CoreValue {
    /// Patches the instruction at `idx` (libbpf's `bpf_core_patch_insn`): the immediate of arithmetic and
    /// `ld_imm64`, the offset of a load or store, and its width where the field's size changed.
    ///
    /// # Errors
    /// If the instruction cannot carry a relocation, or does not hold the local value.
    pub fn patch(&self, insns: &mut [Insn], idx: usize) -> Result<Patched, CoreError> {
        let bad = |why: String| CoreError::BadInsn { insn: idx, why: format!("{why} ({})", self.spec) };
        let rest = insns.get_mut(idx..).unwrap_or_default();
        let (insn, rest) = rest.split_first_mut().ok_or_else(|| bad("outside the program".to_owned()))?;
        match insn.class() {
            class::ALU | class::ALU64 => {
                if insn.opcode & SOURCE_REGISTER != 0 {
                    return Err(bad("its operand is a register".to_owned()));
                }
                self.check(i64::from(insn.imm).cast_unsigned()).map_err(bad)?;
                insn.imm = self.target as i32;
            }
            class::LDX | class::ST | class::STX => {
                self.check(i64::from(insn.off).cast_unsigned()).map_err(bad)?;
                let off = i16::try_from(self.target);
                let off = off.map_err(|_| bad(format!("offset {} does not fit 16 bits", self.target)))?;
                if self.wrong_size {
                    let (from, to) = self.sizes;
                    return Ok(Patched::Poison(format!(
                        "a field of {from} bytes here is {} in the target, and it is neither a pointer nor an \
                         unsigned integer on both sides",
                        if to == 0 { "a bit-field".to_owned() } else { format!("one of {to} bytes") },
                    )));
                }
                let opcode = self.resized(insn.opcode).map_err(bad)?;
                insn.off = off;
                insn.opcode = opcode;
            }
            class::LD => {
                let plain = |i: &Insn| i.src == 0 && i.off == 0;
                let second = rest.first_mut().filter(|s| s.opcode == 0 && s.dst == 0 && plain(s));
                let (true, Some(second)) = (insn.is_ld_imm64() && plain(insn), second) else {
                    return Err(bad("it is not a plain ld_imm64".to_owned()));
                };
                let imm = u64::from(insn.imm.cast_unsigned()) | u64::from(second.imm.cast_unsigned()) << 32;
                self.check(imm).map_err(bad)?;
                insn.imm = self.target as i32;
                second.imm = (self.target >> 32) as i32;
            }
            _ => return Err(bad(format!("opcode {:#04x} cannot be relocated", insn.opcode))),
        }
        Ok(Patched::Done)
    }

    fn check(&self, found: u64) -> Result<(), String> {
        if self.validate && found != self.local {
            let found = found.cast_signed();
            return Err(format!("it holds {found}, but its relocation is about {}", self.local));
        }
        Ok(())
    }

    fn resized(&self, opcode: u8) -> Result<u8, String> {
        let (from, to) = self.sizes;
        if from == to {
            return Ok(opcode);
        }
        let bits = opcode & SIZE_MASK;
        if !SIZES.contains(&(bits, from)) {
            return Err(format!("it does not access the {from} bytes of its field"));
        }
        let new = SIZES.iter().find(|(_, bytes)| *bytes == to);
        let (new, _) = new.ok_or_else(|| format!("no load or store of {to} bytes exists"))?;
        Ok(opcode & !SIZE_MASK | new)
    }
}
