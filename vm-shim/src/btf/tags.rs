//! Declaration tags, indexed by what they are on.

use super::{Btf, Kind, TypeId, parse::u32_at};

/// Own declaration tags: (target, id of the tag), sorted.
pub(super) struct TagIndex(Vec<(TypeId, TypeId)>);

/// A tag on a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclTag<'a> {
    /// Its text.
    pub tag: &'a str,
    /// Member or parameter number, or -1 for the declaration itself.
    pub component: i32,
    /// Id of the tag itself.
    pub id: TypeId,
}

impl TagIndex {
    fn new(btf: &Btf) -> Self {
        let mut tags: Vec<_> = (btf.inner.first_id..btf.len())
            .filter_map(|id| {
                let (_, rec) = btf.record(TypeId(id))?;
                (rec.kind_number() == Kind::DeclTag as u8).then_some((TypeId(rec.value), TypeId(id)))
            })
            .collect();
        tags.sort_unstable();
        Self(tags)
    }
}

impl Btf {
    /// Tags on a declaration and its members or parameters, by ascending id of the tag.
    pub fn decl_tags(&self, id: TypeId) -> impl Iterator<Item = DeclTag<'_>> {
        let mut chain = vec![self];
        while let Some(base) = chain.last().and_then(|b| b.base()) {
            chain.push(base);
        }
        chain.into_iter().rev().flat_map(move |btf| {
            let TagIndex(tags) = btf.inner.tags.get_or_init(|| TagIndex::new(btf));
            let from = tags.partition_point(|(target, _)| *target < id);
            let on_it = tags.get(from..).unwrap_or_default().iter().take_while(move |(t, _)| *t == id);
            on_it.filter_map(move |(_, tag)| {
                let (owner, rec) = btf.record(*tag)?;
                let component = u32_at(rec.tail, 0)?.cast_signed();
                Some(DeclTag { tag: owner.name_at(rec.name_off), component, id: *tag })
            })
        })
    }
}
