//! Bytes to values, through BTF.

use bpf_vm_shim::btf::{Btf, BtfError, Composite, Enum, Int, Member, Type, TypeId};

use super::kernel_struct::{is_kptr, is_opaque};
use super::text::escape;
use super::{Value, ValueError};

/// Structures and arrays inside each other that are followed.
pub(super) const MAX_DEPTH: u32 = 64;
/// Largest value that is taken apart.
pub(super) const MAX_SIZE: u64 = 64 << 20;

/// Reads the bytes of one value of a type. Bytes beyond the type's size are ignored, but for a flexible array at the
/// end of a structure, which takes them.
///
/// # Errors
/// If there are too few bytes, or the type has no size or is broken.
pub fn decode(btf: &Btf, ty: TypeId, bytes: &[u8]) -> Result<Value, ValueError> {
    Decoder { btf, path: String::new(), whole: bytes.len() }.value(ty, bytes, 0)
}

struct Decoder<'a> {
    btf: &'a Btf,
    path: String,
    whole: usize,
}

impl Decoder<'_> {
    fn path(&self) -> String {
        if self.path.is_empty() { "value".to_owned() } else { self.path.clone() }
    }

    fn btf_error(&self, source: BtfError) -> ValueError {
        ValueError::Btf { path: self.path(), source }
    }

    fn value(&mut self, id: TypeId, bytes: &[u8], depth: u32) -> Result<Value, ValueError> {
        if depth > MAX_DEPTH {
            return Err(ValueError::TooDeep { path: self.path(), limit: MAX_DEPTH });
        }
        let (resolved, ty) = self.btf.resolve(id).map_err(|e| self.btf_error(e))?;
        if matches!(ty, Type::Void) {
            return Ok(Value::Null);
        }
        let size = self.btf.size_of(resolved).map_err(|e| self.btf_error(e))?;
        if size > MAX_SIZE {
            let (path, ty) = (self.path(), self.btf.type_name(id));
            return Err(ValueError::TooLarge { path, ty, size, limit: MAX_SIZE });
        }
        let Some(own) = bytes.get(..size as usize) else {
            let (path, ty) = (self.path(), self.btf.type_name(id));
            return Err(ValueError::TooShort { path, ty, need: size, have: bytes.len() as u64 });
        };
        match ty {
            Type::Int(int) => Ok(integer(&int, own)),
            Type::Enum(e) | Type::Enum64(e) => Ok(enumerator(&e, little(own), size as u32 * 8)),
            Type::Float { size: 4, .. } => Ok(Value::Float(f32::from_bits(little(own) as u32).into())),
            Type::Float { size: 8, .. } => Ok(Value::Float(f64::from_bits(little(own) as u64))),
            Type::Ptr(target) => Ok(pointer(self.btf, id, target, little(own) as u64)),
            Type::Array(a) => self.array(a.element, a.len, own, depth),
            Type::Struct(c) | Type::Union(c) if is_opaque(c.name) => Ok(Value::Opaque(c.name.to_owned())),
            Type::Struct(c) | Type::Union(c) => {
                let mut members = Vec::with_capacity(c.len());
                // A flexible array at the end may have bytes beyond the structure's own.
                let with_tail = if depth == 0 { bytes } else { own };
                self.members(&c, own, with_tail, depth, &mut members)?;
                Ok(Value::Struct(members))
            }
            Type::Var { target, .. } => self.value(target, bytes, depth + 1),
            _ => Ok(Value::Bytes(own.to_vec())),
        }
    }

    fn array(&mut self, element: TypeId, len: u32, bytes: &[u8], depth: u32) -> Result<Value, ValueError> {
        if let Ok((_, Type::Int(int))) = self.btf.resolve(element)
            && int.size == 1
            && !int.encoding.is_bool()
        {
            return Ok(if is_character(&int) {
                Value::Text(escape(bytes))
            } else {
                Value::Bytes(bytes.to_vec())
            });
        }
        let size = self.btf.size_of(element).map_err(|e| self.btf_error(e))? as usize;
        let mut out = Vec::new();
        for i in 0..len as usize {
            let part = bytes.get(i * size..).unwrap_or_default();
            let outer = self.path.len();
            self.path.push_str(&format!("[{i}]"));
            out.push(self.value(element, part, depth + 1)?);
            self.path.truncate(outer);
            if size == 0 {
                break;
            }
        }
        Ok(Value::List(out))
    }

    fn members(
        &mut self,
        c: &Composite<'_>,
        bytes: &[u8],
        with_tail: &[u8],
        depth: u32,
        out: &mut Vec<(String, Value)>,
    ) -> Result<(), ValueError> {
        if depth > MAX_DEPTH {
            return Err(ValueError::TooDeep { path: self.path(), limit: MAX_DEPTH });
        }
        for m in c.members() {
            let at = (m.bit_offset / 8) as usize;
            let part = bytes.get(at..).unwrap_or_default();
            if m.name.is_empty()
                && let Ok((_, Type::Struct(inner) | Type::Union(inner))) = self.btf.resolve(m.type_id)
            {
                self.members(&inner, part, part, depth + 1, out)?;
                continue;
            }
            let outer = self.path.len();
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(m.name);
            let value = match self.btf.resolve(m.type_id) {
                Ok((_, Type::Array(a))) if a.len == 0 => {
                    self.flexible(a.element, with_tail.get(at..).unwrap_or_default(), depth)?
                }
                _ if m.bitfield_size != 0 => self.bitfield(&m, bytes)?,
                _ => self.value(m.type_id, part, depth + 1)?,
            };
            self.path.truncate(outer);
            out.push((m.name.to_owned(), value));
        }
        Ok(())
    }

    /// As many elements as there are bytes for.
    fn flexible(&mut self, element: TypeId, bytes: &[u8], depth: u32) -> Result<Value, ValueError> {
        let size = self.btf.size_of(element).map_err(|e| self.btf_error(e))?.max(1);
        let len = (bytes.len() as u64 / size).min(self.whole as u64);
        let used = bytes.get(..(len * size) as usize).unwrap_or_default();
        self.array(element, len as u32, used, depth)
    }

    fn bitfield(&self, m: &Member<'_>, bytes: &[u8]) -> Result<Value, ValueError> {
        let range = self.btf.bit_range(m).map_err(|e| self.btf_error(e))?;
        let Some(raw) = range.extract(bytes) else {
            let ty = self.btf.c_decl(m.type_id, m.name);
            let need = u64::from(range.byte_offset + range.byte_len);
            return Err(ValueError::TooShort { path: self.path(), ty, need, have: bytes.len() as u64 });
        };
        let (_, ty) = self.btf.resolve(m.type_id).map_err(|e| self.btf_error(e))?;
        Ok(match ty {
            Type::Int(int) if int.encoding.is_bool() => boolean(raw),
            Type::Int(int) if int.encoding.is_signed() => {
                Value::Int(range.extract_signed(bytes).unwrap_or(0) as i64)
            }
            Type::Enum(e) | Type::Enum64(e) => enumerator(&e, raw, range.bits),
            _ => Value::Uint(raw as u64),
        })
    }
}

