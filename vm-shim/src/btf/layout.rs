//! Sizes, alignments and positions.

use std::collections::BTreeMap;

use super::{Btf, BtfError, Composite, IntEncoding, Kind, Member, Type, TypeId};

/// Aliases, modifiers and array levels that are followed before giving up (libbpf's `MAX_RESOLVE_DEPTH`).
const MAX_RESOLVE_DEPTH: u32 = 32;
/// Structures nested by value.
const MAX_NESTING: u32 = 64;
/// Every target that BPF objects are read for here has 64-bit pointers.
const POINTER_SIZE: u64 = 8;

/// Where a member's bits are, to be read as a little-endian number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitRange {
    /// First byte to read, from the start of the structure.
    pub byte_offset: u32,
    /// Number of bytes to read, 0 to 16.
    pub byte_len: u32,
    /// How far to shift the number right.
    pub shift: u32,
    /// Number of bits that remain.
    pub bits: u32,
}

impl BitRange {
    /// The mask of the remaining bits.
    #[must_use]
    pub const fn mask(&self) -> u128 {
        if self.bits >= 128 { u128::MAX } else { (1 << self.bits) - 1 }
    }

    /// Reads the bits from the bytes of the structure; `None` if these are too short.
    #[must_use]
    pub fn extract(&self, bytes: &[u8]) -> Option<u128> {
        let mut buf = [0; 16];
        let at = self.byte_offset as usize;
        let src = bytes.get(at..at.checked_add(self.byte_len as usize)?)?;
        buf.get_mut(..src.len())?.copy_from_slice(src);
        Some(u128::from_le_bytes(buf).checked_shr(self.shift).unwrap_or(0) & self.mask())
    }

    /// Reads the bits as a two's complement number.
    #[must_use]
    pub fn extract_signed(&self, bytes: &[u8]) -> Option<i128> {
        let unused = 128 - self.bits.min(128);
        let value = self.extract(bytes)?.cast_signed();
        Some(value.checked_shl(unused).unwrap_or(0).checked_shr(unused).unwrap_or(0))
    }

    /// Writes the low bits of `value` into the bytes of the structure; `None` if these are too short.
    #[must_use]
    pub fn insert(&self, bytes: &mut [u8], value: u128) -> Option<()> {
        let mut buf = [0; 16];
        let at = self.byte_offset as usize;
        let dst = bytes.get_mut(at..at.checked_add(self.byte_len as usize)?)?;
        buf.get_mut(..dst.len())?.copy_from_slice(dst);
        let mask = self.mask().checked_shl(self.shift).unwrap_or(0);
        let bits = value.checked_shl(self.shift).unwrap_or(0) & mask;
        let new = (u128::from_le_bytes(buf) & !mask | bits).to_le_bytes();
        dst.copy_from_slice(new.get(..dst.len())?);
        Some(())
    }
}

impl Btf {
    /// Follows typedef, const, volatile, restrict and type tags.
    ///
    /// # Errors
    /// If the id does not exist, or the chain is a cycle or too long.
    pub fn resolve(&self, id: TypeId) -> Result<(TypeId, Type<'_>), BtfError> {
        let mut at = id;
        for _ in 0..MAX_RESOLVE_DEPTH {
            let ty = self.get(at)?;
            match ty.modified() {
                Some(next) => at = next,
                None => return Ok((at, ty)),
            }
        }
        Err(BtfError::TooDeep { id, limit: MAX_RESOLVE_DEPTH })
    }

    /// Size of a value in bytes (libbpf's `btf__resolve_size`).
    ///
    /// # Errors
    /// If the kind has no size (void, functions, forward declarations), or the array is too large.
    pub fn size_of(&self, id: TypeId) -> Result<u64, BtfError> {
        let mut elements: u64 = 1;
        let mut at = id;
        for _ in 0..MAX_RESOLVE_DEPTH {
            let ty = self.get(at)?;
            let size = match ty {
                Type::Int(t) => u64::from(t.size),
                Type::Struct(t) | Type::Union(t) => u64::from(t.size),
                Type::Enum(t) | Type::Enum64(t) => u64::from(t.size),
                Type::DataSec(t) => u64::from(t.size),
                Type::Float { size, .. } => u64::from(size),
                Type::Ptr(_) => POINTER_SIZE,
                Type::Array(a) => {
                    let total = elements.checked_mul(u64::from(a.len));
                    elements = total.ok_or(BtfError::SizeOverflow { id })?;
                    at = a.element;
                    continue;
                }
                Type::Var { target, .. } | Type::DeclTag { target, .. } => {
                    at = target;
                    continue;
                }
                _ => match ty.modified() {
                    Some(next) => {
                        at = next;
                        continue;
                    }
                    None => return Err(BtfError::NoSize { id, kind: ty.kind() }),
                },
            };
            return elements.checked_mul(size).ok_or(BtfError::SizeOverflow { id });
        }
        Err(BtfError::TooDeep { id, limit: MAX_RESOLVE_DEPTH })
    }

    /// Natural alignment in bytes; 1 for a structure that must be packed (libbpf's `btf__align_of`).
    ///
    /// # Errors
    /// As [`Btf::size_of`], and if a structure contains itself.
    pub fn align_of(&self, id: TypeId) -> Result<u64, BtfError> {
        self.align(id, id, MAX_NESTING, &mut BTreeMap::new())
    }

