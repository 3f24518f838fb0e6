//! One record of a perf buffer or ring buffer, and how it becomes a value.

use std::ops::Deref;
use std::sync::Arc;

use bpf_vm_shim::btf::{Btf, Kind, Type, TypeId};
use bpf_vm_shim::isa::{Insn, pseudo};
use bpf_vm_shim::object::MapType;
use serde::de::DeserializeOwned;

use super::Bpf;
use crate::error::Error;
use crate::value::{Value, decode};

/// A record as a program has sent it. It is its bytes, and can be decoded through BTF.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    data: &'a [u8],
    /// The length that it came with.
    came: u64,
    types: &'a RecordTypes,
}

/// How the records of a map are decoded.
#[derive(Clone, Debug)]
pub(super) struct RecordTypes {
    pub(super) map: String,
    /// The type that was chosen, or that the map names.
    pub(super) chosen: Option<(Btf, TypeId)>,
    /// Structures that programs may send.
    structs: Arc<[Candidate]>,
    /// They are all that is sent to the map, and not only all that might be.
    certain: bool,
    /// Records come with more bytes than the program has sent.
    padded: bool,
}

/// A structure that a record may be.
#[derive(Clone, Debug)]
struct Candidate {
    btf: Btf,
    ty: TypeId,
    size: u64,
}

impl<'a> Record<'a> {
    pub(super) fn new(data: &'a [u8], types: &'a RecordTypes) -> Self {
        Self { data: types.sent(data), came: data.len() as u64, types }
    }

    /// Its bytes, as the program has sent them.
    ///
    /// The kernel tells the length of what came through a perf event array in words: up to 7 bytes of anything follow. They
    /// are cut off where the record's type is known (it was named when the buffer was opened, or is the only one that it
    /// can be) and has no array without a length at its end; else they are there, on a kernel only. Ring buffers know their
    /// records' lengths.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Its size in bytes; see [`Record::data`].
    #[must_use]
    pub fn size(&self) -> usize {
        self.data.len()
    }

    /// The record as a value: of the type that was named when the buffer was opened, else of the only structure of the
    /// object that has its size.
    ///
    /// # Errors
    /// If no structure, or more than one, has its size; if it does not fit.
    pub fn value(&self) -> Result<Value, Error> {
        let (btf, ty) = self.types.type_of(self.came)?;
        let what = || format!("a record of map '{}'", self.types.map);
        let size = btf.size_of(ty).map_or(0, |s| usize::try_from(s).unwrap_or(0));
        let decoded = if self.data.len() < size && self.types.certain {
            // The program has sent the beginning only: what has a length of its own stands at the end.
            let mut whole = self.data.to_vec();
            whole.resize(size, 0);
            decode(btf, ty, &whole)
        } else {
            decode(btf, ty, self.data)
        };
        decoded.map_err(|source| Error::value(what(), source))
    }

    /// The record as a value of the caller's (bcc's `b["events"].event(data)`): members go by their names. Characters
    /// fit `String`, byte arrays fit `Vec<u8>`, enumerators fit `String` and enumerations.
    ///
    /// # Errors
    /// As [`Record::value`], and if it does not fit the caller's type.
    pub fn event<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let value = self.value()?;
        value.to().map_err(|source| Error::value(format!("a record of map '{}'", self.types.map), source))
    }
}

impl Deref for Record<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.data
    }
}

/// The length that a perf ring gives a record: with the four bytes in front of it that say so it fills words
/// (`perf_sample_save_raw_data` in `include/linux/perf_event.h`).
const fn padded(sent: u64) -> u64 {
    (sent + 4).next_multiple_of(8) - 4
}

impl RecordTypes {
    /// What was sent of what has come. What it was padded with is whatever the ring had in it before.
    pub(super) fn sent<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        let len = data.len() as u64;
        if !self.padded {
            return data;
        }
        let size = self.type_of(len).ok().filter(|(btf, ty)| !is_open_ended(btf, *ty));
        let size = size.and_then(|(btf, ty)| btf.size_of(ty).ok()).filter(|size| padded(*size) == len);
        let cut = size.and_then(|size| data.get(..usize::try_from(size).ok()?));
        cut.unwrap_or(data)
    }

    fn type_of(&self, size: u64) -> Result<(&Btf, TypeId), Error> {
        if let Some((btf, ty)) = &self.chosen {
            return Ok((btf, *ty));
        }
        let comes_as = |sent: u64| if self.padded { padded(sent) } else { sent };
        let of = |wanted: &dyn Fn(u64) -> bool| -> Vec<&Candidate> {
            self.structs.iter().filter(|c| wanted(c.size)).collect()
        };
        let fits = of(&|n| comes_as(n) == size);
        let fits = if fits.is_empty() && self.certain { of(&|_| true) } else { fits };
        let rounded = if self.padded { " (a kernel rounds them up to words)" } else { "" };
        match fits.as_slice() {
            [one] => Ok((&one.btf, one.ty)),
            [] => Err(Error::Invalid(format!(
                "a record of map '{}' has {size} bytes{rounded}, and no structure of the object has; name its type with \
                 `record_type()`, and see that the object has it in its BTF",
                self.map
            ))),
            many => {
                let names: Vec<_> = many.iter().map(|c| c.btf.type_name(c.ty)).collect();
                Err(Error::Invalid(format!(
                    "a record of map '{}' with {size} bytes{rounded} may be one of {}: name its type with `record_type()`",
                    self.map,
                    names.join(", ")
                )))
            }
        }
    }
}