/// Up to 16 bytes as a little-endian number.
fn little(bytes: &[u8]) -> u128 {
    bytes.iter().take(16).rev().fold(0, |v, b| v << 8 | u128::from(*b))
}

fn boolean(raw: u128) -> Value {
    match raw {
        0 => Value::Bool(false),
        1 => Value::Bool(true),
        other => Value::Uint(other as u64),
    }
}

fn integer(int: &Int<'_>, bytes: &[u8]) -> Value {
    let raw = little(bytes);
    let bits = u32::from(int.bits);
    let raw = if bits == 0 || bits >= 128 { raw } else { raw >> int.offset.min(127) & ((1 << bits) - 1) };
    match bytes.len() {
        _ if int.encoding.is_bool() => boolean(raw),
        0..=8 if int.encoding.is_signed() => Value::Int(sign_extend(raw, bits.clamp(1, 64))),
        0..=8 => Value::Uint(raw as u64),
        _ => Value::Wide(raw),
    }
}

fn sign_extend(raw: u128, bits: u32) -> i64 {
    let unused = 64 - bits.min(64);
    (raw as u64).cast_signed().checked_shl(unused).unwrap_or(0) >> unused.min(63)
}

fn enumerator(e: &Enum<'_>, raw: u128, bits: u32) -> Value {
    let mask = if bits >= 128 { u128::MAX } else { (1 << bits) - 1 };
    // By bits, because compilers before clang 15 call every enumeration unsigned.
    let found = e.values().find(|v| v.value.cast_unsigned() & mask == raw & mask);
    match found {
        Some(v) => Value::Enum(v.name.to_owned()),
        None if e.signed => Value::Int(sign_extend(raw, bits.clamp(1, 64))),
        None => Value::Uint(raw as u64),
    }
}

fn pointer(btf: &Btf, id: TypeId, target: TypeId, addr: u64) -> Value {
    match (is_kptr(btf, target), addr) {
        (false, _) => Value::Pointer(addr),
        (true, 0) => Value::Null,
        (true, _) => {
            let target = btf.resolve(target).map_or(target, |(t, _)| t);
            let name = btf.type_name(target);
            Value::Opaque(if name.is_empty() { btf.type_name(id) } else { format!("kptr {name}") })
        }
    }
}

/// Whether arrays of this type hold text: `char`, not `unsigned char`.
pub(super) fn is_character(int: &Int<'_>) -> bool {
    int.name == "char" || int.encoding.is_char()
}
