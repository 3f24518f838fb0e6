//! Maps defined in `.maps` and told through BTF (libbpf's `parse_btf_map_def`).
//!
//! A definition is a structure that is never read: `__uint(name, n)` is a pointer to an array of `n`
//! elements, `__ulong(name, n)` an enumerator, `__type(name, t)` a pointer to `t`, `__array(values, t)` an
//! array without elements of pointers to `t`.

use super::elf::Elf;
use super::error::LoadError;
use super::kinds::MapType;
use super::map::{MapDef, MapOrigin, Pinning, adjust_ringbuf_size};
use super::parse::{MapPlace, Notes};
use crate::btf::{Btf, Composite, Kind, Linkage, Member, SecVar, Type, TypeId};

/// The section that holds the definitions.
const SECTION: &str = ".maps";

/// Structures that wrap the definition in one member (Rust's cells) are opened this many times.
const MAX_WRAPPERS: usize = 8;

/// Collects the maps of `.maps`, each with its place.
pub(super) fn collect(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    notes: &mut Notes,
) -> Result<Vec<(MapDef, MapPlace)>, LoadError> {
    let Some((index, section)) = elf.section(SECTION) else { return Ok(Vec::new()) };
    if section.size == 0 {
        return Ok(Vec::new());
    }
    let needed_by = "the maps in section '.maps'";
    let missing =
        |reason: &str| LoadError::NoBtf { needed_by: needed_by.to_owned(), reason: reason.to_owned() };
    let btf =
        btf.ok_or_else(|| missing(notes.btf_error.as_deref().unwrap_or("section '.BTF' is missing")))?;
    let datasec = btf.find(Kind::DataSec, SECTION).and_then(|id| btf.get(id).ok());
    let Some(Type::DataSec(datasec)) = datasec else {
        return Err(missing("it does not describe that section"));
    };

    let mut out = Vec::new();
    for (n, entry) in datasec.vars().enumerate() {
        let Ok(Type::Var { name, target, linkage }) = btf.get(entry.type_id) else {
            return Err(LoadError::map(&format!("#{n}"), "its entry in section '.maps' is no variable"));
        };
        if name.is_empty() {
            return Err(LoadError::map(&format!("#{n}"), "it has no name"));
        }
        let offset = var_offset(elf, index, name, entry, linkage);
        let end = offset.saturating_add(u64::from(entry.size));
        if end > section.size {
            return Err(LoadError::map(name, format!("it ends at {end:#x}, outside section '.maps'")));
        }
        let (_, def) = btf.resolve(target).map_err(|e| LoadError::map(name, e.to_string()))?;
        let Type::Struct(def) = def else {
            return Err(LoadError::map(
                name,
                format!("its definition is of kind {}, not a structure", def.kind()),
            ));
        };
        let mut map = MapDef::new(name, SECTION, MapOrigin::Btf);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut reader = Reader { btf, map: name, data: section.data.get(from..).unwrap_or_default(), notes };
        let values_at = reader.read(unwrap(btf, def), &mut map, false)?;
        let size = u64::from(entry.size);
        out.push((map, MapPlace { section: index, offset, size, values_at }));
    }
    Ok(out)
}

/// Where a variable lies in its section: compilers leave that of globals to the symbol table.
pub(super) fn var_offset(elf: &Elf<'_>, section: usize, name: &str, entry: SecVar, linkage: Linkage) -> u64 {
    if linkage == Linkage::Static {
        return u64::from(entry.offset);
    }
    elf.variable(section, name).unwrap_or(u64::from(entry.offset))
}

/// Opens structures that hold nothing but the definition.
fn unwrap<'a>(btf: &'a Btf, mut def: Composite<'a>) -> Composite<'a> {
    for _ in 0..MAX_WRAPPERS {
        let only = def.members().next().filter(|m| def.len() == 1 && m.name != "type");
        match only.and_then(|m| btf.resolve(m.type_id).ok()) {
            Some((_, Type::Struct(inside))) => def = inside,
            _ => break,
        }
    }
    def
}

struct Reader<'a, 'n> {
    btf: &'a Btf,
    map: &'a str,
    /// The definition's own bytes and what follows.
    data: &'a [u8],
    notes: &'n mut Notes,
}