impl Bpf {
    /// Takes the records of a ring buffer or perf event array as values of the caller's, oldest first: for those who need
    /// no callback. See [`Record::event`] for what fits what.
    ///
    /// ```
    /// # let object = bpf_fixtures::object("hostapi").unwrap();
    /// #[derive(serde::Deserialize, PartialEq, Debug)]
    /// struct Event { pid: u32, n: u32 }
    ///
    /// let mut bpf = bpf_harness::Bpf::load(object)?;
    /// bpf.attach_kprobe("vfs_read", "send")?;
    /// bpf.keep_records("events")?;
    /// bpf.kprobe("vfs_read").arg(7).fire()?;
    /// assert_eq!(bpf.events::<Event>("events")?, [Event { pid: 1000, n: 7 }]);
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Bpf::take_records`] and [`Record::event`].
    pub fn events<T: DeserializeOwned>(&mut self, map: &str) -> Result<Vec<T>, Error> {
        let records = self.take_as_they_came(map)?;
        let types = self.record_types(map, None)?;
        records.iter().map(|data| Record::new(data, &types).event()).collect()
    }

    /// How a map's records are decoded: by a type's name, by the map's own value type, or by size.
    pub(super) fn record_types(&self, map: &str, type_name: Option<&str>) -> Result<RecordTypes, Error> {
        let named = type_name.map(|name| self.find_type(name)).transpose()?;
        let own = || {
            let id = self.machine.map_by_name(map)?;
            let map = self.machine.kernel.maps.get(id)?;
            let (btf, ty) = (map.btf.clone()?, map.def.value_type?);
            let is_struct = matches!(btf.resolve(ty).ok()?.1, Type::Struct(_));
            is_struct.then_some((btf, ty))
        };
        let chosen = named.or_else(own);
        let is_perf = |id| {
            let map = self.machine.kernel.maps.get(id);
            map.is_some_and(|m| m.def.map_type == MapType::PerfEventArray)
        };
        let padded = self.kernel.is_some() && self.machine.map_by_name(map).is_some_and(is_perf);
        let sent = self.sent_structs(map);
        let certain = !sent.is_empty();
        let structs = if certain { sent } else { self.possible_structs() };
        Ok(RecordTypes { map: map.to_owned(), chosen, structs: structs.into(), certain, padded })
    }

    /// The structures that programs of bcc texts send to a map, by the variables of the forced header's `__BCC_RECORD`.
    fn sent_structs(&self, map: &str) -> Vec<Candidate> {
        let mut found: Vec<(bool, Candidate)> = Vec::new();
        for object in self.objects.iter().map(|o| &o.object) {
            let Some(btf) = &object.btf else { continue };
            let index = object.maps.iter().position(|m| m.name == map);
            let users: Vec<&str> = self
                .machine
                .kernel
                .progs
                .iter()
                .filter(|p| {
                    p.object.name == object.name && index.is_some_and(|i| mentions(&p.linked.insns, i))
                })
                .map(|p| p.linked.name.as_str())
                .collect();
            for (_, ty) in btf.iter_own() {
                let Some((function, ty)) = sent_type(btf, &ty) else { continue };
                let Ok(size) = btf.size_of(ty) else { continue };
                let candidate = Candidate { btf: btf.clone(), ty, size };
                if !found.iter().any(|(_, c)| c.ty == ty) {
                    found.push((users.contains(&function), candidate));
                } else if users.contains(&function)
                    && let Some(known) = found.iter_mut().find(|(_, c)| c.ty == ty)
                {
                    known.0 = true;
                }
            }
        }
        // Functions that are inlined everywhere send too, and are no programs: then all may be meant.
        let by_users = found.iter().any(|(used, _)| *used);
        found.into_iter().filter(|(used, _)| *used || !by_users).map(|(_, c)| c).collect()
    }

    /// Structures of the objects that may be records: those that are named, are none of the kernel's and no map's key or
    /// value.
    fn possible_structs(&self) -> Vec<Candidate> {
        let kernel = self.machine.kernel.profile.btf.as_ref();
        let maps = self.machine.kernel.maps.iter();
        let used: Vec<_> = maps.flat_map(|(_, m)| [m.def.key_type, m.def.value_type]).flatten().collect();
        let mut found = Vec::new();
        for btf in self.objects.iter().filter_map(|o| o.object.btf.as_ref()) {
            for (ty, s) in btf.iter_own() {
                let Type::Struct(s) = s else { continue };
                let theirs = || kernel.is_some_and(|k| k.find(Kind::Struct, s.name).is_some());
                if !s.name.is_empty() && s.size > 0 && !used.contains(&ty) && !theirs() {
                    found.push(Candidate { btf: btf.clone(), ty, size: s.size.into() });
                }
            }
        }
        found
    }
}

/// Whether a structure ends with an array that has no length, so that its records have any.
fn is_open_ended(btf: &Btf, ty: TypeId) -> bool {
    let Ok((_, Type::Struct(s))) = btf.resolve(ty) else { return false };
    let last = s.members().last().and_then(|m| btf.resolve(m.type_id).ok());
    matches!(last, Some((_, Type::Array(a))) if a.len == 0)
}

/// Whether linked instructions take a map's address.
fn mentions(insns: &[Insn], map: usize) -> bool {
    let is_map = |i: &Insn| matches!(i.src, pseudo::MAP_IDX | pseudo::MAP_IDX_VALUE);
    insns.iter().any(|i| i.is_ld_imm64() && is_map(i) && usize::try_from(i.imm) == Ok(map))
}

/// The function that a variable of the forced header's `__BCC_RECORD` is in, and the structure that it points to.
fn sent_type<'a>(btf: &'a Btf, ty: &Type<'a>) -> Option<(&'a str, TypeId)> {
    let Type::Var { name, target, .. } = ty else { return None };
    // `function.__bcc_record.1` where a function sends more than one.
    let (function, _) =
        name.split_once(".__bcc_record").or_else(|| Some(("", name.strip_prefix("__bcc_record")?)))?;
    let Type::Ptr(target) = btf.resolve(*target).ok()?.1 else { return None };
    let (id, target) = btf.resolve(target).ok()?;
    matches!(target, Type::Struct(_)).then_some((function, id))
}

#[cfg(test)]
mod tests {
    use super::{RecordTypes, padded};
    use crate::bpf::Record;
    use crate::{Bpf, Tier};

    /// The types of the fixture's map as a kernel's records need them, or as a simulated machine's do.
    fn types(named: Option<&str>, padded: bool) -> RecordTypes {
        let object = bpf_fixtures::object("perf_sizes").unwrap();
        let bpf = Bpf::builder().object(object).tier(Tier::Simulator).load().unwrap();
        RecordTypes { padded, ..bpf.record_types("events", named).unwrap() }
    }

    #[test]
    fn a_ring_rounds_lengths_so_that_records_fill_words() {
        let table = [(1, 4), (4, 4), (5, 12), (8, 12), (12, 12), (13, 20), (16, 20), (20, 20)];
        assert_eq!(table.map(|(sent, _)| (sent, padded(sent))), table);
    }

    #[test]
    fn structures_that_a_ring_cannot_tell_apart_have_to_be_named() {
        let bytes = [1u8, 0, 0, 0, 2, 0, 0, 0, 0xaa, 0xbb, 0xcc, 0xdd];
        let any = types(None, true);
        let error = Record::new(&bytes, &any).value().unwrap_err().to_string();
        assert!(error.contains("struct small, struct large") && error.contains("record_type()"), "{error}");
        // The machine says how long a record is: no rounding, no doubt.
        let exact = types(None, false);
        for (len, is_large) in [(8, false), (12, true)] {
            let value = Record::new(&bytes[..len], &exact).value().unwrap();
            assert_eq!(value.get("c").is_some(), is_large, "{len}");
        }
        let named = types(Some("small"), true);
        let record = Record::new(&bytes, &named);
        assert_eq!((record.data(), record.size()), (&bytes[..8], 8));
        assert_eq!(record.value().unwrap().get("b"), Some(&2u64.into()));
    }

    #[test]
    fn padding_is_cut_off_where_the_type_is_known() {
        let bytes = [7u8; 20];
        let types = types(None, true);
        let record = Record::new(&bytes, &types);
        assert_eq!((record.size(), record.value().is_ok()), (16, true));
        // Nothing of the kind is in the object.
        assert_eq!(Record::new(&[7; 28], &types).size(), 28);
    }
}
