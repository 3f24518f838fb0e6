//! Values to bytes, through BTF.

use bpf_vm_shim::btf::{Btf, BtfError, Composite, Enum, Member, Type, TypeId};

use super::decode::{MAX_DEPTH, MAX_SIZE};
use super::kernel_struct::is_opaque;
use super::text::{hex_to_bytes, unescape};
use super::{Value, ValueError};

/// Writes a value as a type. Members that the value does not name are zero.
///
/// Numbers fit where their bits fit, signed or not; enumerations take names and numbers; text fits characters, and
/// hexadecimal text byte arrays and pointers; `Bytes` fit anything that is not smaller; opaque members stay zero.
///
/// # Errors
/// If the value does not fit, or the type has no size or is broken.
pub fn encode(btf: &Btf, ty: TypeId, value: &Value) -> Result<Vec<u8>, ValueError> {
    let size = btf.size_of(ty).map_err(|source| ValueError::Btf { path: "value".to_owned(), source })?;
    if size > MAX_SIZE {
        let (path, ty) = ("value".to_owned(), btf.type_name(ty));
        return Err(ValueError::TooLarge { path, ty, size, limit: MAX_SIZE });
    }
    let mut out = vec![0; size as usize];
    encode_into(btf, ty, value, &mut out)?;
    Ok(out)
}

/// As [`encode`], over existing bytes: members that the value does not name stay as they are.
///
/// # Errors
/// As [`encode`], and if there are too few bytes.
pub fn encode_into(btf: &Btf, ty: TypeId, value: &Value, out: &mut [u8]) -> Result<(), ValueError> {
    Encoder { btf, path: String::new() }.value(ty, value, out, 0)
}

struct Encoder<'a> {
    btf: &'a Btf,
    path: String,
}