impl<'a> Reader<'a, '_> {
    fn bad(&self, reason: impl Into<String>) -> LoadError {
        LoadError::map(self.map, reason)
    }

    /// Fills in `map`; gives the offset of the `values` member in bytes.
    fn read(&mut self, def: Composite<'a>, map: &mut MapDef, inner: bool) -> Result<Option<u64>, LoadError> {
        let mut values_at = None;
        for m in def.members() {
            match m.name {
                "type" => map.map_type = MapType::from_number(self.uint(m)?),
                "max_entries" => map.max_entries = self.uint(m)?,
                "map_flags" => map.map_flags = self.uint(m)?,
                "numa_node" => map.numa_node = Some(self.uint(m)?),
                "map_extra" => map.map_extra = self.ulong(m)?,
                "key_size" => {
                    let size = self.uint(m)?;
                    self.set_size("key", &mut map.key_size, size)?;
                }
                "value_size" => {
                    let size = self.uint(m)?;
                    self.set_size("value", &mut map.value_size, size)?;
                }
                "key" => {
                    let (id, size) = self.typed(m)?;
                    self.set_size("key", &mut map.key_size, size)?;
                    map.key_type = Some(id);
                }
                "value" => {
                    let (id, size) = self.typed(m)?;
                    self.set_size("value", &mut map.value_size, size)?;
                    map.value_type = Some(id);
                }
                "pinning" => {
                    map.pinning = match self.uint(m)? {
                        0 => Pinning::None,
                        1 => Pinning::ByName,
                        n => Pinning::Other(n),
                    };
                    if map.pinning != Pinning::None {
                        self.notes.push(format!(
                            "map '{}': pinning is ignored, the map is the object's own",
                            self.map
                        ));
                    }
                }
                "values" if inner => return Err(self.bad("maps inside maps inside maps do not exist")),
                "values" => {
                    self.read_values(m, map)?;
                    values_at = Some(u64::from(m.bit_offset / 8));
                }
                other => {
                    self.notes.push(format!("map '{}': unknown attribute '{other}' is ignored", self.map));
                }
            }
        }
        if map.map_type == MapType::Unspec {
            return Err(self.bad("its definition says no type"));
        }
        if map.map_type.is_ringbuf() {
            map.max_entries = adjust_ringbuf_size(map.max_entries);
        }
        Ok(values_at)
    }

    fn read_values(&mut self, m: Member<'a>, map: &mut MapDef) -> Result<(), LoadError> {
        if !map.map_type.is_map_in_map() && map.map_type != MapType::ProgArray {
            return Err(self.bad(format!(
                "'values' of a map of type {}, which holds neither maps nor programs",
                map.map_type
            )));
        }
        self.set_size("value", &mut map.value_size, 4)?;
        let element = match self.resolve(m.type_id)? {
            Type::Array(a) if a.len == 0 => a.element,
            other => {
                return Err(
                    self.bad(format!("'values' is of kind {}, not an array without elements", other.kind()))
                );
            }
        };
        let target = match self.resolve(element)? {
            Type::Ptr(target) => target,
            other => return Err(self.bad(format!("'values' holds kind {}, not pointers", other.kind()))),
        };
        match self.resolve(target)? {
            Type::FuncProto(_) if map.map_type == MapType::ProgArray => Ok(()),
            Type::Struct(def) if map.map_type.is_map_in_map() => {
                let mut inside = MapDef::new(format!("{}.inner", map.name), SECTION, MapOrigin::Btf);
                self.read(unwrap(self.btf, def), &mut inside, true)?;
                map.inner = Some(Box::new(inside));
                Ok(())
            }
            other => Err(self.bad(format!("'values' points to kind {}", other.kind()))),
        }
    }

    fn resolve(&self, id: TypeId) -> Result<Type<'a>, LoadError> {
        self.btf.resolve(id).map(|(_, t)| t).map_err(|e| self.bad(e.to_string()))
    }

    fn set_size(&self, what: &str, field: &mut u32, size: u32) -> Result<(), LoadError> {
        if *field != 0 && *field != size {
            return Err(self.bad(format!("two {what} sizes, {field} and {size}")));
        }
        *field = size;
        Ok(())
    }

    fn uint(&self, m: Member<'a>) -> Result<u32, LoadError> {
        let target = match self.resolve(m.type_id)? {
            Type::Ptr(target) => target,
            // The first form of such definitions, which libbpf dropped before 0.1: plain numbers.
            Type::Int(int) if int.size == 4 => {
                let value = self.data.get((m.bit_offset / 8) as usize..).and_then(|d| d.first_chunk::<4>());
                let outside = || self.bad(format!("attribute '{}' is outside its section", m.name));
                return value.map(|v| u32::from_le_bytes(*v)).ok_or_else(outside);
            }
            _ => return Err(self.bad(format!("attribute '{}' is no pointer", m.name))),
        };
        match self.resolve(target)? {
            Type::Array(a) => Ok(a.len),
            other => {
                Err(self.bad(format!("attribute '{}' points to kind {}, not an array", m.name, other.kind())))
            }
        }
    }

    fn ulong(&self, m: Member<'a>) -> Result<u64, LoadError> {
        let Some(values) = self.resolve(m.type_id)?.as_enum() else { return self.uint(m).map(u64::from) };
        match (values.len(), values.value(0)) {
            // The low 64 bits are the value, whatever its sign.
            (1, Some(v)) => Ok(v.value as u64),
            _ => Err(self.bad(format!("attribute '{}' has {} enumerators, not one", m.name, values.len()))),
        }
    }

    fn typed(&self, m: Member<'a>) -> Result<(TypeId, u32), LoadError> {
        let Type::Ptr(target) = self.resolve(m.type_id)? else {
            return Err(self.bad(format!("attribute '{}' is no pointer", m.name)));
        };
        let size = match self.resolve(target)? {
            Type::Void => 0,
            _ => self.btf.size_of(target).map_err(|e| self.bad(format!("{} type: {e}", m.name)))?,
        };
        let size = u32::try_from(size).map_err(|_| self.bad(format!("{} type of {size} bytes", m.name)))?;
        Ok((target, size))
    }
}