    /// Alignments already known are kept, or types that contain each other twice would take exponential time.
    fn align(
        &self,
        root: TypeId,
        id: TypeId,
        depth: u32,
        known: &mut BTreeMap<TypeId, u64>,
    ) -> Result<u64, BtfError> {
        let depth = depth.checked_sub(1).ok_or(BtfError::TooDeep { id: root, limit: MAX_NESTING })?;
        let (id, ty) = self.resolve(id)?;
        let natural = |size: u32| u64::from(size).clamp(1, POINTER_SIZE);
        match ty {
            // `__int128` is the only one wider than a pointer.
            Type::Int(t) => Ok(u64::from(t.size).clamp(1, 16)),
            Type::Enum(t) | Type::Enum64(t) => Ok(natural(t.size)),
            Type::Float { size, .. } => Ok(natural(size)),
            Type::Ptr(_) => Ok(POINTER_SIZE),
            Type::Array(a) => self.align(root, a.element, depth, known),
            Type::Var { target, .. } | Type::DeclTag { target, .. } => self.align(root, target, depth, known),
            Type::Struct(c) | Type::Union(c) => {
                if let Some(align) = known.get(&id) {
                    return Ok(*align);
                }
                let align = self.composite_align(root, c, depth, known)?.unwrap_or(1);
                known.insert(id, align);
                Ok(align)
            }
            _ => Err(BtfError::NoSize { id, kind: ty.kind() }),
        }
    }

    /// As [`Btf::align_of`], with the alignments of other structures at hand.
    pub(super) fn align_known(&self, id: TypeId, known: &mut BTreeMap<TypeId, u64>) -> Result<u64, BtfError> {
        self.align(id, id, MAX_NESTING, known)
    }

    /// The alignment that the members give a structure or union; `None` if it must be packed.
    pub(super) fn natural_align(
        &self,
        id: TypeId,
        c: Composite<'_>,
        known: &mut BTreeMap<TypeId, u64>,
    ) -> Result<Option<u64>, BtfError> {
        self.composite_align(id, c, MAX_NESTING, known)
    }

    fn composite_align(
        &self,
        root: TypeId,
        c: Composite<'_>,
        depth: u32,
        known: &mut BTreeMap<TypeId, u64>,
    ) -> Result<Option<u64>, BtfError> {
        let mut max = 1;
        for m in c.members() {
            let align = self.align(root, m.type_id, depth, known)?;
            max = max.max(align);
            let (start, unit) = (u64::from(m.bit_offset), 8 * align);
            let natural = match m.bitfield_size {
                0 => start.is_multiple_of(unit),
                // A bit-field does not cross the bounds of its type.
                width => start % unit + u64::from(width) <= unit,
            };
            if !natural {
                return Ok(None);
            }
        }
        Ok(u64::from(c.size).is_multiple_of(max).then_some(max))
    }

    /// Where the bits of a member are. Members wider than 16 bytes (arrays, structures) are not numbers.
    ///
    /// # Errors
    /// If the member's type has no size, or is not an integer, enumeration, pointer or float of at most 16 bytes.
    pub fn bit_range(&self, member: &Member<'_>) -> Result<BitRange, BtfError> {
        let (id, ty) = self.resolve(member.type_id)?;
        let wrong = || BtfError::WrongKind { id, kind: ty.kind(), expected: "a number of at most 16 bytes" };
        let size = match ty {
            Type::Int(t) => t.size,
            Type::Enum(t) | Type::Enum64(t) => t.size,
            Type::Float { size, .. } => size,
            Type::Ptr(_) => POINTER_SIZE as u32,
            _ => return Err(wrong()),
        };
        // The oldest encoding of bit-fields puts position and width into the integer type.
        let (start, bits) = match ty {
            _ if member.bitfield_size != 0 => (member.bit_offset, u32::from(member.bitfield_size)),
            Type::Int(t) if u32::from(t.bits) < size.saturating_mul(8) || t.offset != 0 => {
                (member.bit_offset.checked_add(u32::from(t.offset)).ok_or_else(wrong)?, u32::from(t.bits))
            }
            _ => (member.bit_offset, size.checked_mul(8).ok_or_else(wrong)?),
        };
        let shift = start % 8;
        let byte_len = shift.checked_add(bits).ok_or_else(wrong)?.div_ceil(8);
        if byte_len > 16 {
            return Err(wrong());
        }
        Ok(BitRange { byte_offset: start / 8, byte_len, shift, bits })
    }

    /// How a number's bits are meant: integers by their encoding, enumerations by their sign, pointers and
    /// the like unsigned; `None` if the type is no number.
    ///
    /// # Errors
    /// If the id does not exist, or the chain of aliases is a cycle.
    pub fn int_encoding(&self, id: TypeId) -> Result<Option<IntEncoding>, BtfError> {
        Ok(match self.resolve(id)?.1 {
            Type::Int(t) => Some(t.encoding),
            Type::Enum(t) | Type::Enum64(t) if t.signed => Some(IntEncoding::SIGNED),
            Type::Enum(_) | Type::Enum64(_) | Type::Ptr(_) => Some(IntEncoding::UNSIGNED),
            _ => None,
        })
    }

    /// Whether a type resolves to this kind.
    #[must_use]
    pub fn resolves_to(&self, id: TypeId, kind: Kind) -> bool {
        self.resolve(id).is_ok_and(|(_, t)| t.kind() == kind)
    }
}