impl Encoder<'_> {
    fn path(&self) -> String {
        if self.path.is_empty() { "value".to_owned() } else { self.path.clone() }
    }

    fn btf_error(&self, source: BtfError) -> ValueError {
        ValueError::Btf { path: self.path(), source }
    }

    fn mismatch(&self, id: TypeId, value: &Value, hint: &str) -> ValueError {
        let mut text = serde_json::to_string(value).unwrap_or_default();
        if text.chars().count() > 60 {
            text = text.chars().take(57).chain("...".chars()).collect();
        }
        let hint = if hint.is_empty() { String::new() } else { format!(": {hint}") };
        ValueError::Mismatch { path: self.path(), value: text, ty: self.btf.type_name(id), hint }
    }

    fn value(&mut self, id: TypeId, value: &Value, out: &mut [u8], depth: u32) -> Result<(), ValueError> {
        if depth > MAX_DEPTH {
            return Err(ValueError::TooDeep { path: self.path(), limit: MAX_DEPTH });
        }
        let (resolved, ty) = self.btf.resolve(id).map_err(|e| self.btf_error(e))?;
        let size = self.btf.size_of(resolved).map_err(|e| self.btf_error(e))?;
        let have = out.len() as u64;
        let Some(own) = usize::try_from(size).ok().and_then(|s| out.get_mut(..s)) else {
            let (path, ty) = (self.path(), self.btf.type_name(id));
            return Err(ValueError::TooShort { path, ty, need: size, have });
        };
        let bits = (size as u32).saturating_mul(8);
        match (ty, value) {
            (_, Value::Null) => own.fill(0),
            (_, Value::Opaque(_)) => {}
            (Type::Struct(c) | Type::Union(c), _) if is_opaque(c.name) => {}
            (Type::Array(a), Value::Text(text)) => self.text(id, a.element, text, value, own)?,
            (_, Value::Bytes(bytes)) => match own.get_mut(..bytes.len()) {
                Some(dst) => {
                    dst.copy_from_slice(bytes);
                    own.get_mut(bytes.len()..).unwrap_or_default().fill(0);
                }
                None => return Err(self.mismatch(id, value, &format!("it has {size} bytes"))),
            },
            (Type::Int(_) | Type::Ptr(_), v) => match number(v, bits) {
                Some(n) => put(own, n),
                None => return Err(self.mismatch(id, value, "expected a number in its range")),
            },
            (Type::Enum(e) | Type::Enum64(e), v) => match enumerator(&e, v, bits) {
                Some(n) => put(own, n),
                None => return Err(self.mismatch(id, value, &enumerators(&e))),
            },
            (Type::Float { size, .. }, v) => match (size, float(v)) {
                (4, Some(f)) => put(own, (f as f32).to_bits().into()),
                (8, Some(f)) => put(own, f.to_bits().into()),
                _ => return Err(self.mismatch(id, value, "expected a number")),
            },
            (Type::Array(a), Value::List(items) | Value::PerCpu(items)) => {
                let step = self.btf.size_of(a.element).map_err(|e| self.btf_error(e))? as usize;
                if items.len() > a.len as usize {
                    return Err(self.mismatch(id, value, &format!("it has {} elements", a.len)));
                }
                for (i, item) in items.iter().enumerate() {
                    let outer = self.path.len();
                    self.path.push_str(&format!("[{i}]"));
                    self.value(a.element, item, own.get_mut(i * step..).unwrap_or_default(), depth + 1)?;
                    self.path.truncate(outer);
                }
            }
            (Type::Struct(c) | Type::Union(c), Value::Struct(members)) => {
                for (name, v) in members {
                    if !self.member(&c, name, v, own, depth)? {
                        let mut names = Vec::new();
                        self.names(&c, &mut names, 0);
                        return Err(ValueError::NoMember {
                            path: self.path(),
                            ty: self.btf.type_name(id),
                            member: name.clone(),
                            members: names.join(", "),
                        });
                    }
                }
            }
            (Type::Struct(_) | Type::Union(_), _) => {
                return Err(self.mismatch(id, value, "expected a structure"));
            }
            _ => return Err(self.mismatch(id, value, "")),
        }
        Ok(())
    }

    /// Writes a member, looked for in anonymous structures too; `false` if there is none.
    fn member(
        &mut self,
        c: &Composite<'_>,
        name: &str,
        value: &Value,
        out: &mut [u8],
        depth: u32,
    ) -> Result<bool, ValueError> {
        if depth > MAX_DEPTH {
            return Err(ValueError::TooDeep { path: self.path(), limit: MAX_DEPTH });
        }
        for m in c.members() {
            let part = out.get_mut((m.bit_offset / 8) as usize..).unwrap_or_default();
            if m.name.is_empty()
                && let Ok((_, Type::Struct(inner) | Type::Union(inner))) = self.btf.resolve(m.type_id)
            {
                if self.member(&inner, name, value, part, depth + 1)? {
                    return Ok(true);
                }
            } else if m.name == name {
                let outer = self.path.len();
                if !self.path.is_empty() {
                    self.path.push('.');
                }
                self.path.push_str(name);
                if m.bitfield_size != 0 {
                    self.bitfield(&m, value, out)?;
                } else if matches!(self.btf.resolve(m.type_id), Ok((_, Type::Array(a))) if a.len == 0) {
                    // A flexible array has no room of its own.
                } else {
                    self.value(m.type_id, value, part, depth + 1)?;
                }
                self.path.truncate(outer);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn names(&self, c: &Composite<'_>, out: &mut Vec<String>, depth: u32) {
        for m in c.members() {
            match self.btf.resolve(m.type_id) {
                Ok((_, Type::Struct(inner) | Type::Union(inner)))
                    if m.name.is_empty() && depth < MAX_DEPTH && out.len() < 64 =>
                {
                    self.names(&inner, out, depth + 1);
                }
                _ => out.push(m.name.to_owned()),
            }
        }
    }

    fn bitfield(&self, m: &Member<'_>, value: &Value, out: &mut [u8]) -> Result<(), ValueError> {
        let range = self.btf.bit_range(m).map_err(|e| self.btf_error(e))?;
        let (_, ty) = self.btf.resolve(m.type_id).map_err(|e| self.btf_error(e))?;
        let n = match ty {
            Type::Enum(e) | Type::Enum64(e) => enumerator(&e, value, range.bits),
            _ => number(value, range.bits),
        };
        let hint = format!("it has {} bits", range.bits);
        let n = n.ok_or_else(|| self.mismatch(m.type_id, value, &hint))?;
        range.insert(out, n).ok_or_else(|| self.mismatch(m.type_id, value, &hint))
    }

    fn text(
        &self,
        id: TypeId,
        element: TypeId,
        text: &str,
        value: &Value,
        out: &mut [u8],
    ) -> Result<(), ValueError> {
        let (_, ty) = self.btf.resolve(element).map_err(|e| self.btf_error(e))?;
        let bytes = match ty {
            Type::Int(int) if int.size == 1 && super::decode::is_character(&int) => unescape(text),
            Type::Int(int) if int.size == 1 => hex_to_bytes(text).unwrap_or_else(|| unescape(text)),
            _ => return Err(self.mismatch(id, value, "expected a list")),
        };
        let len = out.len();
        let hint = format!("it has room for {len} bytes");
        let dst = out.get_mut(..bytes.len()).ok_or_else(|| self.mismatch(id, value, &hint))?;
        dst.copy_from_slice(&bytes);
        out.get_mut(bytes.len()..).unwrap_or_default().fill(0);
        Ok(())
    }
}

fn put(out: &mut [u8], n: u128) {
    for (dst, src) in out.iter_mut().zip(n.to_le_bytes()) {
        *dst = src;
    }
}

/// A number that fits `bits`, signed or unsigned, as its bits.
fn number(value: &Value, bits: u32) -> Option<u128> {
    let signed = match value {
        Value::Bool(v) => i128::from(*v),
        Value::Int(v) => i128::from(*v),
        Value::Uint(v) | Value::Pointer(v) => i128::from(*v),
        Value::Wide(v) => return (bits >= 128 || *v >> bits == 0).then_some(*v),
        Value::Text(t) => match (t.strip_prefix("0x"), t.as_bytes()) {
            (Some(hex), _) => i128::try_from(u128::from_str_radix(hex, 16).ok()?).ok()?,
            // A character constant.
            (None, [c]) if bits == 8 && !c.is_ascii_digit() => i128::from(*c),
            (None, _) => t.parse().ok()?,
        },
        _ => return None,
    };
    if bits >= 127 {
        return Some(signed.cast_unsigned());
    }
    let fits = signed >= -(1i128 << (bits.max(1) - 1)) && signed < 1i128 << bits;
    fits.then(|| signed.cast_unsigned() & ((1 << bits) - 1))
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(f) => Some(*f),
        Value::Int(v) => Some(*v as f64),
        Value::Uint(v) => Some(*v as f64),
        _ => None,
    }
}

fn enumerator(e: &Enum<'_>, value: &Value, bits: u32) -> Option<u128> {
    if let Value::Enum(name) | Value::Text(name) = value
        && let Some(found) = e.values().find(|v| v.name == name)
    {
        let mask = if bits >= 128 { u128::MAX } else { (1 << bits) - 1 };
        return Some(found.value.cast_unsigned() & mask);
    }
    number(value, bits)
}

fn enumerators(e: &Enum<'_>) -> String {
    let names: Vec<_> = e.values().take(16).map(|v| v.name).collect();
    format!("expected one of {}{}", names.join(", "), if e.len() > 16 { ", ..." } else { "" })
}
