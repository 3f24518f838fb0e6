//! Finding types by name.

use super::{
    Btf, Kind, TypeId,
    core::{essential_len, essential_name},
};

/// Own types sorted by the hash of their essential name, then by id.
///
/// Names are hashed without their flavour (`___x`), so that one index answers both exact look-ups and the
/// search for CO-RE candidates.
pub(super) struct NameIndex(Vec<u64>);

impl NameIndex {
    fn new(btf: &Btf) -> Self {
        let mut entries: Vec<u64> = (btf.inner.first_id..btf.len())
            .filter_map(|id| {
                let (owner, rec) = btf.record(TypeId(id))?;
                let name = owner.string_bytes(rec.name_off).ok().filter(|n| !n.is_empty())?;
                Some(u64::from(hash(name)) << 32 | u64::from(id))
            })
            .collect();
        entries.sort_unstable();
        Self(entries)
    }

    fn ids(&self, name: &str) -> impl Iterator<Item = TypeId> {
        let key = u64::from(hash(name.as_bytes())) << 32;
        let from = self.0.partition_point(|e| *e < key);
        let rest = self.0.get(from..).unwrap_or_default();
        rest.iter().take_while(move |e| **e >> 32 == key >> 32).map(|e| TypeId(*e as u32))
    }
}

/// FNV-1a over the essential name.
fn hash(name: &[u8]) -> u32 {
    let name = name.get(..essential_len(name)).unwrap_or(name);
    name.iter().fold(0x811c_9dc5, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

impl Btf {
    fn name_index(&self) -> &NameIndex {
        self.inner.names.get_or_init(|| NameIndex::new(self))
    }

    /// The first type of this kind and name (libbpf's `btf__find_by_name_kind`).
    #[must_use]
    pub fn find(&self, kind: Kind, name: &str) -> Option<TypeId> {
        self.find_all(name).find(|id| self.kind_of(*id) == Some(kind))
    }

    /// All types of this name, the base's first, by ascending id. Tags are found by their text.
    pub fn find_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = TypeId> + use<'a> {
        self.find_flavors(name).filter(move |id| self.name_of(*id) == name)
    }

    /// All own types whose essential name is that of `name`, by ascending id.
    pub(super) fn find_own_flavors<'a>(&'a self, name: &'a str) -> impl Iterator<Item = TypeId> + use<'a> {
        let wanted = essential_name(name);
        let ids = (!wanted.is_empty()).then(|| self.name_index().ids(name));
        ids.into_iter().flatten().filter(move |id| essential_name(self.name_of(*id)) == wanted)
    }

    /// All types whose essential name is that of `name`, the base's first.
    pub(super) fn find_flavors<'a>(&'a self, name: &'a str) -> impl Iterator<Item = TypeId> + use<'a> {
        let mut chain = vec![self];
        while let Some(base) = chain.last().and_then(|b| b.base()) {
            chain.push(base);
        }
        chain.into_iter().rev().flat_map(move |btf| btf.find_own_flavors(name))
    }

    /// The kind of a type without decoding it.
    #[must_use]
    pub fn kind_of(&self, id: TypeId) -> Option<Kind> {
        if id == TypeId::VOID {
            return Some(Kind::Void);
        }
        Kind::from_number(self.record(id)?.1.kind_number())
    }

    /// The name of a type without decoding it; empty if it has none.
    #[must_use]
    pub fn name_of(&self, id: TypeId) -> &str {
        self.record(id).map_or("", |(owner, rec)| owner.name_at(rec.name_off))
    }
}
