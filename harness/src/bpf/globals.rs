//! Global variables by name, before and after loading.

use bpf_helpers_mock::maps::MapId;
use bpf_vm_shim::object::{GlobalVar, Object};

use super::{Loaded, Maps};
use crate::error::Error;
use crate::value::{Value, encode_into};

/// Finds a global variable.
pub(super) fn find<'a>(object: &'a Object, name: &str) -> Result<&'a GlobalVar, Error> {
    let names = || object.globals.iter().map(|g| g.name.as_str());
    object.global(name).ok_or_else(|| Error::not_found("global variable", name, names()))
}

/// Writes a value over a variable's bytes.
pub(super) fn encode(object: &Object, var: &GlobalVar, value: &Value, bytes: &mut [u8]) -> Result<(), Error> {
    let what = || format!("global variable '{}'", var.name);
    match (&object.btf, var.type_id) {
        (Some(btf), Some(ty)) => {
            encode_into(btf, ty, value, bytes).map_err(|source| Error::value(what(), source))
        }
        _ => {
            let raw = value.as_bytes().or_else(|| value.as_u64().map(|v| v.to_le_bytes().to_vec()));
            let wrong = || Error::Invalid(format!("{} has no type: give its {} bytes", what(), bytes.len()));
            let raw = raw.ok_or_else(wrong)?;
            bytes.fill(0);
            bytes.iter_mut().zip(raw).for_each(|(dst, src)| *dst = src);
            Ok(())
        }
    }
}

/// Sets a variable's initial value in an object that is not loaded yet.
pub(super) fn set_initial(object: &mut Object, name: &str, value: &Value) -> Result<(), Error> {
    let var = find(object, name)?.clone();
    let missing = || Error::Invalid(format!("global variable '{name}' is in no map"));
    let data = object.maps.get(var.map).and_then(|m| m.data.as_ref()).ok_or_else(missing)?;
    let mut bytes = data.read(var.offset, var.size).ok_or_else(missing)?;
    encode(object, &var, value, &mut bytes)?;
    let data = object.maps.get_mut(var.map).and_then(|m| m.data.as_mut()).ok_or_else(missing)?;
    data.write(var.offset, &bytes).ok_or_else(missing)
}

/// A variable's bytes in the machine.
pub(super) fn read(loaded: &Loaded, maps: &mut Maps<'_>, var: &GlobalVar) -> Result<Vec<u8>, Error> {
    if let Some((id, at)) = in_arena(loaded, maps, var) {
        let mut bytes = vec![0; var.size as usize];
        maps.machine.arena_read(id, at, &mut bytes)?;
        return Ok(bytes);
    }
    let (_, value) = section(loaded, maps, var)?;
    let (from, to) = (var.offset as usize, var.offset as usize + var.size as usize);
    value.get(from..to).map(<[u8]>::to_vec).ok_or_else(|| lost(var))
}

/// Changes a variable's bytes in the machine.
pub(super) fn write(
    loaded: &Loaded,
    maps: &mut Maps<'_>,
    var: &GlobalVar,
    bytes: &[u8],
) -> Result<(), Error> {
    if let Some((id, at)) = in_arena(loaded, maps, var) {
        return Ok(maps.machine.arena_write(id, at, bytes)?);
    }
    let (id, mut value) = section(loaded, maps, var)?;
    let (from, to) = (var.offset as usize, var.offset as usize + var.size as usize);
    value.get_mut(from..to).ok_or_else(|| lost(var))?.copy_from_slice(bytes);
    Ok(maps.update(id, &[0; 4], &value, 0)?)
}

/// Where an `__arena` variable is in its arena.
fn in_arena(loaded: &Loaded, maps: &Maps<'_>, var: &GlobalVar) -> Option<(MapId, u64)> {
    let id = *loaded.maps.get(var.map)?;
    Some((id, maps.machine.arena_data_offset(id)? + u64::from(var.offset)))
}

/// The map of a variable's section and its whole value.
fn section(loaded: &Loaded, maps: &mut Maps<'_>, var: &GlobalVar) -> Result<(MapId, Vec<u8>), Error> {
    let id = *loaded.maps.get(var.map).ok_or_else(|| lost(var))?;
    let values = maps.read(id, &[0; 4])?;
    let value = values.and_then(|v| v.into_iter().next()).ok_or_else(|| lost(var))?;
    Ok((id, value))
}

fn lost(var: &GlobalVar) -> Error {
    Error::Invalid(format!("global variable '{}' is in no map", var.name))
}
