//! The number that a path amounts to.

use super::super::{BtfError, Member, Type, TypeId};
use super::spec::Spec;
use super::{CoreError, CoreReloKind as Kind};

/// What one side of a relocation amounts to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) value: u64,
    /// Whether compilers are sure to agree on it.
    pub(super) certain: bool,
    /// Size and type of the field, where a load or store depends on them.
    pub(super) field: Option<(u32, TypeId)>,
}

impl Answer {
    const fn certain(value: u64) -> Self {
        Self { value, certain: true, field: None }
    }
}

/// The value for a path; `None` (no match in the target) is `None` where the instruction must be poisoned
/// (libbpf's `bpf_core_calc_field_relo`, `..._type_relo`, `..._enumval_relo`).
pub(super) fn calc(kind: Kind, spec: Option<&Spec<'_>>) -> Result<Option<Answer>, CoreError> {
    let Some(spec) = spec else {
        let exists = matches!(kind, Kind::FieldExists | Kind::EnumvalExists) || kind.is_type();
        return Ok(exists.then_some(Answer::certain(0)));
    };
    Ok(Some(match kind {
        Kind::FieldExists | Kind::EnumvalExists | Kind::TypeExists | Kind::TypeMatches => Answer::certain(1),
        Kind::TypeIdLocal => Answer { value: u64::from(spec.root.0), certain: false, field: None },
        // Linkers renumber types without touching the instruction.
        Kind::TypeIdTarget => Answer { value: u64::from(spec.root.0), certain: false, field: None },
        Kind::TypeSize => Answer::certain(spec.btf.size_of(spec.root)?),
        Kind::EnumvalValue => Answer::certain(enumerator(spec)?),
        _ => field(kind, spec)?,
    }))
}

fn enumerator(spec: &Spec<'_>) -> Result<u64, CoreError> {
    let value = spec.accessors.first().and_then(|acc| {
        let ty = spec.btf.get(acc.type_id).ok()?;
        let v = ty.as_enum()?.value(acc.idx as usize)?.value;
        // A 32-bit value is sign-extended, whatever the enumeration's own sign.
        Some(match ty {
            Type::Enum(_) => i64::from(v as i32).cast_unsigned(),
            _ => v as u64,
        })
    });
    value.ok_or_else(|| unsupported(spec, "no enumerator"))
}

fn unsupported(spec: &Spec<'_>, why: &str) -> CoreError {
    CoreError::Unsupported { spec: spec.describe(), why: why.to_owned() }
}

fn size32(spec: &Spec<'_>, id: TypeId) -> Result<u32, CoreError> {
    let size = spec.btf.size_of(id)?;
    u32::try_from(size).map_err(|_| BtfError::SizeOverflow { id }.into())
}

fn field(kind: Kind, spec: &Spec<'_>) -> Result<Answer, CoreError> {
    let acc = spec.accessors.last().ok_or_else(|| unsupported(spec, "empty path"))?;
    if acc.name.is_none() {
        let size = size32(spec, acc.type_id)?;
        return match kind {
            Kind::FieldByteOffset => Ok(Answer {
                value: u64::from(spec.bit_offset / 8),
                certain: true,
                field: Some((size, acc.type_id)),
            }),
            Kind::FieldByteSize => Ok(Answer::certain(u64::from(size))),
            _ => Err(unsupported(spec, "not possible for an array element")),
        };
    }
    let composite = spec.btf.get(acc.type_id)?.as_composite();
    let member = composite.and_then(|c| c.member(acc.idx as usize));
    let member = member.ok_or_else(|| unsupported(spec, "no such member"))?;
    member_value(kind, spec, member)
}

fn member_value(kind: Kind, spec: &Spec<'_>, member: Member<'_>) -> Result<Answer, CoreError> {
    let (id, ty) = spec.btf.resolve(member.type_id)?;
    let mut size = size32(spec, id)?;
    let bit_off = spec.bit_offset;
    let is_bitfield = member.bitfield_size != 0;
    let (byte_off, bits) = if is_bitfield {
        let bits = u32::from(member.bitfield_size);
        (bitfield_load(spec, bit_off, bits, &mut size)?, bits)
    } else {
        (bit_off / 8, size.wrapping_mul(8))
    };
    let value = match kind {
        Kind::FieldByteOffset => byte_off,
        Kind::FieldByteSize => size,
        Kind::FieldSigned => u32::from(match ty {
            Type::Enum(e) | Type::Enum64(e) => e.signed,
            Type::Int(i) => i.encoding.is_signed(),
            _ => false,
        }),
        Kind::FieldLshiftU64 => {
            let end = bit_off.wrapping_add(bits).wrapping_sub(byte_off.wrapping_mul(8));
            64_u32.wrapping_sub(end)
        }
        Kind::FieldRshiftU64 => 64_u32.wrapping_sub(bits),
        _ => return Err(unsupported(spec, "unknown kind")),
    };
    Ok(Answer {
        value: u64::from(value),
        // How a bit-field is loaded is the compiler's choice; its sign and width are not.
        certain: !is_bitfield || matches!(kind, Kind::FieldSigned | Kind::FieldRshiftU64),
        field: (kind == Kind::FieldByteOffset && !is_bitfield).then_some((size, id)),
    })
}

/// The smallest aligned load that covers a bit-field: its offset, and its size in place of the type's.
fn bitfield_load(spec: &Spec<'_>, bit_off: u32, bits: u32, size: &mut u32) -> Result<u32, CoreError> {
    loop {
        let at = (bit_off / 8).checked_div(*size).and_then(|n| n.checked_mul(*size));
        let at = at.ok_or_else(|| unsupported(spec, "a bit-field of a type without size"))?;
        let end = u64::from(bit_off) + u64::from(bits) - u64::from(at) * 8;
        if end <= u64::from(*size) * 8 {
            return Ok(at);
        }
        if *size >= 8 {
            return Err(unsupported(spec, "no load of 64 bits covers the bit-field"));
        }
        *size *= 2;
    }
}
